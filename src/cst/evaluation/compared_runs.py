"""Several run folders as runs to compare: each under a name of its own, and what keeps them from being comparable.

Folders are only read. One that can't be compared is named with the reason; nothing is left out silently. This file
knows no table and no page.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from cst.errors import DataError, RunFolderError
from cst.evaluation.compared_capabilities import CapableRun
from cst.evaluation.evidence import Evidence, read_evidence
from cst.evaluation.run_differences import RunDifference, ScoredRun, cell_of
from cst.evaluation.scores import Cell, Outcome, by_cell, outcomes
from cst.evaluation.tables import NOT_MEASURED
from cst.store import canonical_json


@dataclass(frozen=True)
class ComparedRun(ScoredRun):
    """A run with all that its folder holds."""

    evidence: Evidence
    folder: Path

    @property
    def capabilities(self) -> CapableRun:
        """What else was measured of its models."""
        return CapableRun(self.label, self.folder, self.evidence.capability)

    @property
    def judges(self) -> str:
        """Who judged its answers; a dash where the verdicts aren't there to say it."""
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
    """Folders by what they are shown as: the last part of the path, or all of it where two end alike.

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
    try:
        return ComparedRun(name, evidence.scores, _outcomes(evidence), evidence, folder)
    except DataError as error:
        raise DataError(f"{folder}: {error}") from error


def _outcomes(evidence: Evidence) -> dict[Cell, list[Outcome]]:
    """None where a file is missing that says how an answer did."""
    if not (evidence.completions and evidence.verdicts and evidence.configurations):
        return {}
    return dict(by_cell(outcomes(evidence.completions, evidence.verdicts, evidence.configurations)))


def cautions(read: RunsRead, differences: Sequence[RunDifference]) -> list[str]:
    """What a reader has to know before comparing, a sentence each."""
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
    """A configuration of one name that prefers otherwise is another one."""
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
