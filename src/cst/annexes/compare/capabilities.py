"""Capabilities of several runs: side by side, and each run against the first, paired by item where that can be."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import hypot
from pathlib import Path
from typing import NamedTuple

from cst.evaluation.capability import AskedSet, CapabilityAnswer, CapabilityChange, CapabilityScore, ItemKey, changed
from cst.intervals import GROUPED, Interval
from cst.records import NO_CONFIGURATION, Record, Score, Text
from cst.reporting.score_tables import capability_change, capability_mean, label
from cst.reporting.tables import (
    Counts,
    Difference,
    Heading,
    Row,
    Table,
    TableCell,
)
from cst.store import read_records

ANSWERS = "capabilities"
"""The folder of a run that holds every item as it was answered."""


class CapabilityCell(NamedTuple):
    """One score of a run."""

    set: str
    model: str
    configuration: str


@dataclass(frozen=True)
class CapableRun:
    """A run under the name that it is shown by, and its folder."""

    label: str
    folder: Path
    scores: Sequence[CapabilityScore]


class CapabilityDifference(Record):
    """The mean of `run` minus that of `against` in one cell.

    `paired` says whether both answered the same items, asked in the same way; else the runs count as independent
    samples. `change` is None where one of them has nothing scored.
    """

    run: Text
    against: Text
    score: CapabilityScore
    score_against: CapabilityScore
    paired: bool
    change: CapabilityChange | None


def capability_differences(run: CapableRun, against: CapableRun) -> list[CapabilityDifference]:
    """One difference for each cell that both runs scored, in the order of the first.

    Raises:
        DataError: A file of answered items can't be read.
    """
    theirs = {_cell(score): score for score in against.scores}
    shared = [(score, theirs[_cell(score)]) for score in run.scores if _cell(score) in theirs]
    if not shared:
        return []
    mine, others = _values(run.folder), _values(against.folder)
    return [_difference(run.label, against.label, ours, other, mine, others) for ours, other in shared]


def _cell(asked: AskedSet) -> CapabilityCell:
    return CapabilityCell(asked.set, asked.model, asked.configuration)


Values = Mapping[CapabilityCell, Mapping[ItemKey, float | None]]


def _values(folder: Path) -> Values:
    """The items of a run by cell; none where the folder doesn't hold them."""
    found: dict[CapabilityCell, dict[ItemKey, float | None]] = {}
    for file in sorted((folder / ANSWERS).rglob("*.jsonl")):
        for answer in read_records(file, CapabilityAnswer):
            found.setdefault(_cell(answer), {})[answer.item_id, answer.item_hash] = answer.value
    return found


def _difference(
    run: str, against: str, ours: CapabilityScore, theirs: CapabilityScore, mine: Values, others: Values
) -> CapabilityDifference:
    values, before = mine.get(_cell(ours), {}), others.get(_cell(theirs), {})
    paired = bool(values) and values.keys() == before.keys() and _how(ours) == _how(theirs)
    moved = changed(ours, values, before, against) if paired else _independent(against, ours, theirs)
    return CapabilityDifference(run=run, against=against, score=ours, score_against=theirs, paired=paired, change=moved)


def _how(asked: AskedSet) -> AskedSet:
    """All that decides a question but the model, whose name and template may differ from run to run."""
    return AskedSet.model_validate(asked.model_dump(include=set(AskedSet.model_fields)) | {"chat_template": None})


def _independent(against: str, ours: CapabilityScore, theirs: CapabilityScore) -> CapabilityChange | None:
    if ours.rate is None or theirs.rate is None:
        return None
    interval = independent(ours, theirs)
    return CapabilityChange(against=against, difference=ours.rate - theirs.rate, low=interval.low, high=interval.high)


def capabilities_table(runs: Sequence[CapableRun]) -> Table | None:
    """One column a run, one row a model and configuration under a heading for each set."""
    scores = {run.label: {_cell(score): score for score in run.scores} for run in runs}
    cells = list(dict.fromkeys(cell for of_run in scores.values() for cell in of_run))
    if not cells:
        return None
    rows: list[Row] = []
    for name in dict.fromkeys(cell.set for cell in cells):
        rows.append(Heading(name))
        rows += [
            (_named(cell), *(capability_mean(of_run.get(cell)) for of_run in scores.values()))
            for cell in cells
            if cell.set == name
        ]
    return Table("Capabilities side by side", ("model", *scores), tuple(rows))


def capability_differences_table(differences: Sequence[CapabilityDifference]) -> Table | None:
    """One row a cell, under a heading for each run that is held against the first."""
    if not differences:
        return None
    rows: list[Row] = []
    for run in dict.fromkeys(each.run for each in differences):
        rows.append(Heading(f"{run} less {differences[0].against}"))
        rows += [
            (f"{_named(_cell(each.score))}: {each.score.set}", _shown(each)) for each in differences if each.run == run
        ]
    return Table(
        "Differences of capabilities",
        ("cell", "difference"),
        tuple(rows),
        "Same items, asked in the same way: paired as a run's changes are. Elsewhere the runs count as independent "
        "samples, the interval made of both means' own (Zou and Donner 2008, Stat. Med. 27, 1693).",
    )


def _named(cell: CapabilityCell) -> str:
    of = label(cell.model)
    return of if cell.configuration == NO_CONFIGURATION else f"{of} ({cell.configuration})"


def _shown(each: CapabilityDifference) -> TableCell:
    if each.paired or each.change is None:
        return capability_change(each.score, each.change)
    ours, theirs = each.score, each.score_against
    count = f"n {ours.n} and {theirs.n}, {ours.unscored} and {theirs.unscored} unscored"
    moved, counts = each.change, Counts(n=ours.n, unscored=ours.unscored)
    return Difference(moved.difference, moved.low, moved.high, count, "independent samples", counts=counts)


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
