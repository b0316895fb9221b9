"""How many times faster our optimizer steps are than those of trl's DPOTrainer, on identical rows.

    python benchmarks/train_throughput.py [--cases small-real ...] [--peers default best ...] [--steps 5]
        [--check-steps 4]

First, both train in float32 for a few steps (50 for the whole proof), and their losses must agree. Then, for each case
and peer, ours and the peer take turns, step by step; one line of JSON tells the ratio of their seconds (median, least,
most), the seconds, and tokens per second (tokens of the rows' sequences as they are, without padding; the same number
for both). The peers:

- `default`: trl's defaults: bf16 autocast over float32 weights, gradient checkpointing, batches of 2, the reference's
  forward in the step. Told twice: with our reference's forward counted in our step, and cached as ours is by training;
- `best`: what is fastest with trl: bf16 weights, no checkpointing, reference precomputed, batches of 1 (larger ones
  pad more), with ours cached too;
- `default-compacted`, `best-compacted`: the same where trl's fused head scores responses only. It does so by itself on
  a GPU; on a CPU no setting asks for it.

Ours has the peer's type of weights, bf16 autocast, no checkpointing.

`--quantization 4bit` quantizes the start models of both sides (QLoRA's settings). trl then keeps its adapter in
bfloat16, ours stays float32. It was tried on `small` on a CPU and has not run on a GPU.
"""

import argparse
import json
import math
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median
from typing import Any

from cst.progress import track
from provenance import provenance
from training_cases import Case, cases_on, options, prepare, rows_of_steps, start, use_threads
from training_setup import Setup
from turns import Report

WARM_UP_STEPS = 2
"""The first steps allocate moments and choose kernels."""

CHECKED_ROWS = 2
"""Rows of a step whose losses are compared."""

TOLERANCE = 1e-4
"""How far losses in float32 may be apart, in nats."""

PEERS: dict[str, dict[str, Any]] = {
    "default": {"gradient_checkpointing": True},
    "best": {"weights": "bfloat16", "batch_size": 1, "precomputed": True},
    "default-compacted": {"gradient_checkpointing": True, "compacted": True},
    "best-compacted": {"weights": "bfloat16", "batch_size": 1, "precomputed": True, "compacted": True},
}


GOALS = {
    ("default", "in the step"): {"small-real": 6.0, "small-long": 8.0, "mid-real": 3.5, "mid-long": 4.5},
    ("best", "cached"): {"small-real": 4.5, "small-long": 6.5, "mid-real": 3.0, "mid-long": 4.0},
}
"""Ratios that are aimed at, by peer and our reference."""


@dataclass(frozen=True)
class Race:
    """Steps on the same rows by both sides, in the order in which they were taken."""

    ours: list[Report]
    theirs: list[Report]


def main() -> None:
    parser = options(__doc__, steps=5)
    parser.add_argument("--peers", nargs="+", choices=PEERS, help="by default all; the compacted ones on a CPU only")
    parser.add_argument("--check-steps", type=int, default=4, help="steps whose losses are compared (default 4)")
    asked = parser.parse_args()
    use_threads(asked.threads)
    for device in asked.devices:
        with tempfile.TemporaryDirectory() as scratch:
            print(json.dumps(check_losses(Path(scratch), asked, device)), flush=True)
            for case in cases_on(device, asked.cases):
                for line in measure(case, Path(scratch), asked, device):
                    print(json.dumps(line), flush=True)


def check_losses(scratch: Path, asked: argparse.Namespace, device: str) -> dict[str, object]:
    """A line that says how far apart the losses of ours and trl's default are in float32. Exits if too far.

    Never quantized: trl then keeps its adapter in bfloat16.
    """
    short = argparse.Namespace(**{**vars(asked), "rows_per_step": CHECKED_ROWS, "quantization": "none"})
    ours = replace(prepare(Case("small", "real"), scratch, short, device=device, steps=asked.check_steps), bf16=False)
    run = race(ours, replace(ours, trainer="trl", **PEERS["default"]), asked.threads, "comparing losses")
    apart = largest_difference([step.loss for step in run.ours], [step.loss for step in run.theirs])
    told = {"benchmark": "train_throughput", "check": "losses in float32", "steps": asked.check_steps, "apart": apart}
    return told | {"device": device} | provenance(device, asked.threads)


