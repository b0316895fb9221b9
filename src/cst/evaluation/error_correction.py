"""What a rate would be if the judge never erred: estimated from its card, with an interval that knows the card's size.

A judge errs by the side that an answer shows, and `followed` is told from that side; so the correction needs to know
how many answers of a cell were to show which side. Unscored answers stay outside, as they do of the raw rate.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import sqrt
from typing import Annotated

from pydantic import Field

from cst.evaluation.intervals import Interval, quantile
from cst.evaluation.judge_card import Confusion, Count, JudgeCard, SideCounts
from cst.evaluation.scores import Cell, Outcome
from cst.records import NOT_WRITTEN_IF_EMPTY, NOT_WRITTEN_IF_NONE, Framing, Record, Score, Side, Text, WordingKind

ROUNDING = 1e-12
"""Sums of shares that ought to be 1 are off by less."""


class CorrectedScore(Record):
    """A score's cell, its raw count, and the rate corrected for the judge's known errors.

    `is_truncated`: the estimate lay outside [0, 1] and was put to its end. Without a value `undefined` says why, and
    low and high are 0 and 1.
    """

    model: Text
    task: Text
    configuration: Text
    wordings: WordingKind
    temperature: Annotated[float, Field(ge=0)]
    framing: Annotated[Framing | None, NOT_WRITTEN_IF_NONE] = None
    followed: Count
    n: Count
    value: float | None
    low: Annotated[float, Field(ge=0, le=1)]
    high: Annotated[float, Field(ge=0, le=1)]
    is_truncated: bool = False
    undefined: Annotated[str, NOT_WRITTEN_IF_EMPTY] = ""


@dataclass(frozen=True)
class Corrected:
    """An estimate in [0, 1] with its 95 % interval, or None and why."""

    value: float | None
    low: float = 0.0
    high: float = 1.0
    is_truncated: bool = False
    undefined: str = ""


def corrected_scores(
    cells: Sequence[tuple[Cell, Sequence[Outcome]]], scores: Sequence[Score], card: JudgeCard
) -> list[CorrectedScore]:
    """One corrected score for each score, in order; `cells` are those that the scores were counted from."""
    return [_of_cell(cell, group, score, card) for (cell, group), score in zip(cells, scores, strict=True)]


def _of_cell(cell: Cell, group: Sequence[Outcome], score: Score, card: JudgeCard) -> CorrectedScore:
    wanted = [outcome.wanted for outcome in group if outcome.followed is not None]
    of_task = card.of_task(cell.task)
    if of_task is None:
        found = Corrected(None, undefined=f"the judge's card has no answers of task {cell.task}")
    elif score.n == 0:
        found = Corrected(None, undefined="no answer was scored")
    else:
        interval = Interval(score.low, score.high, score.interval)
        share = wanted.count(Side.REVISED) / score.n
        found = corrected(score.followed, score.n, interval, of_task.confusion, revised_wanted=share)
    return CorrectedScore(
        **cell._asdict(),
        followed=score.followed,
        n=score.n,
        value=found.value,
        low=found.low,
        high=found.high,
        is_truncated=found.is_truncated,
        undefined=found.undefined,
    )


def corrected(
    followed: int, n: int, interval: Interval, confusion: Confusion, *, revised_wanted: float = 1.0
) -> Corrected:
    """The rate of answers that truly followed, of which a share `revised_wanted` was to show `revised`.

    With r and o the judge's rates of right verdicts on answers that show `revised` and `original`, and a share a of the
    answers wanted `revised`, the observed rate is q = P (r + o - 1) + a (1 - o) + (1 - a)(1 - r). Solved for P this is
    Rogan and Gladen's estimate (1978, Am. J. Epidemiol. 107, 71) where all want one side. The interval is that of Lang
    and Reiczigel (2014, Prev. Vet. Med. 113, 13), in which the card's counts are samples too, with the same a in it.
    Where groups widen the raw `interval`, n shrinks to the one whose Wilson interval is as wide. An interval
    that lies outside [0, 1] altogether isn't clipped to a point that would look certain: there is no estimate then.
    """
    missing = [side for side in Side if confusion.of(side).scored == 0]
    if missing:
        return Corrected(None, undefined=f"the judge's card has no scored answer labelled {missing[0]}")
    estimate = _estimate(followed / n, _share(confusion.revised), _share(confusion.original), revised_wanted)
    if estimate is None:
        why = "on its card the judge does no better than chance: its rates of right verdicts add up to 1 or less"
        return Corrected(None, undefined=why)
    low, high = _lang_reiczigel(followed / n, _effective(followed, n, interval), confusion, revised_wanted)
    if low >= 1 or high <= 0:
        why = "the judge's card doesn't fit: by its errors, no true rate gives the observed one"
        return Corrected(None, undefined=why)
    inside = _inside(estimate)
    is_truncated = abs(inside - estimate) > ROUNDING
    return Corrected(inside, min(_inside(low), inside), max(_inside(high), inside), is_truncated)


def _inside(value: float) -> float:
    return min(1.0, max(0.0, value))


def _estimate(observed: float, right_revised: float, right_original: float, a: float) -> float | None:
    """Rogan and Gladen's, not truncated; None where a judge tells the sides no better than chance."""
    told_apart = right_revised + right_original - 1
    if told_apart <= ROUNDING:
        return None
    return (observed + a * right_original + (1 - a) * right_revised - 1) / told_apart


def _share(counts: SideCounts, *, added: int = 0) -> float:
    return (counts.right + added) / (counts.scored + 2 * added)


def _effective(followed: int, n: int, interval: Interval) -> float:
    """How many independent answers of this rate, at most `n`, have a Wilson interval as wide as this one.

    With p the rate and w the width, it is the root m > 0 of w^2 (m + z^2)^2 = 4 z^2 (p (1 - p) m + z^2 / 4).
    """
    square, w2, variance = quantile() ** 2, interval.width**2, followed / n * (1 - followed / n)
    half = square * (w2 - 2 * variance)
    return min(float(n), (sqrt(half * half + w2 * square * square * (1 - w2)) - half) / w2)


def _lang_reiczigel(observed: float, n: float, confusion: Confusion, a: float) -> tuple[float, float]:
    """Bounds, not clipped: one answer added to either side of the card, z^2 / 2 to either side of the score.

    `shift` and `variance` are the paper's for a = 1, and follow in the same way from the derivatives of the estimate:
    (a - P) / (r + o - 1) by o, and (1 - a - P) / (r + o - 1) by r.
    """
    z = quantile()
    q = (n * observed + z * z / 2) / (n + z * z)
    r, o = _share(confusion.revised, added=1), _share(confusion.original, added=1)
    p = _estimate(q, r, o, a)
    if p is None:
        return 0.0, 1.0
    of_r = r * (1 - r) / (confusion.revised.scored + 2)
    of_o = o * (1 - o) / (confusion.original.scored + 2)
    by_r, by_o = p - (1 - a), p - a
    shift = 2 * z * z * (by_r * of_r + by_o * of_o)
    variance = (q * (1 - q) / (n + z * z) + by_r**2 * of_r + by_o**2 * of_o) / (r + o - 1) ** 2
    centre, half = p + shift, z * sqrt(variance)
    return centre - half, centre + half
