"""Several run folders to one comparison: `comparison.md` and `comparison.html`, the same bytes each time."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import TypeVar

from cst.annexes.compare.capabilities import (
    CapabilityDifference,
    capabilities_table,
    capability_differences,
    capability_differences_table,
)
from cst.annexes.compare.runs import ComparedRun, RunDifference, cautions, cell_of, differences, read_runs
from cst.evaluation.scores import Cell
from cst.reporting.report import page_environment
from cst.reporting.score_tables import label
from cst.reporting.sections import Section, flat
from cst.reporting.tables import INTERVAL_NOTE, NOT_MEASURED, Counts, Difference, Heading, Row, Table, p_value, rate_of
from cst.store import write_text


def runs_table(runs: Sequence[ComparedRun]) -> Table:
    """One row a run."""
    rows: list[Row] = []
    for run in runs:
        recipe = flat(run.evidence.recipe)
        from_recipe = [recipe.get(key, NOT_MEASURED) for key in ("name", "model.path", "seed")]
        rows.append((run.label, *from_recipe, run.judges, str(len(run.evidence.completions)), str(len(run.scores))))
    return Table("Runs", ("run", "recipe", "start model", "seed", "judged by", "answers", "scores"), tuple(rows))


def side_by_side(runs: Sequence[ComparedRun], *, first_only: bool = True) -> Table | None:
    """One column a run; `first_only` leaves out other wordings and temperatures."""
    scores = {run.label: {cell_of(score): score for score in run.scores} for run in runs}
    cells = [cell for of_run in scores.values() for cell in of_run]
    cells = first_cells(cells) if first_only else cells
    if not cells:
        return None
    rows: list[Row] = []
    for name, models in _grouped(cells, short=first_only).items():
        rows.append(Heading(name))
        rows += [(label(cell.model), *(rate_of(of_run.get(cell)) for of_run in scores.values())) for cell in models]
    title = "Scores side by side" if first_only else "Every score side by side"
    return Table(title, ("model", *scores), tuple(rows))


def _grouped(cells: Sequence[Cell], *, short: bool) -> dict[str, list[Cell]]:
    """Each cell once, under the name of what was asked."""
    groups: dict[str, list[Cell]] = {}
    for cell in dict.fromkeys(cells):
        groups.setdefault(cell_name(cell, short=short), []).append(cell)
    return groups


def first_cells(cells: Sequence[Cell]) -> list[Cell]:
    """Greedy ones under a first wording; where there is none, as in supervised tuning, those without system prompt."""
    greedy = [cell for cell in cells if cell.temperature == 0]
    first = [cell for cell in greedy if cell.wordings == "canonical"]
    return first or [cell for cell in greedy if cell.wordings == "none"]


def cell_name(cell: Cell, *, short: bool) -> str:
    """What was asked in a cell; `short` where wording and temperature go without saying."""
    name = f"{cell.configuration} (task {cell.task})"
    return name if short else f"{name}, {cell.wordings}, T = {cell.temperature:g}"


def differences_table(differences: Sequence[RunDifference], *, first_only: bool = True) -> Table | None:
    """One row a cell, under a heading for each run that is held against the first."""
    cells = [cell_of(each.score) for each in differences]
    shown = set(first_cells(cells) if first_only else cells)
    kept = [each for each, cell in zip(differences, cells, strict=True) if cell in shown]
    if not kept:
        return None
    rows: list[Row] = []
    for run in dict.fromkeys(each.run for each in kept):
        rows.append(Heading(f"{run} less {kept[0].against}"))
        rows += [_difference_row(each, short=first_only) for each in kept if each.run == run]
    return Table(
        "Differences" if first_only else "Every difference",
        ("cell", "difference", "only this run", f"only {kept[0].against}", "p"),
        tuple(rows),
        "Same prompts under the same system prompts: exact two-sided McNemar test, Newcombe's 95 % interval for pairs; "
        "\N{DAGGER} where prompts hang together in groups: of as many independent pairs as they are worth. Elsewhere "
        "the runs count as independent samples: no test, the interval made of both rates' own (Newcombe 1998, Stat. "
        "Med. 17, 873, method 10; Zou and Donner 2008 where one has a \N{DAGGER}); where some prompts were shared it "
        "is rather too wide. p-values aren't corrected for their number, and one training isn't told from another "
        "by chance alone: runs that differ in their seed only show how much that is.",
    )


def _difference_row(each: RunDifference, *, short: bool) -> Row:
    cell = cell_of(each.score)
    name = f"{label(cell.model)}: {cell_name(cell, short=short)}"
    if each.pairs is None:
        ours, theirs = each.score, each.score_against
        count = f"n {ours.n} and {theirs.n}, {ours.unscored} and {theirs.unscored} unscored"
        rate = Difference(each.difference, each.low, each.high, count, "independent samples", each.interval)
        return name, rate, NOT_MEASURED, NOT_MEASURED, NOT_MEASURED
    pairs = each.pairs
    count, counts = f"n {pairs.n}, {pairs.unscored} unscored", Counts(n=pairs.n, unscored=pairs.unscored)
    rate = Difference(each.difference, each.low, each.high, count, method=each.interval, counts=counts)
    return name, rate, str(pairs.only_run), str(pairs.only_against), p_value(pairs.p_value)


def different(values: Mapping[str, object]) -> dict[str, dict[str, str]]:
    """By dotted name, the values (JSON, by run) whose text differs in any two runs; a dash where a run has none."""
    of_run = {run: flat(value) for run, value in values.items()}
    names = dict.fromkeys(name for each in of_run.values() for name in each)
    texts = {name: {run: each.get(name, NOT_MEASURED) for run, each in of_run.items()} for name in names}
    return {name: of_name for name, of_name in texts.items() if len(set(of_name.values())) > 1}


def differing(title: str, values: Mapping[str, object]) -> Table | None:
    """What is different, one row a name."""
    rows = tuple((name, *of_name.values()) for name, of_name in different(values).items())
    return Table(title, ("key", *values), rows) if rows else None


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
        return {"recipe": different(recipes), "fingerprints": different(prints)}

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
    write_text(html, page_environment(escaped=True, package=__name__).get_template("comparison.html.j2").render(page))
    write_text(
        markdown, page_environment(escaped=False, package=__name__).get_template("comparison.md.j2").render(page)
    )
    return Comparison(html, markdown, read.runs, read.left_out, found, capable, said, parts)


def _sections(
    runs: Sequence[ComparedRun], found: Sequence[RunDifference], capable: Sequence[CapabilityDifference]
) -> list[Section]:
    scores = side_by_side(runs), differences_table(found)
    every = side_by_side(runs, first_only=False), differences_table(found, first_only=False)
    measured = [run.capabilities for run in runs]
    capabilities = capabilities_table(measured), capability_differences_table(capable)
    recipes = differing("Keys of the recipe", _recipes(runs))
    prints = differing("Fingerprints", _fingerprints(runs))
    return [
        Section("The runs", "", "", (runs_table(runs),)),
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
