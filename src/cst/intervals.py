"""95 % intervals for rates and differences, and agreement beyond chance (kappa).

Wilson intervals for counts and Newcombe intervals for pairs take answers as independent. Answers to prompts that share
a frame or an item are not: `effective_n` gives the number of independent answers with the same precision, and the same
interval is then computed for that number. This file knows numbers, labels and group names, not where they come from.
"""

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import count
from math import sqrt
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from cst.records import Record

CONFIDENCE = 0.95
RESAMPLES = 2000

IntervalMethod = Literal["wilson", "newcombe", "bootstrap", "grouped_wilson", "grouped_newcombe", "cluster_bootstrap"]
"""`grouped_...`: of an effective n below n. A `cluster_bootstrap` stands in files of earlier versions only."""

GROUPED: frozenset[IntervalMethod] = frozenset(("grouped_wilson", "grouped_newcombe", "cluster_bootstrap"))
"""The methods that take into account which prompts are correlated."""


@dataclass(frozen=True)
class Interval:
    """The 95 % interval of a rate or difference, and the method that gave it."""

    low: float
    high: float
    method: IntervalMethod

    @property
    def width(self) -> float:
        """The distance from low to high."""
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


def wilson(followed: int, n: int, effective_n: float | None = None) -> Interval:
    """The score interval of `followed` out of `n` (Wilson 1927, J. Am. Stat. Assoc. 22, 209); n = 0 says [0, 1].

    With `effective_n` it is that of the same rate among so many answers, as Korn and Graubard (1998, Surv. Methodol.
    24, 193) put an effective n into an interval for counts, and Franco, Little, Louis and Slud (2019, J. Surv. Stat.
    Methodol. 7, 334) into this one.
    """
    if not 0 <= followed <= n:
        raise ValueError(f"followed={followed} of n={n} is no count; followed lies between 0 and n")
    if n == 0:
        return Interval(0.0, 1.0, "wilson")
    z, rate, worth = quantile(), followed / n, n if effective_n is None else effective_n
    centre = (rate + z * z / (2 * worth)) / (1 + z * z / worth)
    half = z / (1 + z * z / worth) * sqrt(rate * (1 - rate) / worth + z * z / (4 * worth * worth))
    low = 0.0 if followed == 0 else max(0.0, centre - half)
    high = 1.0 if followed == n else min(1.0, centre + half)
    return Interval(low, high, "wilson" if worth == n else "grouped_wilson")


def newcombe(counts: PairedCounts, effective_n: float | None = None) -> Interval:
    """The interval of rate A - rate B from paired counts (Newcombe 1998, Stat. Med. 17, 2635, method 10).

    It keeps a width where no pair, or every pair, is discordant. n = 0 says [-1, 1]. With `effective_n` it is that of
    the same shares among so many pairs.
    """
    if counts.n == 0:
        return Interval(-1.0, 1.0, "newcombe")
    yes_a, yes_b, n = counts.both + counts.only_a, counts.both + counts.only_b, counts.n
    worth = n if effective_n is None else effective_n
    a, b = wilson(yes_a, n, worth), wilson(yes_b, n, worth)
    rate_a, rate_b, phi = yes_a / n, yes_b / n, _correlation(counts, worth)
    below = _square_and_add(rate_a - a.low, b.high - rate_b, phi)
    above = _square_and_add(a.high - rate_a, rate_b - b.low, phi)
    low, high = max(-1.0, rate_a - rate_b - below), min(1.0, rate_a - rate_b + above)
    return Interval(low, high, "newcombe" if worth == n else "grouped_newcombe")


def _square_and_add(a: float, b: float, phi: float) -> float:
    return sqrt(max(0.0, a * a - 2 * phi * a * b + b * b))


