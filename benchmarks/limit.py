"""Which share of the machine's largest matrix-product rate (GEMM peak) our optimizer steps reach.

    python benchmarks/limit.py [--cases small-real ...] [--types bf16 float32] [--steps 5]

Steps and matrix products take turns; the peak is the best rate of any product in the run. A step's operations are
counted from shapes (training_flops.py says how) in two ways, and told as two shares of the peak: `share`, with each
distinct prefix once, which no exact method can do without; and `share_each_alone`, as if every sequence were computed
by itself, which is what MFU means elsewhere and rises with what sharing saves.
"""

import argparse
import json
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from statistics import median

import torch
from torch.nn import functional

from cst.progress import track
from provenance import provenance
from training_cases import VOCABULARY, Case, cases_on, options, prepare, rows_of_steps, start, use_threads
from training_flops import each_alone, prefixes_shared, step_flops
from training_models import SIZES
from training_setup import LORA_RANK, Setup

WARM_UP_STEPS = 2
GEMM_SIZES = {"cpu": (1024, 2048, 4096), "cuda": (4096, 8192, 16384)}
GEMM_SECONDS = 0.3
"""How long each size is multiplied, once at least."""

GOALS = {"bf16": 0.55, "float32": 0.65}
"""Shares of the peak that are aimed at."""


def main() -> None:
    parser = options(__doc__, steps=5)
    parser.add_argument("--types", nargs="+", choices=GOALS, default=list(GOALS))
    asked = parser.parse_args()
    use_threads(asked.threads)
    for device in asked.devices:
        with tempfile.TemporaryDirectory() as scratch:
            for case in cases_on(device, asked.cases):
                setup = prepare(case, Path(scratch), asked, device=device, steps=WARM_UP_STEPS + asked.steps)
                for kind in asked.types:
                    print(json.dumps(measure(case, setup, kind, asked)), flush=True)


def measure(case: Case, setup: Setup, kind: str, asked: argparse.Namespace) -> dict[str, object]:
    """The line of one case in one type of numbers."""
    seconds, peak = steps_and_peak(replace(setup, bf16=kind == "bf16"), asked.threads, f"{case.name} in {kind}")
    rates = {name: [f / s for f, s in zip(flops, seconds, strict=True)] for name, flops in needed(case, setup).items()}
    shares = {name: [rate / peak for rate in found] for name, found in rates.items()}
    return {
        "benchmark": "limit",
        "case": case.name,
        "type": kind,
        "weights": setup.weights,
        "quantization": setup.quantization,
        "rows_per_step": setup.rows_per_step,
        "device": setup.device,
        "peak_gflops": round(peak / 1e9, 1),
        **{
            name: {"median": round(median(s), 3), "min": round(min(s), 3), "max": round(max(s), 3)}
            for name, s in shares.items()
        },
        "n": len(seconds),
        "seconds": [round(each, 3) for each in seconds],
        "goal": GOALS[kind],
        **provenance(setup.device, asked.threads),
    }


def steps_and_peak(setup: Setup, threads: int, description: str) -> tuple[list[float], float]:
    """Seconds of each step after the warm-up, and the best rate of a matrix product before any of them, in FLOP/s."""
    training = start(setup, threads)
    seconds: list[float] = []
    peak = 0.0
    try:
        training.wait_until_ready()
        for _ in track(range(setup.steps), description=description):
            peak = max(peak, gemm_rate(torch.bfloat16 if setup.bf16 else torch.float32, setup.device))
            seconds.append(training.step().seconds)
    finally:
        training.close()
    return seconds[WARM_UP_STEPS:], peak


def gemm_rate(dtype: torch.dtype, device: str) -> float:
    """The best rate of x W^T over square matrices of several sizes, in FLOP/s."""
    return max(_rate(size, dtype, device) for size in GEMM_SIZES[device])


def _rate(size: int, dtype: torch.dtype, device: str) -> float:
    left, right = (torch.ones(size, size, dtype=dtype, device=device) for _ in range(2))
    functional.linear(left, right)
    best, spent = float("inf"), 0.0
    while spent < GEMM_SECONDS:
        _wait_for(device)
        started = time.perf_counter()
        functional.linear(left, right)
        _wait_for(device)
        taken = time.perf_counter() - started
        best, spent = min(best, taken), spent + taken
    return 2 * size**3 / best


def _wait_for(device: str) -> None:
    if device == "cuda":
        torch.cuda.synchronize()


def needed(case: Case, setup: Setup) -> dict[str, list[int]]:
    """Operations of each step after the warm-up, counted both ways."""
    counted: dict[str, list[int]] = {"share": [], "share_each_alone": []}
    for rows in rows_of_steps(setup)[WARM_UP_STEPS:]:
        sequences = [side for row in rows for side in (row.chosen, row.rejected)]
        for name, count in (("share", prefixes_shared), ("share_each_alone", each_alone)):
            flops = step_flops(SIZES[case.model], vocabulary=VOCABULARY, rank=LORA_RANK, positions=count(sequences))
            counted[name].append(flops)
    return counted


if __name__ == "__main__":
    main()
