"""Runs to compare: read from their folders, and held against one another cell by cell.

Scores are paired by prompt and capabilities by item, where both runs answered the same ones; elsewhere the runs count
as independent samples.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import hypot
from pathlib import Path
from typing import Annotated, NamedTuple, TypeAlias

from pydantic import Field

from cst.errors import DataError, RunFolderError
from cst.evaluation.capability import AskedSet, CapabilityAnswer, CapabilityChange, CapabilityScore, ItemKey, changed
from cst.evaluation.comparisons import Count, mcnemar, paired_counts
from cst.evaluation.scores import Cell, Outcome, by_cell, outcomes
from cst.intervals import GROUPED, Interval, IntervalMethod, effective_n, newcombe
from cst.records import Message, Record, Score, Text
from cst.reporting.evidence import Evidence, read_evidence
from cst.reporting.tables import NOT_MEASURED
from cst.store import canonical_json, read_records

Share = Annotated[float, Field(ge=-1, le=1)]


class Pairs(Record):
    """The prompts that both runs asked: `n` are scored in both, `unscored` lack a verdict in one of them.

    `only_run` of the n were followed only in `run`; `p_value` is of the exact two-sided McNemar test.
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
    """A run under its display name; a cell without outcomes can't be paired."""

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
    asked = ((outcome, outcome.completion.prompt, outcome.completion.system_prompt) for outcome in outcomes)
    return {Question(prompt.id, prompt.history, prompt.text, system): outcome for outcome, prompt, system in asked}


ANSWERS = "capabilities"
"""The folder of a run that holds every item as it was answered."""


class CapabilityCell(NamedTuple):
    """One score of a run."""

    set: str
    model: str
    configuration: str


@dataclass(frozen=True)
class CapableRun:
    """A run under its display name, and its folder."""

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
    theirs = {capability_cell(score): score for score in against.scores}
    shared = [(score, theirs[capability_cell(score)]) for score in run.scores if capability_cell(score) in theirs]
    if not shared:
        return []
    mine, others = _values(run.folder), _values(against.folder)
    return [_capability_difference(run.label, against.label, ours, other, mine, others) for ours, other in shared]


def capability_cell(asked: AskedSet) -> CapabilityCell:
    """The cell that a score or an answer is of."""
    return CapabilityCell(asked.set, asked.model, asked.configuration)


Values: TypeAlias = Mapping[CapabilityCell, Mapping[ItemKey, float | None]]


def _values(folder: Path) -> Values:
    """The items of a run by cell; none where the folder doesn't hold them."""
    found: dict[CapabilityCell, dict[ItemKey, float | None]] = {}
    for file in sorted((folder / ANSWERS).rglob("*.jsonl")):
        for answer in read_records(file, CapabilityAnswer):
            found.setdefault(capability_cell(answer), {})[answer.item_id, answer.item_hash] = answer.value
    return found


def _capability_difference(
    run: str, against: str, ours: CapabilityScore, theirs: CapabilityScore, mine: Values, others: Values
) -> CapabilityDifference:
    values, before = mine.get(capability_cell(ours), {}), others.get(capability_cell(theirs), {})
    paired = bool(values) and values.keys() == before.keys() and _how(ours) == _how(theirs)
    if paired:
        moved = changed(ours, values, before, against)
    elif ours.rate is None or theirs.rate is None:
        moved = None
    else:
        interval = independent(ours, theirs)
        difference = ours.rate - theirs.rate
        moved = CapabilityChange(against=against, difference=difference, low=interval.low, high=interval.high)
    return CapabilityDifference(run=run, against=against, score=ours, score_against=theirs, paired=paired, change=moved)


def _how(asked: AskedSet) -> AskedSet:
    """Everything that decides a question but the model, whose name and template may differ from run to run."""
    return AskedSet.model_validate(asked.model_dump(include=set(AskedSet.model_fields)) | {"chat_template": None})


