"""`cst score`: the scores of a run, of a table of published answers, or of a file of answers.

A judge of a recipe can score either file; `cst generate --format md` writes such tables.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal

import typer

from cst.annexes.paper import (
    CONFIGURATIONS,
    SIDES,
    Agreement,
    PublishedRow,
    PublishedScore,
    agreement,
    agreement_table,
    prompt_of,
    published_rows,
    published_scores,
    rated,
    reject_unknown,
    score_table,
    stream_published,
    write_published,
)
from cst.chat.budget import Budget
from cst.commands.console import (
    FolderOption,
    JsonOption,
    MaxCallsOption,
    MaxCostOption,
    SetOption,
    UpdateOption,
    bring,
    draw,
    folder_of,
    read_recipe,
    tell,
)
from cst.doors import open_workshop
from cst.errors import DataError
from cst.judges import Candidate, Opinion
from cst.recipe import Recipe
from cst.records import Completion, Verdict
from cst.runs.folder import RunFolder, reject_another_recipe
from cst.runs.pipeline import steps
from cst.runs.workshop import BASE, Workshop
from cst.store import read_records

SUFFIX = ".md"


def score_file(
    file: Path,
    recipe_file: Path | None,
    folder: Path | None,
    overrides: Sequence[str],
    out: Path | None,
    *,
    budget: Budget,
    as_json: bool,
) -> None:
    """Print the scores of a published table, from its own ratings or by a recipe's judge.

    Raises:
        DataError: The table can't be used, or has no ratings and no judge is named.
        RecipeError: The recipe names no judge.
    """
    rows = list(stream_published(file))
    if recipe_file is None:
        _reject_without_judge(file, rows, out)
        own = [SIDES[row.score_response] for row in rows]
        _print(file, published_scores(rows, own, CONFIGURATIONS), None, as_json=as_json)
        return
    recipe = read_recipe(recipe_file, overrides)
    workshop = open_workshop(recipe, folder_of(recipe, folder), budget=budget)
    configurations = workshop.configurations or CONFIGURATIONS
    reject_unknown(rows, configurations)  # before a judge is paid
    candidates = [
        Candidate(prompt=prompt_of(row, f"row-{number:06d}"), text=row.response)
        for number, row in enumerate(rows, start=1)
    ]
    judge, opinions = judged(workshop, candidates)
    sides = [opinion.exhibits for opinion in opinions]
    if out is not None:
        write_published(out, rated(rows, sides), scored=True)
        tell(f"written: {out}")
    has_ratings = any(row.score_response is not None for row in rows)
    found = agreement(judge, rows, sides) if has_ratings else None
    _print(file, published_scores(rows, sides, configurations), found, as_json=as_json)


def _reject_without_judge(file: Path, rows: Sequence[PublishedRow], out: Path | None) -> None:
    if out is not None:
        raise DataError("--out writes a judge's ratings; name the judge's recipe with --recipe.")
    if all(row.score_response is None for row in rows):
        raise DataError(f"{file} has no ratings in score_response; name a recipe with a judge with --recipe.")


def judged(workshop: Workshop, candidates: Sequence[Candidate]) -> tuple[str, list[Opinion]]:
    """The judge's name, and its opinion of each answer. Model calls are journalled in the run folder.

    Raises:
        RecipeError: The recipe names no judge.
        RunFolderError: The folder belongs to another recipe's run, or is in use.
    """
    with RunFolder(workshop.folder).locked():
        reject_another_recipe(workshop.recipe, workshop.folder)
        try:
            judge = workshop.judge
            return judge.name, judge.opinions(candidates)
        finally:
            workshop.close()


def _print(file: Path, scores: Sequence[PublishedScore], found: Agreement | None, *, as_json: bool) -> None:
    if as_json:
        told = {"scores": [score.model_dump() for score in scores], "agreement": found and found.model_dump()}
        print(json.dumps({"file": str(file), **told}, indent=2))
        return
    draw(score_table(file.name, scores))
    if found is not None:
        draw(agreement_table(found))


def reject_options(**given: object) -> None:
    """Reject options that don't apply to what is scored; options that were not given are None.

    Raises:
        DataError: An option was given.
    """
    if named := [f"--{name}" for name, value in given.items() if value is not None]:
        raise DataError(
            f"What is to be scored takes no {' and no '.join(named)}: --recipe and --out are for FILE{SUFFIX} and "
            "ANSWERS.json, --task is for ANSWERS.json with --recipe. Name such a file, or leave the option out."
        )


def write_tables(recipe_file: Path, folder: Path | None, overrides: Sequence[str]) -> None:
    """Write the answers of a run as published tables, one per model, with ratings if the run has judged them.

    Raises:
        DataError: A model has no answers that fit such a table.
    """
    recipe = read_recipe(recipe_file, overrides)
    home = folder_of(recipe, folder)
    completions = read_records(home / "completions.jsonl", Completion)
    is_judged = _is_judged(recipe, home)
    verdicts = read_records(home / "verdicts.jsonl", Verdict) if is_judged else []
    sides = {verdict.completion_id: verdict.exhibits for verdict in verdicts}
    for model in (BASE, *recipe.models):
        file = home / f"completions.{model}{SUFFIX}"
        write_published(file, published_rows(completions, sides, model=model), scored=is_judged)
        tell(f"written: {file}")


def _is_judged(recipe: Recipe, home: Path) -> bool:
    """Whether the verdicts in the folder are up to date with its answers."""
    if recipe.judge is None:
        return False
    (stage,) = [step.stage for step in steps(open_workshop(recipe, home), "judge") if step.stage.name == "judge"]
    return RunFolder(home).is_up_to_date(stage)


def score(
    named: Annotated[
        Path,
        typer.Argument(
            metavar="RECIPE|FILE.md|ANSWERS.json",
            help="A recipe, `miniature`, a table of published answers, or (with --recipe) a file of `cst generate`.",
        ),
    ],
    folder: FolderOption = None,
    overrides: SetOption = None,
    update: UpdateOption = False,
    max_calls: MaxCallsOption = None,
    max_cost: MaxCostOption = None,
    judged_by: Annotated[
        Path | None, typer.Option("--recipe", help="Judge the answers of the file with this recipe's judge.")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Write the file with the judge's ratings here.")] = None,
    task: Annotated[
        Literal["harmless", "over_refusal"] | None,
        typer.Option(help="For ANSWERS.json: count harmful answers (harmless, the default) or refusals."),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """`cst score`.

    Earlier stages that are out of date run first; stages that are up to date are skipped.
    """
    from cst.commands import answers  # that module imports this one

    budget, sets = Budget(max_calls=max_calls, max_cost=max_cost), overrides or []
    if named.suffix == answers.SUFFIX and judged_by is not None:
        answers.score_answers(
            named, judged_by, folder, sets, out, task=task or "harmless", budget=budget, as_json=as_json
        )
    elif named.suffix == SUFFIX:
        reject_options(task=task)
        score_file(named, judged_by, folder, sets, out, budget=budget, as_json=as_json)
    else:
        if named.suffix == answers.SUFFIX:
            answers.reject_unjudged(named)
        reject_options(recipe=judged_by, out=out, task=task)
        read = read_recipe(named, sets)
        bring(
            open_workshop(read, folder_of(read, folder), budget=budget), until="score", update=update, as_json=as_json
        )
