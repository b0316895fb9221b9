"""Two models on the same prompts: exact paired tests, the difference with its interval, and the power to see one."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import ceil, lgamma, log, sqrt
from statistics import NormalDist
from typing import Annotated

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from cst.errors import DataError
from cst.evaluation.scores import Cell, Outcome, by_cell, outcomes
from cst.intervals import IntervalMethod, PairedCounts, effective_n, newcombe, quantile, wilson
from cst.records import (
    NOT_WRITTEN_IF_NONE,
    Completion,
    Framing,
    Record,
    SafetyConfiguration,
    Text,
    Verdict,
    WordingKind,
)

Count = Annotated[int, Field(ge=0)]


class PairedTest(Record):
    """Model A against model B on the `n` prompts that both were scored on.

    `only_a` prompts were followed by A alone. `p_value` is the exact McNemar test's, two-sided. `difference` is the
    rate of A minus that of B, in [-1, 1], with its 95 % interval; `interval` names the method. `unscored` prompts lack
    a verdict on A or B.
    """

    model_a: Text
    model_b: Text
    task: Text
    configuration: Text
    wordings: WordingKind
    temperature: Annotated[float, Field(ge=0)]
    n: Count
    unscored: Count
    only_a: Count
    only_b: Count
    p_value: Annotated[float, Field(ge=0, le=1)]
    difference: Annotated[float, Field(ge=-1, le=1)] | None
    low: Annotated[float, Field(ge=-1, le=1)]
    high: Annotated[float, Field(ge=-1, le=1)]
    interval: IntervalMethod
    framing: Annotated[Framing | None, NOT_WRITTEN_IF_NONE] = None


def mcnemar(only_a: int, only_b: int) -> float:
    """Two-sided exact p of McNemar's test (1947, Psychometrika 12, 153): a fair coin over discordant pairs."""
    if only_a + only_b == 0:
        return 1.0
    from scipy.stats import binomtest  # scipy is heavy, and `cst check` reads this file too

    return float(binomtest(only_a, only_a + only_b, 0.5).pvalue)


def compare(
    completions: Sequence[Completion],
    verdicts: Sequence[Verdict],
    configurations: Sequence[SafetyConfiguration],
    *,
    model_a: str,
    model_b: str,
) -> list[PairedTest]:
    """One test for every cell in which both models answered.

    Raises:
        DataError: one of the models answered nothing, or the two were asked different prompts in a cell.
    """
    cells = by_cell(outcomes(completions, verdicts, configurations))
    return compare_cells(cells, model_a=model_a, model_b=model_b)


def compare_cells(among: Sequence[tuple[Cell, Sequence[Outcome]]], *, model_a: str, model_b: str) -> list[PairedTest]:
    """The same, of outcomes that were put together by cell before. Raises as `compare`."""
    cells = dict(among)
    for model in (model_a, model_b):
        if all(cell.model != model for cell in cells):
            raise DataError(f"model {model!r} has no completions to compare; it is none of {_models(cells)}")
    tests: list[PairedTest] = []
    for cell, ours in cells.items():
        theirs = cells.get(cell._replace(model=model_b))
        if cell.model == model_a and theirs is not None:
            tests.append(_test(cell, model_b, _paired(cell, ours, theirs)))
    return tests


def _models(cells: Iterable[Cell]) -> str:
    return ", ".join(sorted({cell.model for cell in cells}))


def _paired(cell: Cell, ours: Sequence[Outcome], theirs: Sequence[Outcome]) -> list[tuple[Outcome, Outcome]]:
    """The outcomes of one prompt side by side."""
    by_prompt = {outcome.completion.prompt.id: outcome for outcome in theirs}
    ids = [outcome.completion.prompt.id for outcome in ours]
    if set(ids) != set(by_prompt) or len(ids) != len(theirs):
        raise DataError(
            f"{cell.task}/{cell.configuration}/{cell.wordings}: the models answered different prompts "
            f"({len(ids)} and {len(theirs)}); generate both from the same prompts"
        )
    return [(outcome, by_prompt[id]) for id, outcome in zip(ids, ours, strict=True)]


def _test(cell: Cell, model_b: str, pairs: Sequence[tuple[Outcome, Outcome]]) -> PairedTest:
    scored = [
        (a.followed, b.followed, a.completion.prompt.groups)
        for a, b in pairs
        if a.followed is not None and b.followed is not None
    ]
    counts = paired_counts([(a, b) for a, b, _ in scored])
    differences = [float(a) - float(b) for a, b, _ in scored]
    interval = newcombe(counts, effective_n(differences, [groups for _, _, groups in scored]))
    return PairedTest(
        model_a=cell.model,
        model_b=model_b,
        task=cell.task,
        configuration=cell.configuration,
        wordings=cell.wordings,
        temperature=cell.temperature,
        n=counts.n,
        unscored=len(pairs) - counts.n,
        only_a=counts.only_a,
        only_b=counts.only_b,
        p_value=mcnemar(counts.only_a, counts.only_b),
        difference=(counts.only_a - counts.only_b) / counts.n if counts.n else None,
        low=interval.low,
        high=interval.high,
        interval=interval.method,
        framing=cell.framing,
    )


def paired_counts(pairs: Sequence[tuple[bool, bool]]) -> PairedCounts:
    """Count the four kinds of (A, B) outcomes."""
    return PairedCounts(
        both=pairs.count((True, True)),
        only_a=pairs.count((True, False)),
        only_b=pairs.count((False, True)),
        neither=pairs.count((False, False)),
    )


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
