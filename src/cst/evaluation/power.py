"""How small a difference a number of prompts can tell, before a run is paid for: at 5 %, two-sided, with power 0.8.

Exact where the test is (McNemar's, Wilson's interval): binomial probabilities are summed, none is drawn. This file
loads numpy alone, because `cst check` prints what it says.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import ceil, lgamma, log, sqrt
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from cst.intervals import quantile, wilson

POWER = 0.8
RATE = 0.9
"""The rate that a difference is told from where none is named: near what tuned models reach."""
DISCORDANCE = 0.1
"""The share of prompts on which two models differ, where none is named."""

ALPHA = 0.05
TAIL = 9.0
"""Standard deviations beyond which a binomial probability is left out: below 1e-15."""


@dataclass(frozen=True)
class Power:
    """What `n` prompts of a task can tell; None where no difference is large enough.

    `half_width` of Wilson's interval around `RATE`. `drop`: the smallest drop from a fixed `RATE` that the interval
    excludes. `paired`: the smallest difference of two models on the same prompts, of which they differ on the share
    `DISCORDANCE` (exact McNemar test). `independent`: the same for two sets of prompts, one of them at `RATE`.
    """

    task: str
    n: int
    half_width: float
    drop: float | None
    paired: float | None
    independent: float | None


def power_table(n_per_task: Mapping[str, int]) -> list[Power]:
    """One row a task that has prompts."""
    return [_power_of(task, n) for task, n in n_per_task.items() if n > 0]


def _power_of(task: str, n: int) -> Power:
    return Power(
        task=task,
        n=n,
        half_width=wilson(round(n * RATE), n).width / 2,
        drop=_smallest(lambda d: wilson_power(n, RATE - d, against=RATE), RATE),
        paired=_smallest(lambda d: mcnemar_power(n, difference=d, discordance=DISCORDANCE), DISCORDANCE),
        independent=_smallest(lambda d: POWER if independent_n(RATE, RATE - d) <= n else 0.0, RATE),
    )


def independent_n(first: float, second: float) -> int:
    """Prompts an arm to tell two rates on different prompts: Fleiss, Levin and Paik 2003 (3rd ed.), eq. 4.14.

    Without a continuity correction: telling .90 from .96 takes 283 prompts an arm.
    """
    mean, difference = (first + second) / 2, abs(first - second)
    if difference == 0:
        raise ValueError(f"rates are the same ({first}); no number of prompts tells them apart")
    under_equal = quantile() * sqrt(2 * mean * (1 - mean))
    under_different = NormalDist().inv_cdf(POWER) * sqrt(first * (1 - first) + second * (1 - second))
    return ceil((under_equal + under_different) ** 2 / difference**2)


def mcnemar_power(n: int, *, difference: float, discordance: float) -> float:
    """How often the exact test is significant on `n` pairs, of which a share `discordance` differs.

    The number of discordant pairs is binomial, and given it, so are those that favour the better model (Duffy 1984,
    Biometrics 40, 1005).

    Raises:
        ValueError: The difference is larger than the discordance, or this larger than 1.
    """
    if not abs(difference) <= discordance <= 1:
        raise ValueError(f"difference={difference} needs a discordance between it and 1, not {discordance}")
    if discordance == 0:
        return 0.0
    favoured = (1 + difference / discordance) / 2
    pairs = binomial(n, discordance)
    return sum(float(pairs[d]) * _rejects(d, favoured) for d in _likely(n, discordance))


def _likely(n: int, p: float) -> range:
    spread = TAIL * sqrt(n * p * (1 - p)) + 1
    return range(max(0, int(n * p - spread)), min(n, int(n * p + spread)) + 1)


def _rejects(discordant: int, favoured: float) -> float:
    """The probability that an exact two-sided sign test of so many pairs is significant."""
    if discordant == 0:
        return 0.0
    below = np.cumsum(binomial(discordant, 0.5))
    critical = int(np.searchsorted(below, ALPHA / 2, side="right"))  # counts below it are significant
    chances = binomial(discordant, favoured)
    return float(chances[:critical].sum() + chances[len(chances) - critical :].sum())


def wilson_power(n: int, rate: float, *, against: float) -> float:
    """How often Wilson's interval of `n` answers at `rate` excludes a fixed other rate."""
    chances = binomial(n, rate)
    excluded = [not (found := wilson(k, n)).low <= against <= found.high for k in range(n + 1)]
    return float(chances[excluded].sum())


def binomial(n: int, p: float) -> NDArray[np.float64]:
    """The probability of each count of `n`, `[n + 1]`."""
    counts = np.arange(n + 1)
    if p in (0.0, 1.0):
        return (counts == n * p).astype(np.float64)
    factorials = np.cumsum(np.log(np.maximum(counts, 1)))
    ways = lgamma(n + 1) - factorials - factorials[::-1]
    return np.exp(ways + counts * log(p) + (n - counts) * log(1 - p))


def _smallest(power: Callable[[float], float], largest: float) -> float | None:
    """The smallest difference up to `largest` with power enough, to 1e-4; None where there is none."""
    low, high = 0.0, largest
    if power(high) < POWER:
        return None
    while high - low > 1e-4:
        middle = (low + high) / 2
        low, high = (low, middle) if power(middle) >= POWER else (middle, high)
    return high
