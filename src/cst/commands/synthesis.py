"""What `cst synthesize` does besides its stage: tell beforehand what it would take, and adopt the work of shards."""

import json
import math
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

from cst.chat.budget import Budget
from cst.chat.journal import merge_journals
from cst.commands.checking import power_lines
from cst.commands.console import bring, folder_of, read_recipe
from cst.doors import open_workshop
from cst.errors import RecipeError, RunFolderError
from cst.recipe import Recipe
from cst.records import Prompt
from cst.runs.folder import RunFolder, reject_another_recipe
from cst.runs.pipeline import steps
from cst.runs.workshop import JOURNAL, Workshop
from cst.store import set_down
from cst.synthesis.planning import PlannedStep, Shard, rehearse


def synthesize(
    recipe_file: Path,
    folder: Path | None,
    overrides: Sequence[str],
    *,
    update: bool,
    budget: Budget,
    shard: Shard | None,
    from_shards: Sequence[Path],
    as_json: bool,
) -> None:
    """Bring a run folder up to date up to its pairs; with the answers of its shards, where they are named."""
    recipe = read_recipe(recipe_file, overrides)
    workshop = open_workshop(recipe, home_of(recipe, folder, shard), budget=budget, shard=shard)
    if shard is not None or from_shards:
        _reject_models_in_process(workshop)
    if from_shards:
        adopt_shards(recipe, workshop.folder, from_shards)
    bring(workshop, until="synthesize", update=update, as_json=as_json)


def home_of(recipe: Recipe, folder: Path | None, shard: Shard | None) -> Path:
    """Where a recipe, or a shard of it, is run: as told, or runs/NAME, or runs/NAME-shard-1-of-4."""
    home = folder_of(recipe, folder)
    if folder is not None or shard is None:
        return home
    return home.with_name(f"{home.name}-shard-{shard.index}-of-{shard.of}")


def plan(
    recipe_file: Path, folder: Path | None, overrides: Sequence[str], shard: Shard | None, *, as_json: bool
) -> None:
    """Print what synthesis would ask at most, and ask nothing."""
    recipe = read_recipe(recipe_file, overrides)
    workshop = open_workshop(recipe, home_of(recipe, folder, shard), shard=shard)
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
    print(f"together: at most {calls} new calls, cost {total:.2f}; a budget of {highest:.2f} more lets all be made")


def _words(step: PlannedStep) -> str:
    found = step.estimate
    return (
        f"{found.calls} calls, {found.prompt_tokens} prompt tokens, at most {found.completion_tokens} completion "
        f"tokens, cost {found.cost:.2f}"
    )


def _reject_models_in_process(workshop: Workshop) -> None:
    """Batches of a model in this process are made up from the whole work list, so that shards would ask other ones.

    Raises:
        RecipeError: The recipe's synthesis has such a model.
    """
    for name in workshop.synthesis_cast:
        if name is None or workshop.recipe.chat_models[name].kind == "local":
            raise RecipeError(
                f"Shards are for models behind endpoints, and {name or 'the start model'} runs in this process, where "
                "an answer's last bits depend on its batch. Serve it, and name it in chat_models and as the author."
            )


def plan_synthesis(workshop: Workshop) -> list[PlannedStep]:
    """What `cst synthesize` would ask its models, at most; no model is asked. The workshop is closed after it.

    Answers in the folder's journal are taken from there. Nothing is planned where the folder is up to date.

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
    """Begin a run with all calls and answers of the runs of its shards; `run` then finds them and makes the pairs.

    Raises:
        RunFolderError: The folder has a journal already, a shard's folder has none or one that is damaged or in use,
            or is a run of another recipe.
    """
    for shard in shards:
        if not (shard / "recipe.json").exists():
            raise RunFolderError(f"{shard} is not the folder of a run: it has no recipe.json. Correct the path.")
        reject_another_recipe(recipe, shard)
    with RunFolder(folder).locked():
        merge_journals(folder / JOURNAL, [shard / JOURNAL for shard in shards])
