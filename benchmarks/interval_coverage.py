"""How often 95 % intervals hold the truth: Wilson's and Newcombe's exactly, those of grouped answers by simulation.

    python benchmarks/interval_coverage.py

One line of JSON a cell, and one for the mean over a family of cells. Wilson's coverage swings with p, as that of every
interval for a count does, so it is averaged over p as by Brown, Cai and DasGupta (2001, Stat. Sci. 16, 101), and given
cell by cell too: `within_a_point` says of each whether it lies in [0.94, 0.96]. Newcombe's paired interval is summed
over all tables of n pairs. What prompts that hang together do to the intervals is drawn (grouped_answers.py): groups
of equal and of unequal sizes, 10 to 200 of them, ten answers in each on average. `rarer` says
how many independent answers the rarer of the two outcomes is worth; `alike` is the share of samples whose answers are
all the same: nothing there tells that they hang together.
"""

import argparse
import json
from collections.abc import Iterator, Sequence
from itertools import product
from math import exp, lgamma, log
from statistics import fmean

import numpy as np

import grouped_answers
from cst.evaluation.comparisons import binomial
from cst.evaluation.intervals import PairedCounts, newcombe, wilson

RATES = (0.05, 0.1, 0.2, 0.3, 0.5, 0.7, 0.8, 0.9, 0.95, 0.99)
SIZES = (26, 50, 100, 200, 500, 1000)
GRID = 999
PAIRS = ((0.02, 0.02), (0.05, 0.02), (0.1, 0.05), (0.2, 0.1))
"""Shares of pairs on which only A, and only B, does what is asked; both do on 0.8 of the others."""

KINDS = ("equal", "unequal", "zipf")
GROUPS = (10, 20, 50, 200)
CORRELATIONS = (0.0, 0.1, 0.3, 0.6, 1.0)
GROUPED_RATES = (0.02, 0.05, 0.1, 0.2, 0.5, 0.8, 0.9, 0.95, 0.98)
BOOTSTRAPPED = ((20, 0.3), (50, 0.3), (200, 0.3))
"""Groups of ten, and the correlation within, for the control; its rate is .9."""


def within(coverage: float) -> bool:
    """Whether coverage is within a point of 95 %."""
    return abs(coverage - 0.95) <= 0.01


def wilson_coverage(n: int, rates: Sequence[float]) -> list[float]:
    """The exact probability that Wilson's interval holds each rate."""
    bounds = [wilson(k, n) for k in range(n + 1)]
    low, high = (np.array([getattr(bound, end) for bound in bounds]) for end in ("low", "high"))
    return [float(binomial(n, p)[(low <= p) & (p <= high)].sum()) for p in rates]


def newcombe_coverage(n: int, only_a: float, only_b: float) -> float:
    """The exact probability, over all tables of n pairs, that the interval holds the difference."""
    same = 1 - only_a - only_b
    shares = [log(share) for share in (0.8 * same, only_a, only_b, 0.2 * same)]
    factorials = [lgamma(k + 1) for k in range(n + 1)]
    held = 0.0
    for counts in _tables(n):
        chance = factorials[n] + sum(k * s - factorials[k] for k, s in zip(counts, shares, strict=True))
        if chance > -25:  # what is left out adds up to less than 1e-6
            found = newcombe(PairedCounts(*counts))
            held += exp(chance) * (found.low <= only_a - only_b <= found.high)
    return held


def _tables(n: int) -> Iterator[tuple[int, int, int, int]]:
    """Every way to share n pairs out: both, only A, only B, neither."""
    for a in range(n + 1):
        for b in range(n + 1 - a):
            yield from ((both, a, b, n - a - b - both) for both in range(n + 1 - a - b))


def grouped_lines(runs: int, seed: int) -> Iterator[dict[str, object]]:
    """The cells of answers in groups: rates, differences of paired rates, and the bootstrap for comparison."""
    for number, (kind, groups, correlation) in enumerate(product(KINDS, GROUPS, CORRELATIONS)):
        rng = np.random.default_rng([seed, number])
        design = grouped_answers.Design(grouped_answers.sizes(kind, groups), correlation)
        cell = {"sizes": kind, "groups": groups, "correlation": correlation, "runs": runs}
        for rate in GROUPED_RATES:
            found = grouped_answers.rate_coverage(rng, design, rate, runs)
            rarer = design.worth * min(rate, 1 - rate)
            yield from _drawn({"p": rate, **cell, "rarer": rarer, "alike": found.pop("alike")}, found)
        for only_a, only_b in PAIRS:
            same = 1 - only_a - only_b
            shares = (0.8 * same, only_a, only_b, 0.2 * same)
            found = grouped_answers.pair_coverage(rng, design, shares, runs)
            yield from _drawn({"only_a": only_a, "only_b": only_b, **cell}, found)
    for groups, correlation in BOOTSTRAPPED:
        design = grouped_answers.Design(grouped_answers.sizes("equal", groups), correlation)
        held = grouped_answers.bootstrap_coverage(np.random.default_rng([seed, groups]), design, 0.9, runs)
        cell = {"p": 0.9, "sizes": "equal", "groups": groups, "correlation": correlation, "runs": runs}
        yield from _drawn(cell, {"cluster_bootstrap": held})


def _drawn(cell: dict[str, object], coverage: dict[str, float]) -> Iterator[dict[str, object]]:
    for name, held in coverage.items():
        yield {"interval": name, **cell, "coverage": held, "within_a_point": within(held)}


def lines(runs: int, seed: int) -> Iterator[dict[str, object]]:
    """All cells."""
    for n in SIZES:
        grid = [k / (GRID + 1) for k in range(1, GRID + 1)]
        mean = fmean(wilson_coverage(n, grid))
        middle = fmean(wilson_coverage(n, [p for p in grid if 0.05 <= p <= 0.95]))
        yield {"interval": "wilson", "n": n, "mean_over_p": mean, "within_a_point": within(mean)}
        yield {"interval": "wilson", "n": n, "mean_over_p_05_95": middle, "within_a_point": within(middle)}
        for p, coverage in zip(RATES, wilson_coverage(n, RATES), strict=True):
            yield {"interval": "wilson", "n": n, "p": p, "coverage": coverage, "within_a_point": within(coverage)}
    for n in (26, 50, 100):
        for only_a, only_b in PAIRS:
            coverage = newcombe_coverage(n, only_a, only_b)
            cell = {"interval": "newcombe", "n": n, "only_a": only_a, "only_b": only_b, "coverage": coverage}
            yield {**cell, "within_a_point": within(coverage)}
    yield from grouped_lines(runs, seed)


def main() -> None:
    """Print every cell."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    for line in lines(asked.runs, asked.seed):
        rounded = {name: round(value, 4) if isinstance(value, float) else value for name, value in line.items()}
        print(json.dumps(rounded), flush=True)


if __name__ == "__main__":
    main()
