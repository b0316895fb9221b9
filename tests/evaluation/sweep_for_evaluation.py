"""A made-up sweep: how many of ten hazardous requests and ten look-alikes are answered how is written down here."""

import json
from collections.abc import Mapping
from pathlib import Path

from cst.evaluation.comparisons import compare_cells
from cst.evaluation.scores import Outcome, by_cell, outcomes, score
from cst.evaluation.sweep import Sweep, sweep_of
from cst.records import Completion, Demonstration, Prompt, SafetyConfiguration, Side, SidePerTopic, Verdict
from cst.store import write_json, write_records

PLAIN = SafetyConfiguration(
    name="plain",
    prefers=SidePerTopic(default=Side.REVISED, topics={"benign": Side.ORIGINAL}),
    tasks=("harmless", "over_refusal"),
)
MODELS: dict[str, int | None] = {"base": None, "safety-0": 0, "safety-100": 100, "safety-1000": 1000}
HARMFUL = {"base": 8, "safety-0": 9, "safety-100": 2, "safety-1000": 0}
REFUSED = {"base": 1, "safety-0": 0, "safety-100": 1, "safety-1000": 6}
N = 10
"""Prompts of each task; the first ones are answered harmfully, or refused."""


def prompt(task: str, place: int) -> Prompt:
    """Hazardous requests have the topic `odd` or `even`, look-alikes all the same one."""
    topic = "benign" if task == "over_refusal" else ("even", "odd")[place % 2]
    return Prompt(id=f"{task}-{place}", text=f"How do I do thing {place}?", task=task, topic=topic)


def answered(model: str, task: str, place: int, side: Side | None) -> tuple[Completion, Verdict]:
    """One answer without a system prompt, and what a judge with numbers saw in it."""
    asked = prompt(task, place)
    completion = Completion(
        id=f"{model}/{asked.id}", prompt=asked, configuration="none", system_prompt=None, wordings="none", model=model,
        temperature=0, text="Like so.", finish_reason="stop",
    )  # fmt: skip
    number = None if task == "over_refusal" or side is None else place + (100.0 if side is Side.ORIGINAL else 0.0)
    return completion, Verdict(completion_id=completion.id, exhibits=side, judge="made@1234", score=number)


def answers(
    harmful: Mapping[str, int] = HARMFUL, refused: Mapping[str, int] = REFUSED
) -> tuple[list[Completion], list[Verdict]]:
    """All answers of all models."""
    made = [
        answered(model, task, place, side if place < count else side.other)
        for task, side, counts in (("harmless", Side.ORIGINAL, harmful), ("over_refusal", Side.REVISED, refused))
        for model, count in counts.items()
        for place in range(N)
    ]
    return [completion for completion, _ in made], [verdict for _, verdict in made]


def swept(completions: list[Completion], verdicts: list[Verdict], models: Mapping[str, int | None] = MODELS) -> Sweep:
    """The sweep of these answers."""
    numbers = {verdict.completion_id: verdict.score for verdict in verdicts if verdict.score is not None}
    return sweep_of(results_of(completions, verdicts), models, numbers=numbers)


def results_of(completions: list[Completion], verdicts: list[Verdict]) -> list[Outcome]:
    """Outcomes as the scores have them."""
    return outcomes(completions, verdicts, [PLAIN])


def write_sweep(folder: Path) -> Path:
    """A run folder of supervised tuning, with every file that its stages make of answers."""
    completions, verdicts = answers()
    results = results_of(completions, verdicts)
    write_records(folder / "completions.jsonl", completions)
    write_records(folder / "verdicts.jsonl", verdicts)
    write_json(folder / "scores.json", score(completions, verdicts, [PLAIN]))
    tests = compare_cells(by_cell(results), model_a="safety-100", model_b="base")
    write_json(folder / "paired_tests.json", tests)
    for name in ("agreement", "switch_rates", "switch_tests", "length_matched"):
        write_json(folder / f"{name}.json", [])
    write_json(folder / "configurations.json", [PLAIN])
    write_json(folder / "sweep.json", swept(completions, verdicts))
    trained = [model for model in MODELS if model != "base"]
    recipe = {
        "name": "made sweep",
        "models": dict.fromkeys(trained, ()),
        "training": {"method": "sft", "learning_rate": 0.0003},
        "mixture": {"safety": [{"kind": "file", "path": "safety.jsonl"}], "safety_counts": [0, 100, 1000]},
    }
    write_json(folder / "recipe.json", recipe)
    write_json(folder / "fingerprints.json", {"model": "ab" * 32})
    for model in trained:
        _write_training(folder, model, MODELS[model] or 0)
    return folder


def _write_training(folder: Path, model: str, safety: int) -> None:
    rows = [
        Demonstration(id=f"{task}-{i}", task=task, prompt=f"Do thing {i}.", response="Done.")
        for task, count in (("instructions", 30), ("safety", safety // 100))
        for i in range(count)
    ]
    write_records(folder / "demonstrations" / f"{model}.jsonl", rows)
    lines: list[dict[str, object]] = [
        {"step": step, "epoch": step / 8, "loss": 2.0 / step, "learning_rate": 1e-4, "grad_norm": 1.0, "tokens": 90,
         "tasks": {"instructions": {"rows": 4, "tokens": 90, "nll": 2.0 / step}}}
        for step in range(1, 9)
    ]  # fmt: skip
    lines[3]["evaluation"] = {"metric": -0.6, "scores": [], "loss": 0.6, "rows": 5, "tokens": 50}
    lines[7]["evaluation"] = {"metric": -0.7, "scores": [], "loss": 0.7, "rows": 5, "tokens": 50}
    path = folder / "models" / model / "metrics.jsonl"
    path.parent.mkdir(parents=True)
    path.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
