"""Run folders to `comparison.md` and `comparison.html`: files in, text out, the same bytes each time.

The first run is the one that all others are held against. This file knows the page's sections; how a table is made,
and what runs may be compared, is said elsewhere.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import TypeVar

from cst.evaluation import comparison_tables as made
from cst.evaluation.compared_capabilities import (
    CapabilityDifference,
    capabilities_table,
    capability_differences,
    capability_differences_table,
)
from cst.evaluation.compared_runs import ComparedRun, cautions, read_runs
from cst.evaluation.report import page_environment
from cst.evaluation.run_differences import RunDifference, differences
from cst.evaluation.section import Section
from cst.evaluation.tables import INTERVAL_NOTE, Table
from cst.store import write_text

T = TypeVar("T")


@dataclass(frozen=True)
class Comparison:
    """What was written, and what it holds."""

    html: Path
    markdown: Path
    runs: tuple[ComparedRun, ...]
    left_out: dict[str, str]
    differences: tuple[RunDifference, ...]
    capability_differences: tuple[CapabilityDifference, ...]
    cautions: tuple[str, ...]
    sections: tuple[Section, ...]

    @property
    def made_differently(self) -> dict[str, dict[str, dict[str, str]]]:
        """What differs in the recipes and in the fingerprints, by dotted name and run."""
        recipes, prints = _recipes(self.runs), _fingerprints(self.runs)
        return {"recipe": made.different(recipes), "fingerprints": made.different(prints)}

    @property
    def tables(self) -> tuple[Table, ...]:
        """Every table of the page."""
        return tuple(table for section in self.sections for table in section.tables)


def compare_runs(folders: Sequence[Path], output: Path) -> Comparison:
    """Write both pages into the folder `output`; the run folders are only read.

    Raises:
        RunFolderError: there is no such folder, one is named twice, or none of them has scores.
        DataError: a file of one can't be read.
    """
    read = read_runs(folders)
    first, *others = read.runs
    found = tuple(chain.from_iterable(differences(run, first) for run in others))
    capable = tuple(chain.from_iterable(capability_differences(run.capabilities, first.capabilities) for run in others))
    said, parts = tuple(cautions(read, found)), tuple(_sections(read.runs, found, capable))
    html, markdown = output / "comparison.html", output / "comparison.md"
    page = {
        "runs": [run.label for run in read.runs],
        "cautions": said,
        "sections": parts,
        "interval_note": INTERVAL_NOTE,
    }
    write_text(html, page_environment(escaped=True).get_template("comparison.html.j2").render(page))
    write_text(markdown, page_environment(escaped=False).get_template("comparison.md.j2").render(page))
    return Comparison(html, markdown, read.runs, read.left_out, found, capable, said, parts)


def _sections(
    runs: Sequence[ComparedRun], found: Sequence[RunDifference], capable: Sequence[CapabilityDifference]
) -> list[Section]:
    scores = made.side_by_side(runs), made.differences_table(found)
    every = made.side_by_side(runs, first_only=False), made.differences_table(found, first_only=False)
    measured = [run.capabilities for run in runs]
    capabilities = capabilities_table(measured), capability_differences_table(capable)
    recipes = made.differing("Keys of the recipe", _recipes(runs))
    prints = made.differing("Fingerprints", _fingerprints(runs))
    return [
        Section("The runs", "", "", (made.runs_table(runs),)),
        Section(
            "Scores",
            "Greedy answers under first wordings; without a system prompt where no run has such.",
            "greedy scores of first wordings, or of answers without a system prompt",
            _present(scores),
        ),
        Section("Capabilities", "What else was measured.", "capability.json", _present(capabilities)),
        Section(
            "What differs in how they were made",
            "Keys of the resolved recipes, and fingerprints, whose values aren't the same in all runs.",
            "runs of which anything differs",
            _present((recipes, prints)),
        ),
        Section("Every score and difference", "", "", _present(every), folded=True),
    ]


def _recipes(runs: Sequence[ComparedRun]) -> dict[str, object]:
    return {run.label: run.evidence.recipe for run in runs}


def _fingerprints(runs: Sequence[ComparedRun]) -> dict[str, object]:
    return {run.label: run.evidence.fingerprints for run in runs}


def _present(values: Sequence[T | None]) -> tuple[T, ...]:
    return tuple(value for value in values if value is not None)
