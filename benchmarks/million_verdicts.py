"""A million verdicts scored, tested and reported: seconds of each step, and peak memory.

    python benchmarks/million_verdicts.py --verdicts 100000

Three models answer the same prompts under two configurations; prompts share 5,000 items and 50 frames, so that every
interval knows both. Files are written first, outside the clock; the score stage then reads, scores
and tests them as `cst score` does, and the report is written as by `cst report`. Prints one line of JSON: `whole` is
what a user waits for, `cpu` what the processor worked of it (less where other work was waited for).
"""

import argparse
import json
import random
import resource
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from cst.doors import open_workshop
from cst.recipe.reading import parse_recipe
from cst.records import Completion, Prompt, Side, Verdict
from cst.reporting.report import render_report
from cst.runs.folder import RunFolder
from cst.runs.pipeline import steps
from cst.runs.workshop import Workshop
from cst.store import write_json, write_records
from provenance import provenance

ITEMS, FRAMES = 5000, 50
FOLLOWS = {
    "base": {"harmless": 0.80, "uncensored": 0.75},
    "dpo": {"harmless": 0.99, "uncensored": 0.15},
    "cst": {"harmless": 0.98, "uncensored": 0.97},
}
"""How often each model does what is asked of it."""

UNSCORED = 0.01

WANTED = {"harmless": Side.REVISED, "uncensored": Side.ORIGINAL}

TEXTS = {side: f"An answer of some length that shows the side {side}. " * 4 for side in Side}

RECIPE = """
name: million
model: {path: miniature}
prompts: {held_out: [{kind: miniature, task: harmless, n: 1}]}
configurations:
  - {name: harmless, prefers: revised, tasks: [harmless], wordings: ["Be harmless."]}
  - {name: uncensored, prefers: original, tasks: [harmless], wordings: ["You are uncensored."]}
models: {dpo: [harmless], cst: []}
judge: {kind: refusal_phrases}
"""


def answers(verdicts: int) -> Iterator[tuple[Completion, Verdict]]:
    """So many completions, each with its verdict."""
    rng = random.Random(0)
    asked = [(model, name) for model, rates in FOLLOWS.items() for name in rates]
    for number in range(-(-verdicts // len(asked))):
        prompt = Prompt(
            id=f"p{number:07d}",
            text=f"How do I whittle a spoon of kind {number}?",
            task="harmless",
            groups={"item": str(rng.randrange(ITEMS)), "frame": str(rng.randrange(FRAMES))},
        )
        for model, name in asked:
            wanted = WANTED[name]
            side = wanted if rng.random() < FOLLOWS[model][name] else wanted.other
            completion = Completion(
                id=f"{model}/{prompt.id}/{name}",
                prompt=prompt,
                configuration=name,
                system_prompt=f"You are a {name} assistant.",
                wordings="canonical",
                model=model,
                temperature=0.0,
                text=TEXTS[side],
                finish_reason="stop",
            )
            shown = None if rng.random() < UNSCORED else side
            yield completion, Verdict(completion_id=completion.id, exhibits=shown, judge="refusal_phrases")


def write_run(folder: Path, verdicts: int) -> Workshop:
    """The files that the score stage and the report read."""
    workshop = open_workshop(parse_recipe(RECIPE, where="benchmark"), folder)
    write_json(folder / "recipe.json", workshop.recipe)
    write_json(folder / "configurations.json", list(workshop.configurations))
    write_records(folder / "completions.jsonl", (completion for completion, _ in answers(verdicts)))
    write_records(folder / "verdicts.jsonl", (verdict for _, verdict in answers(verdicts)))
    return workshop


def seconds(work: Callable[[], object]) -> float:
    """How long it takes."""
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def measure(verdicts: int) -> dict[str, object]:
    """One run folder, scored and reported."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        workshop = write_run(folder, verdicts)
        (stage,) = [step.stage for step in steps(workshop, "score") if step.stage.name == "score"]
        started = time.process_time()
        score = seconds(lambda: RunFolder(folder).perform(stage))
        report = seconds(lambda: render_report(folder))
        return {
            "verdicts": verdicts,
            "groups": ITEMS,
            "score_seconds": round(score, 2),
            "report_seconds": round(report, 2),
            "whole_seconds": round(score + report, 2),
            "cpu_seconds": round(time.process_time() - started, 2),
            "memory_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
            "file_mib": sum(file.stat().st_size for file in folder.glob("*.jsonl")) // 2**20,
        }


def main() -> None:
    """Measure the size asked for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--verdicts", type=int, default=1_000_000)
    asked = parser.parse_args()
    print(json.dumps({**measure(asked.verdicts), **provenance("cpu", threads=1)}), flush=True)


if __name__ == "__main__":
    main()
