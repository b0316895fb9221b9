"""How often 95 % intervals hold the truth: Wilson's and Newcombe's exactly, bootstraps by simulation.

    python benchmarks/interval_coverage.py

One line of JSON a cell, and one for the mean over a family of cells. Wilson's coverage swings with p, as that of every
interval for a count does, so it is averaged over p as by Brown, Cai and DasGupta (2001, Stat. Sci. 16, 101), and given
cell by cell too: `within_a_point` says of each whether it lies in [0.94, 0.96]. Newcombe's paired interval is summed
over all tables of n pairs; the bootstrap over groups and the score's own (the widest of both) are simulated with a
beta-binomial rate in each group.
"""

import argparse
import json
from collections.abc import Iterator, Sequence
from math import exp, lgamma, log
from statistics import fmean

import numpy as np

from cst.evaluation.intervals import Interval, PairedCounts, bootstrap, newcombe, wilson
from cst.evaluation.power import binomial
from cst.evaluation.scores import rate_interval

RATES = (0.05, 0.1, 0.2, 0.3, 0.5, 0.7, 0.8, 0.9, 0.95, 0.99)
SIZES = (26, 50, 100, 200, 500, 1000)
GRID = 999
PAIRS = ((0.02, 0.02), (0.05, 0.02), (0.1, 0.05), (0.2, 0.1))
"""Shares of pairs on which only A, and only B, does what is asked; both do on 0.8 of the others."""

GROUPED = ((20, 10, 0.9, 0.3), (50, 10, 0.9, 0.3), (200, 10, 0.9, 0.3), (50, 10, 0.9, 0.0))
"""Groups, answers in each, the rate, and the correlation of answers within a group."""


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


def grouped_coverage(groups: int, size: int, rate: float, correlation: float, runs: int, seed: int) -> dict[str, float]:
    """The share of simulated samples whose intervals hold the rate: the bootstrap's, Wilson's, and the score's."""
    rng = np.random.default_rng([seed, groups, size, int(correlation * 100)])
    names = [str(g) for g in range(groups) for _ in range(size)]
    held = dict.fromkeys(("cluster_bootstrap", "wilson", "score"), 0)
    for run in range(runs):
        values = draw(rng, groups, size, rate, correlation)
        wanted = {
            "cluster_bootstrap": bootstrap(values, names, seed=run),
            "wilson": wilson(int(sum(values)), len(values)),
            "score": rate_interval([value > 0 for value in values], [{"group": name} for name in names], seed=run),
        }
        for name, interval in wanted.items():
            held[name] += _holds(interval, rate)
    return {name: count / runs for name, count in held.items()}


def draw(rng: np.random.Generator, groups: int, size: int, rate: float, correlation: float) -> list[float]:
    """Answers, 0 or 1, group by group: a beta-binomial, whose answers correlate so much within a group."""
    if correlation == 0:
        rates = np.full(groups, rate)
    else:
        strength = 1 / correlation - 1
        rates = rng.beta(rate * strength, (1 - rate) * strength, groups)
    return [float(value) for chance in rates for value in rng.random(size) < chance]


def _holds(interval: Interval, truth: float) -> bool:
    return interval.low <= truth <= interval.high


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
    for groups, size, rate, correlation in GROUPED:
        cell = {"groups": groups, "size": size, "p": rate, "correlation": correlation, "runs": runs}
        for name, coverage in grouped_coverage(groups, size, rate, correlation, runs, seed).items():
            yield {"interval": name, **cell, "coverage": coverage, "within_a_point": within(coverage)}


def main() -> None:
    """Print every cell."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    for line in lines(asked.runs, asked.seed):
        rounded = {name: round(value, 4) if isinstance(value, float) else value for name, value in line.items()}
        print(json.dumps(rounded), flush=True)


if __name__ == "__main__":
    main()
