"""One run against another, cell by cell: paired where both asked the same, as independent samples elsewhere.

What is compared is one cell of both: the same model name, task, configuration, wordings and temperature. This file
knows two runs' scores and outcomes, and no folder.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import hypot
from typing import Annotated, NamedTuple

from pydantic import Field

from cst.evaluation.capability import CapabilityScore
from cst.evaluation.comparisons import Count, mcnemar, paired_counts
from cst.evaluation.scores import Cell, Outcome
from cst.intervals import GROUPED, Interval, IntervalMethod, effective_n, newcombe
from cst.records import Message, Record, Score, Text

Share = Annotated[float, Field(ge=-1, le=1)]


class Pairs(Record):
    """The prompts that both runs asked: `n` scored in both, `unscored` lacking a verdict in one of them.

    `only_run` of the n were followed in the run alone; `p_value` is the exact McNemar test's, two-sided.
    """

    n: Count
    unscored: Count
    only_run: Count
    only_against: Count
    p_value: Annotated[float, Field(ge=0, le=1)]


class RunDifference(Record):
    """The rate of `run` minus that of `against` in one cell, with its 95 % interval.

    `pairs` is None where the runs asked different prompts, or their answers aren't there: then the samples count as
    independent. `difference` is None where one of them has nothing scored.
    """

    run: Text
    against: Text
    score: Score
    score_against: Score
    pairs: Pairs | None
    difference: Share | None
    low: Share
    high: Share
    interval: IntervalMethod


@dataclass(frozen=True)
class ScoredRun:
    """A run under the name that it is shown by; a cell without outcomes can't be paired."""

    label: str
    scores: Sequence[Score]
    outcomes: Mapping[Cell, Sequence[Outcome]]


def cell_of(score: Score) -> Cell:
    """The cell that a score is of."""
    return Cell._make(getattr(score, name) for name in Cell._fields)


def differences(run: ScoredRun, against: ScoredRun) -> list[RunDifference]:
    """One difference for each cell that both runs scored, in the order of the first."""
    theirs = {cell_of(score): score for score in against.scores}
    return [
        _difference(run, against, score, theirs[cell]) for score in run.scores if (cell := cell_of(score)) in theirs
    ]


def _difference(run: ScoredRun, against: ScoredRun, ours: Score, theirs: Score) -> RunDifference:
    cell = cell_of(ours)
    matched = pairs_of(run.outcomes.get(cell, ()), against.outcomes.get(cell, ()))
    if matched is None:
        pairs, interval = None, independent(ours, theirs)
        difference = None if ours.rate is None or theirs.rate is None else ours.rate - theirs.rate
    else:
        pairs, interval = _paired(matched)
        difference = (pairs.only_run - pairs.only_against) / pairs.n if pairs.n else None
    return RunDifference(
        run=run.label,
        against=against.label,
        score=ours,
        score_against=theirs,
        pairs=pairs,
        difference=difference,
        low=interval.low,
        high=interval.high,
        interval=interval.method,
    )


def _paired(matched: Sequence[tuple[Outcome, Outcome]]) -> tuple[Pairs, Interval]:
    """Counts and interval of matched outcomes, as for two models of one run."""
    scored = [
        (ours.followed, theirs.followed, ours.completion.prompt.groups)
        for ours, theirs in matched
        if ours.followed is not None and theirs.followed is not None
    ]
    counts = paired_counts([(ours, theirs) for ours, theirs, _ in scored])
    changes = [float(ours) - float(theirs) for ours, theirs, _ in scored]
    pairs = Pairs(
        n=counts.n,
        unscored=len(matched) - counts.n,
        only_run=counts.only_a,
        only_against=counts.only_b,
        p_value=mcnemar(counts.only_a, counts.only_b),
    )
    return pairs, newcombe(counts, effective_n(changes, [groups for _, _, groups in scored]))


class Question(NamedTuple):
    """What a model was asked; prompts of two runs are the same if all of it is."""

    id: str
    history: tuple[Message, ...]
    text: str
    system_prompt: str | None


def pairs_of(ours: Sequence[Outcome], theirs: Sequence[Outcome]) -> list[tuple[Outcome, Outcome]] | None:
    """Outcomes side by side; None unless both runs asked the same questions, each of them once."""
    mine, others = _by_question(ours), _by_question(theirs)
    if not mine or mine.keys() != others.keys() or len(mine) < len(ours) or len(others) < len(theirs):
        return None
    return [(outcome, others[question]) for question, outcome in mine.items()]


def _by_question(outcomes: Sequence[Outcome]) -> dict[Question, Outcome]:
    found: dict[Question, Outcome] = {}
    for outcome in outcomes:
        prompt = outcome.completion.prompt
        found[Question(prompt.id, prompt.history, prompt.text, outcome.completion.system_prompt)] = outcome
    return found


def independent(ours: Score | CapabilityScore, theirs: Score | CapabilityScore) -> Interval:
    """The interval of a difference of two rates from independent samples, by the two rates' own intervals.

    With Wilson intervals it is method 10 of Newcombe 1998 (Stat. Med. 17, 873); with any other ones the same rule is
    called MOVER (Zou and Donner 2008, Stat. Med. 27, 1693). Nothing scored in one of them says [-1, 1].
    """
    if ours.rate is None or theirs.rate is None:
        return Interval(-1.0, 1.0, "newcombe")
    difference = ours.rate - theirs.rate
    below = hypot(ours.rate - ours.low, theirs.high - theirs.rate)
    above = hypot(ours.high - ours.rate, theirs.rate - theirs.low)
    grouped = not GROUPED.isdisjoint((ours.interval, theirs.interval))
    return Interval(
        max(-1.0, difference - below), min(1.0, difference + above), "grouped_newcombe" if grouped else "newcombe"
    )