def _correlation(counts: PairedCounts, worth: float) -> float:
    """Newcombe's phi, its numerator drawn in by n / 2 where positive; 0 where a margin is empty.

    `worth` pairs of the same shares: phi's numerator and denominator shrink by (worth / n)^2, n / 2 by worth / n.
    """
    yes_a, no_a = counts.both + counts.only_a, counts.only_b + counts.neither
    yes_b, no_b = counts.both + counts.only_b, counts.only_a + counts.neither
    margins = yes_a * no_a * yes_b * no_b
    if margins == 0:
        return 0.0
    numerator = float(counts.both * counts.neither - counts.only_a * counts.only_b)
    if numerator > 0:
        numerator = max(0.0, numerator - counts.n * counts.n / (2 * worth))
    return numerator / sqrt(margins)


def effective_n(values: Sequence[float], groups: Sequence[dict[str, str]]) -> float:
    """How many independent values say as much about the mean as these do: the fewest over all ways of grouping.

    `groups[i]` names the groups of `values[i]` by factor; a value without a factor stands alone in it. A factor that
    puts no two values together is no grouping, and one that puts all of them together can't tell what groups do.
    """
    array = np.asarray(values, dtype=np.float64)
    factors = sorted({factor for group in groups for factor in group})
    clusters = [_numbered(factor, groups) for factor in factors]
    worth = [of_clusters(array, each) for each in clusters if 1 < int(each.max()) + 1 < len(array)]
    return min((float(len(array)), *worth))


def _numbered(factor: str, groups: Sequence[dict[str, str]]) -> NDArray[np.int64]:
    """The number of each value's group, from 0 on; names of a million values would be sorted for a minute."""
    numbers: defaultdict[str | int, int] = defaultdict(count().__next__)
    found = (numbers[group.get(factor, i)] for i, group in enumerate(groups))
    return np.fromiter(found, dtype=np.int64, count=len(groups))


def of_clusters(values: NDArray[np.float64], clusters: NDArray[np.int64]) -> float:
    """The effective n of `values`, `[n]`, in clusters numbered from 0, at least two of them: at most n.

    n is divided by the design effect (Kish 1965, Survey Sampling): the variance of the mean by leaving out one cluster
    at a time (the jackknife CV3; MacKinnon, Nielsen and Webb 2023, J. Appl. Econom. 38, 671), over that of independent
    values. A variance from few clusters is uncertain itself; so n also shrinks by the squared ratio of the quantiles
    of Student's t for values and for clusters (Korn and Graubard 1998). The degrees of freedom of the latter are one
    less than the clusters' effective number, n^2 / sum of size^2 (Kish's formula for unequal weights), and at least 1.
    Clusters of one value each leave n as it is.
    """
    sums, sizes = np.bincount(clusters, weights=values), np.bincount(clusters)
    n, number, mean = len(values), len(sizes), float(values.mean())
    shifts = (sums - sizes * mean) / (n - sizes)  # of the mean, where a cluster is left out
    if not shifts.any():  # all clusters agree
        return float(n)
    alone = float(np.square(values - mean).sum()) / (n * (n - 1))
    effect = (number - 1) / number * float(shifts @ shifts) / alone
    freedom = max(1.0, n * n / float(np.square(sizes).sum()) - 1)
    ratio = _t_quantile(n - 1) / _t_quantile(freedom)
    return min(float(n), n / effect * ratio * ratio)


def _t_quantile(freedom: float) -> float:
    from scipy.special import stdtrit  # scipy is heavy, and verbs that score nothing read this file too

    return float(stdtrit(freedom, (1 + CONFIDENCE) / 2))


def bootstrap(values: Sequence[float], *, seed: int = 0) -> Interval:
    """The percentile interval of the mean of independent `values` that are no yes or no, such as shares.

    The generator is local and starts at `seed`.
    """
    if not len(values):
        raise ValueError("no values to resample; ask for an interval only where something was scored")
    kinds, counts = np.unique(np.asarray(values, dtype=np.float64), return_counts=True)
    drawn = np.random.default_rng(seed).multinomial(len(values), counts / len(values), size=RESAMPLES)
    tail = (1 - CONFIDENCE) / 2
    low, high = np.quantile(drawn @ kinds / len(values), [tail, 1 - tail])
    return Interval(float(low), float(high), "bootstrap")


