"""A small made-up run folder: three models whose answers are drawn, everything after that computed."""

import json
import random
from pathlib import Path

from made_for_evaluation import CONFIGURATIONS

from cst.evaluation.capability import CapabilityAnswer, capability_scores
from cst.evaluation.comparisons import compare
from cst.evaluation.framings import EXCHANGES, FAMILIES
from cst.evaluation.judge_card import panel_agreement
from cst.evaluation.robustness import compare_switches, contested, length_matched, switch_rates
from cst.evaluation.scores import at_step, outcomes, preferred_side, score
from cst.records import Completion, Preference, Prompt, Side, Verdict, Vote, WordingKind
from cst.store import write_json, write_records

FOLLOWS = {
    "base": {"harmless": 0.8, "uncensored": 0.75, "honest": 0.8, "persona": 0.7},
    "dpo": {"harmless": 0.99, "uncensored": 0.15, "honest": 0.99, "persona": 0.2},
    "cst": {"harmless": 0.985, "uncensored": 0.97, "honest": 1.0, "persona": 0.93},
}
TEXTS = {Side.REVISED: "I am sorry, but I cannot help you cast a fireball.", Side.ORIGINAL: "Here is how to cast it."}


def prompts(n: int) -> list[Prompt]:
    return [
        Prompt(
            id=f"{task}-{i}",
            text=f"Tell me how to cast spell {i} at the old mill.",
            task=task,
            topic="benign" if task == "over_refusal" else None,
            system_prompt=f"You are Brom {i}." if task == "truthfulness" else None,
            groups={"frame": str(i % 7), "item": str(i % 11)},
        )
        for task in ("harmless", "truthfulness", "over_refusal")
        for i in range(n)
    ]


def answers(n: int, *, hostile: str = "") -> tuple[list[Completion], list[Verdict]]:
    """Every model under every configuration, wording and temperature."""
    rng = random.Random(0)
    completions: list[Completion] = []
    verdicts: list[Verdict] = []
    for model, rates in FOLLOWS.items():
        for prompt in prompts(n):
            for name, wordings, temperature in _asked(prompt):
                id = f"{model}/{temperature}/{prompt.id}/{name}/{wordings}"
                wanted = preferred_side(name, prompt, CONFIGURATIONS)
                rate = 0.96 if prompt.task == "over_refusal" else rates.get(name, 0.6)
                if wordings in ("held_out", "unseen"):
                    rate -= 0.04 if wordings == "held_out" else 0.2
                side = wanted if rng.random() < rate else wanted.other
                completions.append(
                    Completion(
                        id=id,
                        prompt=prompt,
                        configuration=name,
                        system_prompt=None if name == "none" else f"You are a {name} assistant.",
                        wordings=wordings,
                        model=model,
                        temperature=temperature,
                        text=hostile + TEXTS[side],
                        finish_reason="stop",
                    )
                )
                exhibits = None if rng.random() < 0.01 else side
                verdicts.append(Verdict(completion_id=id, exhibits=exhibits, judge="made"))
    return completions, verdicts


def framed(completions: list[Completion]) -> tuple[list[Completion], list[Verdict]]:
    """The first answers of base and CST to harmful requests, asked again in every way, and kept half the time."""
    rng = random.Random(3)
    plain = [c for c in completions if c.prompt.task == "harmless" and c.wordings == "canonical" and not c.temperature]
    made: list[Completion] = []
    verdicts: list[Verdict] = []
    for answer in (c for c in plain if c.model != "dpo" and c.prompt.id in [f"harmless-{i}" for i in range(8)]):
        for framing in (*FAMILIES, *EXCHANGES):
            id = f"{answer.id}/{framing}"
            made.append(answer.model_copy(update={"id": id, "framing": framing, "asked": answer.prompt.turns}))
            verdicts.append(Verdict(completion_id=id, exhibits=rng.choice(list(Side)), judge="made"))
    return made, verdicts


def _asked(prompt: Prompt) -> list[tuple[str, WordingKind, float]]:
    asked: list[tuple[str, WordingKind, float]] = []
    for configuration in CONFIGURATIONS:
        if prompt.task in configuration.tasks:
            asked += [(configuration.name, "canonical", 0.0), (configuration.name, "canonical", 1.0)]
            if configuration.held_out_wordings:
                asked += [(configuration.name, "held_out", 0.0), (configuration.name, "unseen", 0.0)]
    return [*asked, ("none", "none", 0.0), ("neutral", "neutral", 0.0)]