def largest_difference(ours: Sequence[float], theirs: Sequence[float]) -> float:
    """How far apart the losses of the same steps are at most, in nats.

    Raises:
        SystemExit: By more than TOLERANCE; or the first ones aren't ln 2; or the losses never leave it, so that their
            being equal says nothing.
    """
    apart = max(abs(a - b) for a, b in zip(ours, theirs, strict=True))
    from_start = [abs(loss - math.log(2)) for loss in theirs]
    if max(apart, from_start[0]) > TOLERANCE or max(from_start) < 100 * TOLERANCE:
        raise SystemExit(f"ours and trl don't train the same: losses {list(ours)} and {list(theirs)}")
    return apart


def race(ours: Setup, theirs: Setup, threads: int, description: str) -> Race:
    """All steps of both, in turns; each waits while the other computes.

    Raises:
        SystemExit: They don't train on the same tokens, or one of them failed.
    """
    pair = [start(setup, threads) for setup in (ours, theirs)]
    try:
        if len({training.wait_until_ready() for training in pair}) > 1:
            raise SystemExit(f"{description}: the rows have other tokens for trl than for us")
        reports = [[training.step() for training in pair] for _ in track(range(ours.steps), description=description)]
    finally:
        for training in pair:
            training.close()
    return Race([step[0] for step in reports], [step[1] for step in reports])


def measure(case: Case, scratch: Path, asked: argparse.Namespace, device: str) -> Iterator[dict[str, object]]:
    """The lines of one case, peer by peer."""
    setup = prepare(case, scratch, asked, device=device, steps=WARM_UP_STEPS + asked.steps)
    tokens = tokens_of_steps(setup)[WARM_UP_STEPS:]
    names = asked.peers or [name for name in PEERS if device == "cpu" or "compacted" not in name]
    for name in names:
        theirs = replace(setup, trainer="trl", **PEERS[name])
        ours = replace(setup, weights=theirs.weights)
        run = race(ours, theirs, asked.threads, f"{case.name} against trl {name}")
        timed = Race(run.ours[WARM_UP_STEPS:], run.theirs[WARM_UP_STEPS:])
        about = {"benchmark": "train_throughput", "case": case.name, "peer": f"trl {name}", "weights": theirs.weights}
        about |= told_of(case, asked, device)
        for reference in ("cached",) if theirs.precomputed else ("in the step", "cached"):
            goals = GOALS.get((name, reference), {}) if asked.quantization == "none" else {}
            yield about | {
                "our_reference": reference,
                "goal": goals.get(case.name),
                **figures(timed, tokens, reference),
            }


def told_of(case: Case, asked: argparse.Namespace, device: str) -> dict[str, object]:
    """What a line says besides figures and peer."""
    source = "made up" if asked.rows_file is None else asked.rows_file.name
    rows = {"rows": f"{case.rows}, {source}", "rows_per_step": asked.rows_per_step}
    return {
        "model": case.model,
        "quantization": asked.quantization,
        **rows,
        "device": device,
        **provenance(device, asked.threads),
    }


def tokens_of_steps(setup: Setup) -> list[int]:
    """Tokens of the sequences of each step, prompts included and padding not."""
    return [sum(len(row.chosen.tokens) + len(row.rejected.tokens) for row in rows) for rows in rows_of_steps(setup)]


def figures(timed: Race, tokens: Sequence[int], reference: str) -> dict[str, object]:
    """Ratios of neighbouring steps, seconds, tokens per second; our reference's forward counted or not."""
    ours = [step.seconds + (step.reference_seconds if reference == "in the step" else 0.0) for step in timed.ours]
    theirs = [step.seconds for step in timed.theirs]
    ratios = [b / a for a, b in zip(ours, theirs, strict=True)]
    return {
        "ratio": {name: round(pick(ratios), 2) for name, pick in (("median", median), ("min", min), ("max", max))},
        "n": len(ratios),
        "seconds": {"ours": [round(s, 3) for s in ours], "trl": [round(s, 3) for s in theirs]},
        "tokens_per_second": {"ours": round(sum(tokens) / sum(ours)), "trl": round(sum(tokens) / sum(theirs))},
    }


if __name__ == "__main__":
    main()
