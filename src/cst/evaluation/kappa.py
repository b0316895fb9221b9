"""Agreement beyond chance: Cohen's kappa for two judges, Fleiss' for several.

This file knows labels and counts; who gave them, and what became of answers without one, it doesn't know.
"""

from collections import Counter
from collections.abc import Sequence
from math import sqrt

import numpy as np
from numpy.typing import NDArray

from cst.evaluation.intervals import quantile, wilson
from cst.records import Record


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
