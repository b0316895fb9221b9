"""Arguments and options that several commands share."""

import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

import typer

from cst.annexes.cards.mixtures import planned_mixture
from cst.chat.budget import Budget
from cst.integrity import reject_changed
from cst.miniature import RECIPES, recipe_path
from cst.preferences.mixtures import PartRows
from cst.preferences.selection import TaskRows
from cst.recipe import Recipe
from cst.recipe.reading import load_recipe
from cst.runs.folder import Outcome, RunFolder
from cst.runs.pipeline import Verb, run, steps
from cst.runs.stages.rows import planned_rows, told
from cst.runs.workshop import Workshop, model_folder
from cst.store import parse_record, read_json, read_text, write_text

if TYPE_CHECKING:
    from cst.annexes.audit.record import Audit
    from cst.preferences.sources import Reading
    from cst.reporting.tables import Table
    from cst.synthesis.planning import Shard, Spending


RecipePath = Annotated[Path, typer.Argument(metavar="RECIPE", help="A recipe file, `miniature` or `sweep`.")]
FolderOption = Annotated[Path | None, typer.Option("--folder", "-f", help="Run folder; by default runs/NAME.")]
SetOption = Annotated[list[str] | None, typer.Option("--set", help="section.key=value; may be given again.")]
UpdateOption = Annotated[
    bool,
    typer.Option(
        "--update",
        help="Go on although the recipe or files of this folder have changed: what depends on them is made again, and "
        "a changed file counts as given.",
    ),
]
MaxCallsOption = Annotated[
    int | None, typer.Option(min=0, help="Calls of models in this folder, earlier runs included, never pass this.")
]
MaxCostOption = Annotated[
    float | None, typer.Option(min=0, help="What calls in this folder cost, earlier runs included, never passes this.")
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print the result as JSON on standard output.")]


TELLING = {
    "synthesize": ("synthesis.json",),
    "condition": ("preferences/*.counts.json", "demonstrations/*.counts.json"),
    "score": ("scores.json", "paired_tests.json", "agreement.json", "capability.json", "sweep.json"),
    "report": ("sweep.json",),
}
"""The files of a verb that `--json` prints, besides the outcomes of its stages."""


NARROW = 4
"""Tables with more columns than this have their rates broken into lines."""


PLAIN_WIDTH = 140
"""Columns of a table where standard output is no terminal."""


def tell(line: str) -> None:
    """One line to the person at the terminal."""
    print(line, file=sys.stderr, flush=True)


def shipped_recipes() -> dict[str, Path]:
    """The recipes that ship with cst by their names: the miniature's, and the files of `recipes/`.

    The wheel has that folder in the package; in a clone it lies at the top of the repository.
    """
    package = Path(__file__).parents[1]
    homes = (package / "recipes", package.parents[1] / "recipes")
    home = next((home for home in homes if home.is_dir()), package)
    named = {file.stem: file for file in sorted(home.glob("*.yaml"))}
    return named | {name: recipe_path(name) for name in RECIPES}


def read_recipe(path: Path, overrides: Sequence[str]) -> Recipe:
    """A recipe file, or one that ships with cst by its name (`miniature`, `sweep`, `tables`).

    Raises:
        RecipeError: There is no such recipe, or it can't be read.
    """
    return load_recipe(path if path.is_file() else shipped_recipes().get(str(path), path), overrides)


def folder_of(recipe: Recipe, folder: Path | None) -> Path:
    """Where a recipe is run: as told, or runs/NAME."""
    return folder if folder is not None else Path("runs") / recipe.name


def bring(
    recipe: Recipe,
    home: Path,
    *,
    until: str,
    update: bool,
    as_json: bool,
    budget: Budget | None = None,
    shard: "Shard | None" = None,
) -> None:
    """Bring a run folder up to date up to a verb, and say what was done."""
    from cst.runs.processes import is_first, is_one_of_many, train_together

    verb = cast(Verb, until)
    if is_one_of_many():
        outcomes = train_together(recipe, home, verb, update=update, budget=budget)
        if not is_first():
            return
    else:
        outcomes = run(recipe, home, until=verb, update=update, budget=budget, shard=shard, tell=_tell_outcome)
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
            f"of each pair: {each.calls:.2f} calls, {each.prompt_tokens:.1f} prompt and {each.completion_tokens:.1f} "
            f"completion tokens, cost {each.cost:.6f}, {each.call_seconds:.3f} s of calls"
        )