class Kappa(Record):
    """Cohen's kappa of `n` pairs, and where it lies at 95 %.

    `value` and `standard_error` are None where kappa isn't defined: no pair, or all labels the same on both sides, so
    that chance alone agrees always. Low and high are then -1 and 1: nothing is known.
    """

    value: float | None
    low: float
    high: float
    n: int
    standard_error: float | None


def cohen_kappa(pairs: Sequence[tuple[str, str]]) -> Kappa:
    """(observed - chance) / (1 - chance), of the two labels that each answer was given (Cohen 1960).

    The standard error is the large-sample one of Fleiss, Cohen and Everitt 1969 (Psychol. Bull. 72, 323, eq. 13). It is
    0 where all pairs agree, or none of two even labels does, and says nothing there: the interval is then that of the
    observed agreement (Wilson), with chance held fixed.
    """
    shares, n = _shares(Counter(pairs)), len(pairs)
    chance = float(shares.sum(1) @ shares.sum(0))
    if n == 0 or chance >= 1:
        return Kappa(value=None, low=-1.0, high=1.0, n=n, standard_error=None)
    observed = float(np.trace(shares))
    value = (observed - chance) / (1 - chance)
    error = sqrt(_variance(shares, value, chance) / n)
    low, high = value - quantile() * error, value + quantile() * error
    if error == 0:
        agreement = wilson(sum(first == second for first, second in pairs), n)
        low, high = ((bound - chance) / (1 - chance) for bound in (agreement.low, agreement.high))
    return Kappa(value=value, low=max(low, -1.0), high=min(high, 1.0), n=n, standard_error=error)


def _shares(counts: Counter[tuple[str, str]]) -> NDArray[np.float64]:
    """`[labels, labels]`: the share of each pair of labels, the first judge's in rows."""
    labels = sorted({label for pair in counts for label in pair})
    table = np.array([[counts[first, second] for second in labels] for first in labels], dtype=np.float64)
    return table.reshape(len(labels), len(labels)) / max(counts.total(), 1)


def _variance(shares: NDArray[np.float64], value: float, chance: float) -> float:
    """Of one pair; never below 0, where rounding would put it for full agreement."""
    rows, columns = shares.sum(1), shares.sum(0)
    weights = (1 - value) * (columns[:, None] + rows[None, :])
    np.fill_diagonal(weights, np.diag(weights) - 1)
    variance = float((shares * weights**2).sum()) - (value - chance * (1 - value)) ** 2
    return max(variance, 0.0) / (1 - chance) ** 2 if variance > 1e-12 else 0.0


def fleiss_kappa(table: Sequence[Sequence[int]] | NDArray[np.int64]) -> float | None:
    """Agreement of several judges beyond chance (Fleiss 1971, Psychol. Bull. 76, 378).

    `table[i][j]` counts the judges who gave answer i the label j, `[answers, labels]`. None where it isn't defined: no
    answer, or one label alone.

    Raises:
        ValueError: Not every answer has the same number of judges, two or more.
    """
    counts = np.asarray(table, dtype=np.float64)
    if counts.size == 0:
        return None
    judges = counts.sum(1)
    if judges.min() != judges.max() or judges[0] < 2:
        raise ValueError(
            f"answers with {judges.min():g} to {judges.max():g} labels can't be compared; give each two or more, of "
            "the same judges"
        )
    observed = float(((counts**2).sum(1) - judges[0]).mean()) / (judges[0] * (judges[0] - 1))
    chance = float(((counts.sum(0) / counts.sum()) ** 2).sum())
    return None if chance >= 1 else float((observed - chance) / (1 - chance))