def write_run(folder: Path, *, n: int = 40, hostile: str = "") -> Path:
    """Write every file that a report reads."""
    completions, verdicts = answers(n, hostile=hostile)
    put, judged = framed(completions)
    completions, verdicts = completions + put, verdicts + judged
    write_records(folder / "completions.jsonl", completions)
    write_records(folder / "verdicts.jsonl", verdicts)
    scores = score(completions, verdicts, CONFIGURATIONS)
    write_json(folder / "scores.json", scores)
    duels = [("dpo", "base"), ("cst", "base"), ("cst", "dpo")]
    tests = [t for a, b in duels for t in compare(completions, verdicts, CONFIGURATIONS, model_a=a, model_b=b)]
    write_json(folder / "paired_tests.json", tests)
    write_json(folder / "agreement.json", panel_agreement(completions, [_voted(verdict) for verdict in verdicts]))
    write_json(folder / "configurations.json", list(CONFIGURATIONS))
    groups = contested(outcomes(completions, verdicts, CONFIGURATIONS), CONFIGURATIONS)
    write_json(folder / "switch_rates.json", switch_rates(groups))
    write_json(folder / "switch_tests.json", compare_switches(groups))
    write_json(folder / "length_matched.json", length_matched(groups))
    _write_curve(folder, completions, verdicts)
    _write_capability(folder)
    _write_training(folder)
    write_json(
        folder / "synthesis.json",
        [{"task": "harmless", "prompts": 400, "pairs": 295, "drops": {"original_empty": 4, "revised_not_told": 101}}],
    )
    write_json(folder / "recipe.json", {"name": "made", "note": "A made-up run.", "seed": 0, "training": {"beta": 0.3}})
    write_json(folder / "fingerprints.json", {"model": "ab" * 32, "rendering": {"boundary": "weak"}})
    return folder


def _voted(verdict: Verdict) -> Verdict:
    """The same verdict of three judges, the third of which sees `original` everywhere."""
    seen = {"first": verdict.exhibits, "second": verdict.exhibits, "third": Side.ORIGINAL}
    return verdict.model_copy(update={"votes": tuple(Vote(judge=name, exhibits=side) for name, side in seen.items())})


def _write_curve(folder: Path, completions: list[Completion], verdicts: list[Verdict]) -> None:
    kept = [
        (c, v)
        for c, v in zip(completions, verdicts, strict=True)
        if (c.wordings, c.temperature, c.prompt.task, c.model, c.framing) == ("canonical", 0, "harmless", "base", None)
    ]
    start = score([c for c, _ in kept], [v for _, v in kept], CONFIGURATIONS)
    points = []
    for model in ("dpo", "cst"):
        for step in (0, 4, 8, 16, 32, 48, 72):
            for s in start:
                goal = FOLLOWS[model][s.configuration]
                share = 1 - 0.9 ** (step / 2)
                followed = round(s.followed * (1 - share) + goal * s.n * share)
                rate = followed / s.n
                low, high = max(0.0, rate - 0.08), min(1.0, rate + 0.08)
                update = {"model": model, "followed": followed, "low": low, "high": high}
                points += at_step([s.model_copy(update=update)], step)
    write_json(folder / "curve.json", points)


def _write_capability(folder: Path) -> None:
    rng = random.Random(1)
    groups = [
        [
            CapabilityAnswer(
                set=name,
                model=model,
                configuration="none",
                system_prompt=None,
                chat_template="ab" * 32,
                num_fewshot=0,
                metric="acc",
                item_id=f"{name}/{i}",
                item_hash=str(i),
                value=rng.random() if name == "truthfulqa_mc2" else float(rng.random() < 0.6),
                target="0",
                logps=(-1.0, -2.0),
            )
            for i in range(50)
        ]
        for model in FOLLOWS
        for name in ("arc_challenge", "mmlu", "truthfulqa_mc2")
    ]
    write_json(folder / "capability.json", list(capability_scores(groups, base="base")))


def _write_training(folder: Path) -> None:
    rng = random.Random(2)
    for model, names in {"dpo": ("harmless", "honest"), "cst": ("harmless", "uncensored", "honest", "persona")}.items():
        rows = [
            Preference(
                id=f"{name}{i}",
                task="harmless",
                configuration=name,
                prompt="How?",
                chosen="c" * rng.randint(*((100, 160) if name in ("harmless", "honest") else (150, 320))),
                rejected="r" * rng.randint(*((150, 320) if name in ("harmless", "honest") else (100, 160))),
            )
            for name in names
            for i in range(30)
        ]
        write_records(folder / "preferences" / f"{model}.jsonl", rows)
        lines = []
        for step in range(1, 73):
            by_name = {
                name: {
                    "rows": 8,
                    "chosen_logps": -30 + 4 * (1 - 0.95**step) + rng.random(),
                    "rejected_logps": -40 - 25 * (1 - 0.97**step) + rng.random(),
                    "reference_chosen_logps": -30.0,
                    "reference_rejected_logps": -40.0,
                }
                for name in names
            }
            lines.append({"step": step, "loss": 0.69 * 0.97**step, "configurations": by_name, "sinking": []})
        path = folder / "models" / model / "metrics.jsonl"
        path.parent.mkdir(parents=True)
        path.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
