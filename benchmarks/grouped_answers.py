"""Answers that hang together in groups, drawn many times over: how often do intervals hold the truth they came from?

A group's chances are drawn from a beta distribution (a Dirichlet one for pairs), its answers by them: answers of one
group correlate by exactly `correlation`, from 0 (groups mean nothing) to 1 (a group is one answer, said many times).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cst.intervals import Interval, PairedCounts, newcombe, of_clusters, wilson

Integers = NDArray[np.int64]

RESAMPLES = 2000


@dataclass(frozen=True)
class Design:
    """Groups of these sizes, and how far the answers of one correlate."""

    sizes: Integers
    correlation: float

    @property
    def clusters(self) -> Integers:
        """The group of each answer, `[n]`."""
        return np.repeat(np.arange(len(self.sizes)), self.sizes)

    @property
    def worth(self) -> float:
        """Independent answers that say as much: n by the design effect, were the correlation known (Kish 1965)."""
        n = float(self.sizes.sum())
        return n / (1 + (float(np.square(self.sizes).sum()) / n - 1) * self.correlation)


def sizes(kind: str, groups: int) -> Integers:
    """Ten answers a group: `equal`; `unequal`, half of the groups with 2 and half with 18; `zipf`, like 1 / rank.

    At least 1 in a group, so that a few more than ten may come out for `zipf`.
    """
    if kind == "zipf":
        shares = 1 / np.arange(1, groups + 1)
        return np.maximum(1, np.round(10 * groups * shares / shares.sum())).astype(np.int64)
    small, large = {"equal": (10, 10), "unequal": (2, 18)}[kind]
    return np.repeat([small, large], groups // 2)


def draw(rng: np.random.Generator, design: Design, shares: Sequence[float], runs: int) -> Integers:
    """How many answers of each group have each outcome, `[runs, groups, outcomes]`; in all groups `shares` is meant."""
    wanted = np.broadcast_to(shares, (runs, len(design.sizes), len(shares)))
    match design.correlation:
        case 0:
            chances = wanted
        case 1:
            chances = rng.multinomial(1, wanted)
        case correlation:
            weights = rng.standard_gamma(wanted * (1 / correlation - 1))
            totals = weights.sum(axis=-1, keepdims=True)
            chances = np.where(totals > 0, weights / np.where(totals > 0, totals, 1), rng.multinomial(1, wanted))
    return rng.multinomial(np.broadcast_to(design.sizes, chances.shape[:-1]), chances)


def rate_coverage(rng: np.random.Generator, design: Design, rate: float, runs: int) -> dict[str, float]:
    """The share of `runs` whose interval holds the rate: the score's, and Wilson's that knows of no groups.

    `alike` is the share in which all answers are the same: nothing tells there that they hang together.
    """
    clusters, n, score, plain, alike = design.clusters, int(design.sizes.sum()), 0, 0, 0
    for counts in draw(rng, design, (rate, 1 - rate), runs):
        followed = int(counts[:, 0].sum())
        values = np.repeat(np.tile([1.0, 0.0], len(counts)), counts.ravel())
        score += _holds(wilson(followed, n, of_clusters(values, clusters)), rate)
        plain += _holds(wilson(followed, n), rate)
        alike += followed in (0, n)
    return {"score": score / runs, "wilson": plain / runs, "alike": alike / runs}


def pair_coverage(rng: np.random.Generator, design: Design, shares: Sequence[float], runs: int) -> dict[str, float]:
    """The same of the difference of paired rates, of which `shares` are both, only A, only B and neither."""
    clusters, truth, paired, plain = design.clusters, shares[1] - shares[2], 0, 0
    for drawn in draw(rng, design, shares, runs):
        counts = PairedCounts(*drawn.sum(axis=0).tolist())
        values = np.repeat(np.tile([0.0, 1.0, -1.0, 0.0], len(drawn)), drawn.ravel())
        paired += _holds(newcombe(counts, of_clusters(values, clusters)), truth)
        plain += _holds(newcombe(counts), truth)
    return {"paired": paired / runs, "newcombe": plain / runs}


def bootstrap_coverage(rng: np.random.Generator, design: Design, rate: float, runs: int) -> float:
    """The same of a percentile bootstrap over whole groups, or Wilson's interval where that is wider: a control."""
    held, number, n = 0, len(design.sizes), int(design.sizes.sum())
    for counts in draw(rng, design, (rate, 1 - rate), runs):
        times = rng.multinomial(number, np.full(number, 1 / number), size=RESAMPLES)
        low, high = np.quantile((times @ counts[:, 0]) / (times @ design.sizes), (0.025, 0.975))
        plain, drawn = wilson(int(counts[:, 0].sum()), n), Interval(float(low), float(high), "cluster_bootstrap")
        held += _holds(max(plain, drawn, key=lambda interval: interval.width), rate)
    return held / runs


def _holds(interval: Interval, truth: float) -> bool:
    return interval.low <= truth <= interval.high
