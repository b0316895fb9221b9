"""`cst synthesize`: its stage, an estimate of its calls without making them, and work split into shards."""

import json
import math
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Annotated

import typer

from cst.chat.budget import Budget
from cst.chat.journal import merge_journals
from cst.commands.console import (
    FolderOption,
    JsonOption,
    MaxCallsOption,
    MaxCostOption,
    RecipePath,
    SetOption,
    UpdateOption,
    bring,
    folder_of,
    read_recipe,
)
from cst.commands.verbs import power_lines
from cst.doors import open_workshop
from cst.errors import RecipeError, RunFolderError
from cst.recipe import Recipe
from cst.records import Prompt
from cst.runs.folder import RunFolder, reject_another_recipe
from cst.runs.pipeline import steps
from cst.runs.workshop import JOURNAL, Workshop
from cst.store import set_down
from cst.synthesis.planning import PlannedStep, Shard, rehearse, shard_of


def synthesize(
    recipe_file: RecipePath,
    folder: FolderOption = None,
    overrides: SetOption = None,
    update: UpdateOption = False,
    max_calls: MaxCallsOption = None,
    max_cost: MaxCostOption = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Estimate the calls of each step (upper bounds) without making them.")
    ] = False,
    shard: Annotated[
        str | None, typer.Option(help="Work on one share of the prompts, such as 2/4, in its own folder.")
    ] = None,
    from_shard: Annotated[
        list[Path] | None, typer.Option(help="Reuse the answers of a shard's folder; repeatable.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """`cst synthesize`.

    Earlier stages that are out of date run first; stages that are up to date are skipped.
    """
    recipe, share = read_recipe(recipe_file, overrides or []), None if shard is None else shard_of(shard)
    budget = Budget(max_calls=max_calls, max_cost=max_cost)
    workshop = open_workshop(recipe, home_of(recipe, folder, share), budget=budget, shard=share)
    if dry_run:
        plan(workshop, as_json=as_json)
        return
    if share is not None or from_shard:
        _reject_models_in_process(workshop)
    if from_shard:
        adopt_shards(recipe, workshop.folder, from_shard)
    bring(workshop, until="synthesize", update=update, as_json=as_json)


def home_of(recipe: Recipe, folder: Path | None, shard: Shard | None) -> Path:
    """The run folder of a recipe or of its shard: the given one, runs/NAME, or runs/NAME-shard-1-of-4."""
    home = folder_of(recipe, folder)
    if folder is not None or shard is None:
        return home
    return home.with_name(f"{home.name}-shard-{shard.index}-of-{shard.of}")


def plan(workshop: Workshop, *, as_json: bool) -> None:
    """Print an upper bound of what synthesis would ask."""
    planned = plan_synthesis(workshop)
    if as_json:
        print(json.dumps([step.model_dump(mode="json") for step in planned], indent=2))
        return
    for step in planned:
        print(f"{step.step} by {step.model}: {_words(step)}")
    total = sum(step.estimate.cost for step in planned)
    highest = math.ceil(sum(step.estimate.highest_cost for step in planned) * 100) / 100
    calls = sum(step.estimate.calls for step in planned)
    for line in power_lines(workshop):
        print(line)
    print(f"together: at most {calls} new calls, cost {total:.2f}; a further budget of {highest:.2f} covers them all")


def _words(step: PlannedStep) -> str:
    found = step.estimate
    return (
        f"{found.calls} calls, {found.prompt_tokens} prompt tokens, at most {found.completion_tokens} completion "
        f"tokens, cost {found.cost:.2f}"
    )


def _reject_models_in_process(workshop: Workshop) -> None:
    """Local models build batches from the whole work list, so shards would give other answers.

    Raises:
        RecipeError: The recipe's synthesis uses a local model.
    """
    for name in workshop.synthesis_cast:
        if name is None or workshop.is_local(name):
            raise RecipeError(
                f"Shards need models behind endpoints, but {name or 'the start model'} runs in this process, where an "
                "answer depends on its batch. Serve it, and name it in chat_models and as the author."
            )


def plan_synthesis(workshop: Workshop) -> list[PlannedStep]:
    """An upper bound of what `cst synthesize` would ask; no model is asked. The workshop is closed after it.

    Answers in the folder's journal are reused. Nothing is planned if the folder is up to date.

    Raises:
        CstError: As for `bring_up_to_date`.
    """
    recipe, folder = workshop.recipe, workshop.folder
    home = RunFolder(folder)
    with home.locked(), closing(workshop):
        reject_another_recipe(recipe, folder)
        if recipe.synthesis is None or all(home.is_up_to_date(s.stage) for s in steps(workshop, "synthesize")):
            return []
        chat, named = workshop.synthesis_chats()
        training, held_out = workshop.prompts()
        with set_down(folder / ".planned_prompts.jsonl", training, Prompt) as prompts:
            return rehearse(prompts, chat, recipe.synthesis, chat_models=named, held_out=held_out, seed=recipe.seed)


def adopt_shards(recipe: Recipe, folder: Path, shards: Sequence[Path]) -> None:
    """Start a run with all calls and answers of its shards' runs; `run` then makes the pairs from them.

    Raises:
        RunFolderError: The folder already has a journal; or a shard's folder has none, a damaged one or one in use, or
            belongs to another recipe.
    """
    for shard in shards:
        if not (shard / "recipe.json").exists():
            raise RunFolderError(f"{shard} is not a run folder: it has no recipe.json. Correct the path.")
        reject_another_recipe(recipe, shard)
    with RunFolder(folder).locked():
        merge_journals(folder / JOURNAL, [shard / JOURNAL for shard in shards])
