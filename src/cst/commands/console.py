"""Arguments, options and output that several commands share."""

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

import typer

from cst.miniature import RECIPES, recipe_path
from cst.preferences.mixtures import PartRows
from cst.preferences.selection import TaskRows
from cst.recipe import Recipe
from cst.recipe.reading import load_recipe
from cst.runs.folder import Outcome
from cst.runs.pipeline import Verb, bring_up_to_date
from cst.runs.stages.rows import told
from cst.runs.workshop import Workshop
from cst.store import parse_record, read_json, read_text

if TYPE_CHECKING:
    from cst.reporting.tables import Table
    from cst.synthesis.planning import Spending


RecipePath = Annotated[Path, typer.Argument(metavar="RECIPE", help="A recipe file, `miniature` or `sweep`.")]
FolderOption = Annotated[Path | None, typer.Option("--folder", "-f", help="Run folder; by default runs/NAME.")]
SetOption = Annotated[list[str] | None, typer.Option("--set", help="Override section.key=value; repeatable.")]
UpdateOption = Annotated[
    bool,
    typer.Option(
        "--update",
        help="Accept a changed recipe or changed files in the run folder: dependent stages run again, and changed "
        "files are used as they are.",
    ),
]
MaxCallsOption = Annotated[
    int | None, typer.Option(min=0, help="Limit on model calls in this run folder, including earlier runs.")
]
MaxCostOption = Annotated[
    float | None, typer.Option(min=0, help="Limit on the cost of calls in this run folder, including earlier runs.")
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]


TELLING = {
    "synthesize": ("synthesis.json",),
    "condition": ("preferences/*.counts.json", "demonstrations/*.counts.json"),
    "score": ("scores.json", "paired_tests.json", "agreement.json", "capability.json", "sweep.json"),
    "report": ("sweep.json",),
}
"""The files that `--json` prints for each verb, besides the outcomes of its stages."""


NARROW = 4
"""In tables with more columns, rates are broken into lines."""


PLAIN_WIDTH = 140
"""Width of a table, in characters, when standard output is not a terminal."""


def tell(line: str) -> None:
    """Print a line on standard error."""
    print(line, file=sys.stderr, flush=True)


def shipped_recipes() -> dict[str, Path]:
    """The recipes that ship with cst, by name: the miniature's, and the files of `recipes/`.

    The wheel has that folder inside the package; a clone has it at the top of the repository.
    """
    package = Path(__file__).parents[1]
    homes = (package / "recipes", package.parents[1] / "recipes")
    home = next((home for home in homes if home.is_dir()), package)
    named = {file.stem: file for file in sorted(home.glob("*.yaml"))}
    return named | {name: recipe_path(name) for name in RECIPES}


def read_recipe(path: Path, overrides: Sequence[str]) -> Recipe:
    """Read a recipe file, or a recipe that ships with cst by its name (`miniature`, `sweep`, `tables`).

    Raises:
        RecipeError: There is no such recipe, or it can't be read.
    """
    return load_recipe(path if path.is_file() else shipped_recipes().get(str(path), path), overrides)


def folder_of(recipe: Recipe, folder: Path | None) -> Path:
    """The run folder: the given one, or runs/NAME."""
    return folder if folder is not None else Path("runs") / recipe.name


def bring(workshop: Workshop, *, until: str, update: bool, as_json: bool) -> None:
    """Run the out-of-date stages up to a verb, and print the results."""
    from cst.runs.processes import is_first, is_one_of_many, train_together

    verb, home = cast(Verb, until), workshop.folder
    if is_one_of_many():
        outcomes = train_together(workshop, verb, update=update)
        if not is_first():
            return
    else:
        outcomes = bring_up_to_date(workshop, until=verb, update=update, tell=_tell_outcome)
    if all(outcome != "made" for outcome in outcomes.values()):
        tell(f"nothing to do: {home} is up to date")
    if as_json:
        found = [file for pattern in TELLING.get(until, ()) for file in sorted(home.glob(pattern))]
        files = {str(file.relative_to(home)): read_json(file) for file in found}
        spent = spending_of(home) if verb == "synthesize" else None
        told = {} if spent is None else {"spending": spent.model_dump()}
        print(json.dumps({"folder": str(home), "stages": outcomes, **files, **told}, indent=2))
    else:
        _print_results(home, verb)