def spending_of(home: Path) -> "Spending | None":
    """What the pairs of a run folder took, as their stage wrote it down; None where it didn't."""
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
    """The tables of a run folder, as the report has them."""
    from cst.reporting.report import console_tables

    for table in console_tables(home):
        draw(table)


def draw(table: "Table") -> None:
    """One table on standard output, plain where that is no terminal."""
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


def check(recipe_file: Path, overrides: Sequence[str], *, as_json: bool) -> None:
    """Print a recipe as it was understood, which stages a run of it would make, and what its prompts can tell."""
    from cst.commands.checking import power_lines, power_rows

    recipe = read_recipe(recipe_file, overrides)
    workshop = Workshop(recipe, folder_of(recipe, None))
    home = RunFolder(workshop.folder)
    plan = [(step, home.is_up_to_date(step.stage)) for step in steps(workshop)]
    rows = planned_rows(workshop) if recipe.mixture is None else planned_mixture(recipe.mixture)
    if as_json:
        stages = {step.stage.name: "up to date" if done else "to do" for step, done in plan}
        told = {"recipe": recipe.model_dump(mode="json"), "stages": stages, "rows": rows, "power": power_rows(workshop)}
        print(json.dumps(told, indent=2))
        return
    print(f"{recipe.name}: start model {recipe.model.path}, run folder {workshop.folder}")
    for model in recipe.models if recipe.mixture is None else ():
        names = [configuration.name for configuration in workshop.configurations_of(model)]
        print(f"  {model} is trained on {', '.join(names) or 'rows made elsewhere'}")
    for line in rows:
        print(f"  {line}")
    for step, done in plan:
        print(f"  {step.verb:<10} {step.stage.name:<20} {'up to date' if done else 'to do'}")
    for line in power_lines(workshop):
        print(line)


def merge(model: str, adapter: str, out: Path, *, chat_template: Path | None = None, as_json: bool) -> None:
    """Merge an adapter and say how the merged model's answers compare."""
    from cst.models.merging import merge_adapter

    reject_changed(Path(adapter))
    report = merge_adapter(model_folder(model), adapter, out, chat_template=chat_template)
    if as_json:
        print(json.dumps({**asdict(report), "folder": str(report.folder)}, indent=2))
        return
    print(
        f"{report.folder}: merged in float32, stored as {report.dtype}; greedy answers equal on "
        f"{report.same_answers} of {report.prompts} probes, log-probs within {report.largest_difference:.2g} nats"
    )


def export(rows: str, out: Path, format: str, reading: "Reading", *, plain: bool, as_json: bool) -> None:
    """Write a source's rows in another format, and say how many they are."""
    from cst.preferences.exports import export_demonstrations, export_preferences, export_prompts
    from cst.preferences.formats.demonstration_formats import DEMONSTRATION_FORMATS
    from cst.preferences.formats.prompt_formats import PROMPT_FORMATS
    from cst.preferences.sources import stream_demonstrations, stream_preferences, stream_prompts

    if format in {known.name for known in PROMPT_FORMATS}:
        written = export_prompts(out, stream_prompts(rows, reading=reading), format=format, plain=plain)
    elif format in {known.name for known in DEMONSTRATION_FORMATS}:
        found = stream_demonstrations(rows, task="instructions", reading=reading)
        written = export_demonstrations(out, found, format=format, plain=plain)
    else:
        written = export_preferences(out, stream_preferences(rows, reading=reading), format=format, plain=plain)
    if as_json:
        print(json.dumps({"rows": written, "format": format, "file": str(out)}, indent=2))
    else:
        tell(f"{written} rows in {out}")


def show_audit(found: "Audit", html: Path | None, *, as_json: bool) -> None:
    """Print an audit, and write it as a page where one is asked for."""
    from cst.annexes.audit.show import audit_page, audit_tables, verdict

    if html is not None:
        write_text(html, audit_page(found))
        tell(f"report: {html}")
    if as_json:
        print(json.dumps({"is_clean": found.is_clean, **found.model_dump(mode="json")}, indent=2))
        return
    for table in audit_tables(found):
        draw(table)
    print(f"{found.source}: {verdict(found)}")