def independent(ours: Score | CapabilityScore, theirs: Score | CapabilityScore) -> Interval:
    """The interval of a difference of two rates from independent samples, by the two rates' own intervals.

    With Wilson intervals it is method 10 of Newcombe 1998 (Stat. Med. 17, 873); with other intervals the same rule is
    called MOVER (Zou and Donner 2008, Stat. Med. 27, 1693). It is [-1, 1] where one of them has nothing scored.
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


@dataclass(frozen=True)
class ComparedRun(ScoredRun):
    """A run with everything that its folder holds."""

    evidence: Evidence
    folder: Path

    @property
    def capabilities(self) -> CapableRun:
        """The run with its capability scores."""
        return CapableRun(self.label, self.folder, self.evidence.capability)

    @property
    def judges(self) -> str:
        """The judges of its answers; a dash where the folder has no verdicts."""
        return ", ".join(self.evidence.judges) or NOT_MEASURED


@dataclass(frozen=True)
class RunsRead:
    """The runs that can be compared, in the order given, and the names of the others with the reason."""

    runs: tuple[ComparedRun, ...]
    left_out: dict[str, str]


def read_runs(folders: Sequence[Path]) -> RunsRead:
    """Read run folders; one without scores is left out and named.

    Raises:
        RunFolderError: there is no such folder, one is named twice, or none of them has scores.
        DataError: a file of one can't be read, or its verdicts don't fit its answers.
    """
    runs: list[ComparedRun] = []
    left_out: dict[str, str] = {}
    for name, folder in named(folders).items():
        if not (folder / "scores.json").is_file():
            left_out[name] = "it holds no scores.json, which `cst score` makes of a recipe"
            continue
        run = _read(name, folder)
        if run.scores:
            runs.append(run)
        else:
            left_out[name] = "its scores.json is empty: nothing was scored"
    if not runs:
        reasons = "; ".join(f"{name}: {reason}" for name, reason in left_out.items())
        raise RunFolderError(f"None of the {len(folders)} folders can be compared. {reasons}.")
    return RunsRead(tuple(runs), left_out)


def named(folders: Sequence[Path]) -> dict[str, Path]:
    """Folders by their display names: the last part of the path, or all of it where two end alike.

    Raises:
        RunFolderError: there is no such folder, or one is named twice.
    """
    for folder in folders:
        if not folder.is_dir():
            raise RunFolderError(f"{folder} is no run folder; name folders that `cst run` made, such as runs/NAME.")
    whole = Counter(folder.resolve() for folder in folders)
    if twice := [str(folder) for folder, count in whole.items() if count > 1]:
        raise RunFolderError(f"{twice[0]} is named {whole[Path(twice[0])]} times; name each run once.")
    last = Counter(folder.resolve().name for folder in folders)
    return {name if last[name := folder.resolve().name] == 1 else str(folder): folder for folder in folders}


def _read(name: str, folder: Path) -> ComparedRun:
    evidence = read_evidence(folder)
    files = (evidence.completions, evidence.verdicts, evidence.configurations)
    try:
        found = dict(by_cell(outcomes(*files))) if all(files) else {}
    except DataError as error:
        raise DataError(f"{folder}: {error}") from error
    return ComparedRun(name, evidence.scores, found, evidence, folder)


def cautions(read: RunsRead, differences: Sequence[RunDifference]) -> list[str]:
    """What a reader has to know before comparing, one sentence each."""
    said = [f"{name} is left out: {reason}." for name, reason in read.left_out.items()]
    if len(read.runs) == 1:
        said.append(f"{read.runs[0].label} is the only run with scores: there is nothing to compare it with.")
    return [*said, *_about_judges(read.runs), *_about_sides(read.runs), *_about_cells(read.runs, differences)]


def _about_judges(runs: Sequence[ComparedRun]) -> list[str]:
    if len({run.judges for run in runs}) < 2:
        return []
    who = "; ".join(f"{run.label}: {run.judges}" for run in runs)
    return [f"Not the same judges ({who}): a difference may be one of judges and not of models."]


def _about_sides(runs: Sequence[ComparedRun]) -> list[str]:
    """Configurations of one name that prefer different sides are different ones."""
    prefers: dict[str, set[str]] = {}
    for run in runs:
        for configuration in run.evidence.configurations:
            prefers.setdefault(configuration.name, set()).add(canonical_json(configuration.prefers))
    return [
        f"The configuration {name} doesn't prefer the same side in all runs: its scores don't mean the same."
        for name, sides in prefers.items()
        if len(sides) > 1
    ]


def _about_cells(runs: Sequence[ComparedRun], differences: Sequence[RunDifference]) -> list[str]:
    said: list[str] = []
    unpaired = sum(difference.pairs is None for difference in differences)
    if unpaired:
        said.append(
            f"{unpaired} of {len(differences)} differences are those of independent samples: the runs were asked "
            "different prompts or system prompts there, or their answers aren't in the folder."
        )
    first = {cell_of(score) for score in runs[0].scores}
    for run in runs[1:]:
        if alone := first ^ {cell_of(score) for score in run.scores}:
            said.append(f"{len(alone)} scores stand in one of {runs[0].label} and {run.label} alone: not compared.")
    return said
