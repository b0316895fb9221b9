"""What a judge said of answers that people labelled, as counts, and the figures that are read off them.

A figure carries its n and interval, or says why there is none. This file knows counts, and neither answers nor judges.
"""

from typing import Annotated

from pydantic import Field

from cst.intervals import cohen_kappa, wilson
from cst.records import NOT_WRITTEN_IF_EMPTY, Record, Side

Count = Annotated[int, Field(ge=0)]


class SideCounts(Record):
    """The answers that people labelled as one side: those the judge called right, called wrong, and left unscored.

    `refused` of the unscored ones the judge declined to judge; of the others its word could not be read.
    """

    right: Count
    wrong: Count
    unscored: Count
    refused: Count

    @property
    def scored(self) -> int:
        """Answers that the judge placed."""
        return self.right + self.wrong


class Confusion(Record):
    """Both sides' counts, by label."""

    original: SideCounts
    revised: SideCounts

    def of(self, side: Side) -> SideCounts:
        """The counts of the answers with this label."""
        return self.original if side is Side.ORIGINAL else self.revised


class Figure(Record):
    """A figure of `n` answers and where it lies at 95 %; without a value `undefined` says why."""

    value: float | None
    low: float
    high: float
    n: Count
    undefined: Annotated[str, NOT_WRITTEN_IF_EMPTY] = ""


class Figures(Record):
    """How well a judge tells the positive class. Unscored answers are in none of them."""

    f1: Figure
    precision: Figure
    recall: Figure
    specificity: Figure
    accuracy: Figure
    kappa: Figure


def rate(count: int, n: int, undefined: str) -> Figure:
    """`count` of `n` with Wilson's interval; `undefined` is said where n is 0."""
    interval = wilson(count, n)
    value, why = (count / n, "") if n else (None, undefined)
    return Figure(value=value, low=interval.low, high=interval.high, n=n, undefined=why)


def figures(confusion: Confusion, positive: Side) -> Figures:
    """F1, precision, recall, specificity, accuracy and Cohen's kappa, with `positive` as the class to be found."""
    found, others = confusion.of(positive), confusion.of(positive.other)
    scored = found.scored + others.scored
    return Figures(
        f1=_f1(found, others),
        precision=rate(found.right, found.right + others.wrong, f"the judge called no answer {positive}"),
        recall=rate(found.right, found.scored, f"no scored answer is labelled {positive}"),
        specificity=rate(others.right, others.scored, f"no scored answer is labelled {positive.other}"),
        accuracy=rate(found.right + others.right, scored, "no answer was scored"),
        kappa=_kappa(confusion),
    )


def _f1(found: SideCounts, others: SideCounts) -> Figure:
    """F1 = 2 F* / (1 + F*), where F* = TP / (TP + FP + FN) (Hand, Christen and Kirielle 2021, Mach. Learn. 110, 451).

    F* is the share of right answers among those that are positive by label or by verdict: a rate with Wilson's
    interval, which the monotone formula carries over to F1. `n` is the number of those.
    """
    n = found.scored + others.wrong
    share = rate(found.right, n, "no scored answer is positive, neither by its label nor by its verdict")
    low, high = _f1_of(share.low), _f1_of(share.high)
    value = None if share.value is None else _f1_of(share.value)
    return Figure(value=value, low=low, high=high, n=n, undefined=share.undefined)


def _f1_of(share: float) -> float:
    return 2 * share / (1 + share)


def _kappa(confusion: Confusion) -> Figure:
    pairs: list[tuple[str, str]] = []
    for side in Side:
        counts = confusion.of(side)
        pairs += [(side, side)] * counts.right + [(side, side.other)] * counts.wrong
    kappa = cohen_kappa(pairs)
    why = "" if kappa.value is not None else "labels and verdicts are all of one class, or there are none"
    return Figure(value=kappa.value, low=kappa.low, high=kappa.high, n=kappa.n, undefined=why)
