"""95 % intervals for rates and for differences of means: from counts, and from resampled groups.

A count alone gives a Wilson interval; it takes the answers for independent. Prompts that share a frame or an item are
not, so the mean is also bootstrapped over each way of grouping, and whichever interval is widest is shown. This file
knows numbers and group names, not records.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import count
from math import sqrt
from typing import Literal

import numpy as np
from numpy.typing import NDArray

CONFIDENCE = 0.95
RESAMPLES = 2000

IntervalMethod = Literal["wilson", "newcombe", "bootstrap", "cluster_bootstrap"]


@dataclass(frozen=True)
class Interval:
    """Where a rate or difference lies at 95 %, and the method that says so."""

    low: float
    high: float
    method: IntervalMethod

    @property
    def width(self) -> float:
        """What lies between low and high."""
        return self.high - self.low


@dataclass(frozen=True)
class PairedCounts:
    """A 2 x 2 table of paired yes/no outcomes."""

    both: int
    only_a: int
    only_b: int
    neither: int

    @property
    def n(self) -> int:
        """All pairs."""
        return self.both + self.only_a + self.only_b + self.neither


def quantile() -> float:
    """The standard normal's quantile for a two-sided 95 % interval, as scipy's `norm.ppf(0.975)` has it."""
    return 1.959963984540054


def wilson(followed: int, n: int) -> Interval:
    """The score interval of `followed` out of `n` (Wilson 1927, J. Am. Stat. Assoc. 22, 209); n = 0 says [0, 1]."""
    if not 0 <= followed <= n:
        raise ValueError(f"followed={followed} of n={n} is no count; followed lies between 0 and n")
    if n == 0:
        return Interval(0.0, 1.0, "wilson")
    z, rate = quantile(), followed / n
    centre = (rate + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * sqrt(rate * (1 - rate) / n + z * z / (4 * n * n))
    low = 0.0 if followed == 0 else max(0.0, centre - half)
    high = 1.0 if followed == n else min(1.0, centre + half)
    return Interval(low, high, "wilson")


def newcombe(counts: PairedCounts) -> Interval:
    """The interval of rate A - rate B from paired counts (Newcombe 1998, Stat. Med. 17, 2635, method 10).

    Unlike a bootstrap it keeps a width where no pair, or every pair, is discordant. n = 0 says [-1, 1].
    """
    if counts.n == 0:
        return Interval(-1.0, 1.0, "newcombe")
    yes_a, yes_b, n = counts.both + counts.only_a, counts.both + counts.only_b, counts.n
    a, b = wilson(yes_a, n), wilson(yes_b, n)
    rate_a, rate_b, phi = yes_a / n, yes_b / n, _correlation(counts)
    below = _square_and_add(rate_a - a.low, b.high - rate_b, phi)
    above = _square_and_add(a.high - rate_a, rate_b - b.low, phi)
    difference = rate_a - rate_b
    return Interval(max(-1.0, difference - below), min(1.0, difference + above), "newcombe")


def _square_and_add(a: float, b: float, phi: float) -> float:
    return sqrt(max(0.0, a * a - 2 * phi * a * b + b * b))


def _correlation(counts: PairedCounts) -> float:
    """Newcombe's phi, its numerator drawn in by n / 2 where positive; 0 where a margin is empty."""
    yes_a, no_a = counts.both + counts.only_a, counts.only_b + counts.neither
    yes_b, no_b = counts.both + counts.only_b, counts.only_a + counts.neither
    margins = yes_a * no_a * yes_b * no_b
    if margins == 0:
        return 0.0
    numerator = counts.both * counts.neither - counts.only_a * counts.only_b
    if numerator > 0:
        numerator = max(0.0, numerator - counts.n / 2)
    return numerator / sqrt(margins)


def bootstrap(
    values: Sequence[float], clusters: Sequence[str] | NDArray[np.int64] | None = None, *, seed: int = 0
) -> Interval:
    """The percentile interval of the mean of `values`, whole clusters drawn with replacement.

    `clusters` are names or numbers; without them every value stands for itself. The generator is local and starts at
    `seed`. With few clusters a percentile interval is too short (Cameron, Gelbach and Miller 2008, Rev. Econ. Stat. 90,
    414; docs/statistics.md has figures): read it as a floor.
    """
    if not len(values):
        raise ValueError("no values to resample; ask for an interval only where something was scored")
    sums, sizes = _per_cluster(np.asarray(values, dtype=np.float64), clusters)
    means = _resampled_means(sums, sizes, np.random.default_rng(seed))
    tail = (1 - CONFIDENCE) / 2
    low, high = np.quantile(means, [tail, 1 - tail])
    return Interval(float(low), float(high), "bootstrap" if clusters is None else "cluster_bootstrap")


def _per_cluster(
    values: NDArray[np.float64], clusters: Sequence[str] | NDArray[np.int64] | None
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Sum and size of each cluster, `[clusters]` both."""
    if clusters is None:
        return values, np.ones_like(values)
    index = np.unique(np.asarray(clusters), return_inverse=True)[1]
    return np.bincount(index, weights=values).astype(np.float64), np.bincount(index).astype(np.float64)


def _resampled_means(
    sums: NDArray[np.float64], sizes: NDArray[np.float64], generator: np.random.Generator
) -> NDArray[np.float64]:
    """`[RESAMPLES]` means.

    Clusters of equal sum and size are interchangeable, so drawing clusters is drawing how often each such kind comes:
    one multinomial a resample, however many prompts there are.
    """
    kinds, counts = np.unique(sums + 1j * sizes, return_counts=True)  # as one number a pair, they sort in one go
    drawn = generator.multinomial(len(sums), counts / len(sums), size=RESAMPLES)
    totals = drawn @ np.stack([kinds.real, kinds.imag], axis=1)
    return totals[:, 0] / totals[:, 1]


def widest(first: Interval, *others: Interval) -> Interval:
    """The first interval, unless another is wider."""
    return max((first, *others), key=lambda interval: interval.width)


def over_groups(values: Sequence[float], groups: Sequence[dict[str, str]], *, seed: int = 0) -> list[Interval]:
    """One cluster bootstrap per way of grouping that puts at least two values together, factors in sorted order.

    `groups[i]` names the groups of `values[i]`; a value without a factor stands alone in it.
    """
    factors = sorted({factor for group in groups for factor in group})
    intervals: list[Interval] = []
    for factor in factors:
        clusters = _numbered(factor, groups)
        if 1 < int(clusters.max()) + 1 < len(clusters):
            intervals.append(bootstrap(values, clusters, seed=seed))
    return intervals


def _numbered(factor: str, groups: Sequence[dict[str, str]]) -> NDArray[np.int64]:
    """The number of each value's group, from 0 on; names of a million values would be sorted for a minute."""
    numbers: defaultdict[str | int, int] = defaultdict(count().__next__)
    found = (numbers[group.get(factor, i)] for i, group in enumerate(groups))
    return np.fromiter(found, dtype=np.int64, count=len(groups))
