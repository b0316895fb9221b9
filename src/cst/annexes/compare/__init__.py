"""Several run folders to one comparison: `comparison.md` and `comparison.html`, the same bytes each time."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

from cst.annexes.compare.runs import (
    CapabilityCell,
    CapabilityDifference,
    CapableRun,
    ComparedRun,
    RunDifference,
    capability_cell,
    capability_differences,
    cautions,
    cell_of,
    differences,
    read_runs,
)
from cst.evaluation.scores import Cell
from cst.records import NO_CONFIGURATION
from cst.reporting.further_tables import capability_change, capability_mean, flat
from cst.reporting.report import page_environment
from cst.reporting.score_tables import label
from cst.reporting.sections import Section
from cst.reporting.tables import (
    INTERVAL_NOTE,
    NOT_MEASURED,
    Counts,
    Difference,
    Heading,
    Row,
    Table,
    TableCell,
    p_value,
    rate_of,
)
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
    """One column for each run; `first_only` leaves out other wordings and temperatures."""
    scores = {run.label: {cell_of(score): score for score in run.scores} for run in runs}
    cells = list(dict.fromkeys(chain.from_iterable(scores.values())))
    groups: dict[str, list[Row]] = {}
    for cell in first_cells(cells) if first_only else cells:
        row = (label(cell.model), *(rate_of(of_run.get(cell)) for of_run in scores.values()))
        groups.setdefault(cell_name(cell, short=first_only), []).append(row)
    title = "Scores side by side" if first_only else "Every score side by side"
    return Table(title, ("model", *scores), _under_headings(groups)) if groups else None


def _under_headings(groups: Mapping[str, Sequence[Row]]) -> tuple[Row, ...]:
    return tuple(row for name, rows in groups.items() for row in (Heading(name), *rows))


def first_cells(cells: Sequence[Cell]) -> list[Cell]:
    """The greedy cells of first wordings; without any, as in supervised tuning, those without a system prompt."""
    greedy = [cell for cell in cells if cell.temperature == 0]
    first = [cell for cell in greedy if cell.wordings == "canonical"]
    return first or [cell for cell in greedy if cell.wordings == "none"]


def cell_name(cell: Cell, *, short: bool) -> str:
    """What was asked in a cell; `short` leaves out wording and temperature."""
    name = f"{cell.configuration} (task {cell.task})"
    return name if short else f"{name}, {cell.wordings}, T = {cell.temperature:g}"


def differences_table(differences: Sequence[RunDifference], *, first_only: bool = True) -> Table | None:
    """One row for each cell, under a heading for each run that is held against the first."""
    cells = [cell_of(each.score) for each in differences]
    shown = set(first_cells(cells) if first_only else cells)
    groups: dict[str, list[Row]] = {}
    for each in differences:
        if cell_of(each.score) in shown:
            row = _difference_row(each, short=first_only)
            groups.setdefault(f"{each.run} less {each.against}", []).append(row)
    if not groups:
        return None
    return Table(
        "Differences" if first_only else "Every difference",
        ("cell", "difference", "only this run", f"only {differences[0].against}", "p"),
        _under_headings(groups),
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


def capabilities_table(runs: Sequence[CapableRun]) -> Table | None:
    """One column for each run, one row for each model and configuration under a heading for each set."""
    scores = {run.label: {capability_cell(score): score for score in run.scores} for run in runs}
    groups: dict[str, list[Row]] = {}
    for cell in dict.fromkeys(chain.from_iterable(scores.values())):
        row = (_named(cell), *(capability_mean(of_run.get(cell)) for of_run in scores.values()))
        groups.setdefault(cell.set, []).append(row)
    return Table("Capabilities side by side", ("model", *scores), _under_headings(groups)) if groups else None


def capability_differences_table(differences: Sequence[CapabilityDifference]) -> Table | None:
    """One row for each cell, under a heading for each run that is held against the first."""
    groups: dict[str, list[Row]] = {}
    for each in differences:
        row = (f"{_named(capability_cell(each.score))}: {each.score.set}", _capability_difference(each))
        groups.setdefault(f"{each.run} less {each.against}", []).append(row)
    note = (
        "Same items, asked in the same way: paired as a run's changes are. Elsewhere the runs count as independent "
        "samples, the interval made of both means' own (Zou and Donner 2008, Stat. Med. 27, 1693)."
    )
    columns = ("cell", "difference")
    return Table("Differences of capabilities", columns, _under_headings(groups), note) if groups else None


def _named(cell: CapabilityCell) -> str:
    of = label(cell.model)
    return of if cell.configuration == NO_CONFIGURATION else f"{of} ({cell.configuration})"


def _capability_difference(each: CapabilityDifference) -> TableCell:
    if each.paired or each.change is None:
        return capability_change(each.score, each.change)
    ours, theirs = each.score, each.score_against
    count = f"n {ours.n} and {theirs.n}, {ours.unscored} and {theirs.unscored} unscored"
    moved, counts = each.change, Counts(n=ours.n, unscored=ours.unscored)
    return Difference(moved.difference, moved.low, moved.high, count, "independent samples", counts=counts)


def different(values: Mapping[str, object]) -> dict[str, dict[str, str]]:
    """The values (JSON, by run) whose text differs between runs, by dotted name; a dash where a run has none."""
    of_run = {run: flat(value) for run, value in values.items()}
    names = dict.fromkeys(name for each in of_run.values() for name in each)
    texts = {name: {run: each.get(name, NOT_MEASURED) for run, each in of_run.items()} for name in names}
    return {name: of_name for name, of_name in texts.items() if len(set(of_name.values())) > 1}


def differing(title: str, values: Mapping[str, object]) -> Table | None:
    """What is different, one row a name."""
    rows = tuple((name, *of_name.values()) for name, of_name in different(values).items())
    return Table(title, ("key", *values), rows) if rows else None


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
        recipes = {run.label: run.evidence.recipe for run in self.runs}
        prints = {run.label: run.evidence.fingerprints for run in self.runs}
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
    labels = [run.label for run in read.runs]
    page = {"runs": labels, "cautions": said, "sections": parts, "interval_note": INTERVAL_NOTE}
    for path in (html, markdown):
        template = page_environment(escaped=path is html, package=__name__).get_template(f"{path.name}.j2")
        write_text(path, template.render(page))
    return Comparison(html, markdown, read.runs, read.left_out, found, capable, said, parts)


def _sections(
    runs: Sequence[ComparedRun], found: Sequence[RunDifference], capable: Sequence[CapabilityDifference]
) -> list[Section]:
    scores = side_by_side(runs), differences_table(found)
    every = side_by_side(runs, first_only=False), differences_table(found, first_only=False)
    capabilities = capabilities_table([run.capabilities for run in runs]), capability_differences_table(capable)
    recipes = differing("Keys of the recipe", {run.label: run.evidence.recipe for run in runs})
    prints = differing("Fingerprints", {run.label: run.evidence.fingerprints for run in runs})
    return [
        Section("The runs", "", "", (runs_table(runs),)),
        Section(
            "Scores",
            "Greedy answers under first wordings; without a system prompt where no run has such.",
            "greedy scores of first wordings, or of answers without a system prompt",
            tuple(filter(None, scores)),
        ),
        Section("Capabilities", "What else was measured.", "capability.json", tuple(filter(None, capabilities))),
        Section(
            "What differs in how they were made",
            "Keys of the resolved recipes, and fingerprints, whose values aren't the same in all runs.",
            "runs of which anything differs",
            tuple(filter(None, (recipes, prints))),
        ),
        Section("Every score and difference", "", "", tuple(filter(None, every)), folded=True),
    ]