def _tell_outcome(stage: str, outcome: Outcome) -> None:
    if outcome != "done before":
        tell(f"{stage}: {outcome}")


def _print_results(home: Path, verb: Verb) -> None:
    if verb == "synthesize":
        _print_synthesis(home)
    elif verb == "train":
        _print_training(home)
    elif verb == "condition":
        _print_rows(home)
    elif verb in ("score", "report"):
        print_tables(home)
        if verb == "report":
            print(f"report: {home / 'report.html'} (and report.md)")
    else:
        print(home)


def _print_synthesis(home: Path) -> None:
    for row in read_json(home / "synthesis.json") if (home / "synthesis.json").exists() else []:
        drops = ", ".join(f"{reason} {count}" for reason, count in row["drops"].items()) or "none dropped"
        print(f"{row['task']}: {row['pairs']} pairs from {row['prompts']} prompts ({drops})")
    spent = spending_of(home)
    if spent is None:
        return
    failures = ", ".join(f"{kind} {count}" for kind, count in spent.failures.items()) or "none failed"
    print(
        f"{spent.calls} calls ({failures}), {spent.prompt_tokens} prompt and {spent.completion_tokens} completion "
        f"tokens, cost {spent.cost:.4f}, {spent.call_seconds:.1f} s of calls"
    )
    if each := spent.per_pair:
        print(
            f"per pair: {each.calls:.2f} calls, {each.prompt_tokens:.1f} prompt and {each.completion_tokens:.1f} "
            f"completion tokens, cost {each.cost:.6f}, {each.call_seconds:.3f} s of calls"
        )


def spending_of(home: Path) -> "Spending | None":
    """What the pairs of a run folder cost, as recorded by the synthesis stage; None if it was not."""
    from cst.synthesis.planning import Spending

    path = home / "spending.json"
    return parse_record(read_text(path), Spending, str(path)) if path.exists() else None


def _print_rows(home: Path) -> None:
    for file in sorted((home / "preferences").glob("*.counts.json")):
        for row in read_json(file):
            print(f"{file.name.removesuffix('.counts.json')}: {told(TaskRows.model_validate(row))}")
    for file in sorted((home / "demonstrations").glob("*.counts.json")):
        for row in read_json(file):
            print(f"{file.name.removesuffix('.counts.json')}: {PartRows.model_validate(row)}")
    print(home)


def _print_training(home: Path) -> None:
    from cst.training.folder import read_result

    for folder in sorted((home / "models").glob("*")):
        result = read_result(folder)
        if result is not None:
            best = "" if result.best_step is None else f"best evaluation at step {result.best_step}, "
            cut = f", {result.cut} cut" if result.cut else ""
            print(
                f"{folder.name}: {result.steps} steps over {result.rows} rows ({result.dropped} dropped{cut}), loss "
                f"{result.first_loss:.4f} -> {result.last_loss:.4f}, {len(result.alarms)} alarms, {best}in {folder}"
            )


def print_tables(home: Path) -> None:
    """Print the tables of a run's report."""
    from cst.reporting.report import console_tables

    for table in console_tables(home):
        draw(table)


def draw(table: "Table") -> None:
    """Print one table; plain text if standard output is not a terminal."""
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table as RichTable

    width = None if sys.stdout.isatty() else PLAIN_WIDTH
    drawn = RichTable(title=escape(table.title), title_justify="left", caption_justify="left", title_style="bold")
    drawn.caption = escape(table.note) or None
    for number, column in enumerate(table.columns):
        drawn.add_column(escape(column), justify="left" if number == 0 else "right")
    for row in table.text_rows(stacked=len(table.columns) > NARROW):
        drawn.add_row(*(escape(cell) for cell in row))
    Console(width=width).print(drawn)
