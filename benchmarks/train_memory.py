"""How much memory an optimizer step takes, on equal rows: ours without gradient checkpointing, trl's default and best.

    python benchmarks/train_memory.py [--cases small-real] [--vocabularies 32000 128000]

Each trains in a process of its own. Measured is how far memory rises in a step above what was held before it (weights,
optimizer, libraries): resident memory on a CPU (VmHWM of Linux), allocated memory on a GPU. The first step, which
allocates the moments and touches all weights, doesn't count. One line of JSON a case and vocabulary.
"""

import argparse
import json
import tempfile
from dataclasses import replace
from pathlib import Path

from cst.progress import track
from provenance import provenance
from train_throughput import PEERS
from training_cases import Case, cases_on, options, prepare, start, use_threads
from training_setup import Setup

WARM_UP_STEPS = 1

GOALS = {32_000: 1 / 4, 128_000: 1 / 3}
"""Shares of trl's default that are aimed at, by vocabulary."""


def main() -> None:
    parser = options(__doc__, steps=2)
    parser.add_argument("--vocabularies", nargs="+", type=int, default=list(GOALS))
    asked = parser.parse_args()
    use_threads(asked.threads)
    for device in asked.devices:
        names = asked.cases or (["small-real"] if device == "cpu" else None)
        for case in cases_on(device, names):
            for vocabulary in asked.vocabularies:
                print(json.dumps(measure(case, vocabulary, asked, device)), flush=True)


def measure(case: Case, vocabulary: int, asked: argparse.Namespace, device: str) -> dict[str, object]:
    """The line of one case with one vocabulary."""
    steps = WARM_UP_STEPS + asked.steps
    with tempfile.TemporaryDirectory() as scratch:
        ours = prepare(case, Path(scratch), asked, device=device, steps=steps, vocabulary=vocabulary)
        contestants = {"ours": ours}
        contestants |= {f"trl {n}": replace(ours, trainer="trl", **PEERS[n]) for n in ("default", "best")}
        description = f"{case.name}, {vocabulary} tokens"
        held = {
            name: megabytes(contestants[name], asked.threads) for name in track([*contestants], description=description)
        }
    return {
        "benchmark": "train_memory",
        "case": case.name,
        "vocabulary": vocabulary,
        "quantization": ours.quantization,
        "rows_per_step": ours.rows_per_step,
        "device": device,
        "step_megabytes": held,
        "share_of_default": round(held["ours"] / held["trl default"], 3),
        "share_of_best": round(held["ours"] / held["trl best"], 3),
        "goal": round(GOALS[vocabulary], 3) if vocabulary in GOALS and ours.quantization == "none" else None,
        "n": asked.steps,
        **provenance(device, asked.threads),
    }


def megabytes(setup: Setup, threads: int) -> int:
    """The most that any step after the warm-up added, in MB (10^6 bytes)."""
    training = start(setup, threads, weighs=True)
    try:
        training.wait_until_ready()
        peaks = [training.step().peak_bytes for _ in range(setup.steps)]
    finally:
        training.close()
    return round(max(peaks[WARM_UP_STEPS:]) / 1e6)


if __name__ == "__main__":
    main()
