"""What `cst report` does besides its stage: compare runs, and write a run's results as files for machines and papers.

Words for people go to standard error, results to standard output. This file decides nothing about tables or figures.
"""

import json
from collections.abc import Sequence
from pathlib import Path

from cst.chat.budget import Budget
from cst.commands.console import bring, draw, folder_of, read_recipe, tell
from cst.errors import RecipeError, RunFolderError

COMPARISON = Path("runs") / "comparison"
"""Where a comparison is written if no folder is named."""


def report(
    named: Sequence[Path],
    folder: Path | None,
    overrides: Sequence[str],
    *,
    update: bool,
    budget: Budget,
    output: Path | None,
    as_json: bool,
) -> None:
    """Bring a recipe's run up to its report, or compare the runs of several folders.

    Raises:
        RecipeError: an option of the one was given with the other.
    """
    if are_runs(named):
        if folder is not None or overrides or update or budget != Budget():
            raise RecipeError("--folder, --set, --update, --max-calls and --max-cost are for a recipe, not for runs.")
        compare(named, output or COMPARISON, as_json=as_json)
        return
    if output is not None:
        raise RecipeError(f"--output {output} is for a comparison of run folders; a recipe's report is in its folder.")
    recipe = read_recipe(named[0], overrides)
    bring(recipe, folder_of(recipe, folder), until="report", update=update, budget=budget, as_json=as_json)


def are_runs(named: Sequence[Path]) -> bool:
    """Whether run folders are meant: several paths, or one with a recipe.json in it. Else it is a recipe."""
    return len(named) > 1 or (named[0] / "recipe.json").is_file()


def compare(folders: Sequence[Path], output: Path, *, as_json: bool) -> None:
    """Write `comparison.md`, `comparison.html` and the tables' files; an earlier comparison there is no run."""
    from cst.evaluation.comparison import compare_runs
    from cst.evaluation.table_files import named_tables, write_tables

    runs = [folder for folder in folders if folder.resolve() != output.resolve()]
    if not runs:
        raise RunFolderError(f"{output} is where the comparison goes; name runs to compare, such as runs/*.")
    done = compare_runs(runs, output)
    write_tables(output / "tables", named_tables(done.tables))
    if as_json:
        told = {
            "runs": {run.label: [score.model_dump(mode="json") for score in run.scores] for run in done.runs},
            "differences": [difference.model_dump(mode="json") for difference in done.differences],
            "capability_differences": [each.model_dump(mode="json") for each in done.capability_differences],
            "made_differently": done.made_differently,
            "left_out": done.left_out,
            "cautions": done.cautions,
            "files": [str(done.html), str(done.markdown)],
        }
        print(json.dumps(told, indent=2))
        return
    for caution in done.cautions:
        tell(caution)
    for section in done.sections:
        for table in () if section.folded else section.tables:
            draw(table)
    print(f"comparison: {done.html} (and comparison.md, tables/)")


def export_results(folder: Path, output: Path | None, *, png: bool, as_json: bool) -> None:
    """Write every table of a run's report as CSV and LaTeX, its scores as CSV, and its figures."""
    from cst.evaluation.result_files import write_results

    written = write_results(folder, output or folder, kinds=("pdf", "png") if png else ("pdf",))
    if as_json:
        print(json.dumps({"files": [str(path) for path in written]}, indent=2))
    else:
        print(f"{len(written)} files in {output or folder}: tables/, figures/, and results.tex, which holds them all")
