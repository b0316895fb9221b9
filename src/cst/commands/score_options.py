"""The words of `cst score`: a recipe's verdicts, a table of published answers, or a file of answers, to rates."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from cst.commands.options import FolderOption, JsonOption, MaxCallsOption, MaxCostOption, SetOption, UpdateOption


def score(
    named: Annotated[
        Path,
        typer.Argument(
            metavar="RECIPE|FILE.md|ANSWERS.json",
            help="A recipe, `miniature`, a table of published answers, or with --recipe a file of `cst generate`.",
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
    out: Annotated[Path | None, typer.Option(help="Write the file here with what the judge says.")] = None,
    task: Annotated[
        Literal["harmless", "over_refusal"] | None,
        typer.Option(help="Of ANSWERS.json: count harmful answers (harmless, the default), or refusals."),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """`cst score`: its help is that of the verb."""
    from cst.chat.budget import Budget
    from cst.commands import answer_scoring, console
    from cst.commands import published as published_command

    budget, sets = Budget(max_calls=max_calls, max_cost=max_cost), overrides or []
    if named.suffix == answer_scoring.SUFFIX and judged_by is not None:
        answer_scoring.score_answers(
            named, judged_by, folder, sets, out, task=task or "harmless", budget=budget, as_json=as_json
        )
    elif named.suffix == published_command.SUFFIX:
        published_command.refuse_options(task=task)
        published_command.score_file(named, judged_by, folder, sets, out, budget=budget, as_json=as_json)
    else:
        if named.suffix == answer_scoring.SUFFIX:
            answer_scoring.refuse_unjudged(named)
        published_command.refuse_options(recipe=judged_by, out=out, task=task)
        read = console.read_recipe(named, sets)
        home = console.folder_of(read, folder)
        console.bring(read, home, until="score", update=update, budget=budget, as_json=as_json)
