"""`cst sweep`: a recipe's models with more and more safety examples, brought up to their report.

The tables and sweep.json are those of the report; this file only refuses recipes that have nothing to sweep.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cst.commands.options import FolderOption, JsonOption, MaxCallsOption, MaxCostOption, SetOption, UpdateOption
from cst.errors import RecipeError

if TYPE_CHECKING:
    from cst.recipe import Recipe


def sweep(
    recipe: Annotated[
        Path, typer.Argument(metavar="RECIPE", help="A recipe with a mixture; by default the embedded `sweep`.")
    ] = Path("sweep"),
    folder: FolderOption = None,
    overrides: SetOption = None,
    update: UpdateOption = False,
    max_calls: MaxCallsOption = None,
    max_cost: MaxCostOption = None,
    as_json: JsonOption = False,
) -> None:
    """Harmful answers and refused harmless requests against the number of safety examples in training.

    Trains a model for each number, by supervised tuning; answers and judges the held-out prompts; writes the report.
    What is up to date is left as it is.
    """
    from cst.chat.budget import Budget
    from cst.commands import console

    read = console.read_recipe(recipe, overrides or [])
    refuse_without_sweep(read, recipe)
    home, budget = console.folder_of(read, folder), Budget(max_calls=max_calls, max_cost=max_cost)
    console.bring(read, home, until="report", update=update, budget=budget, as_json=as_json)


def refuse_without_sweep(recipe: "Recipe", named: Path) -> None:
    """Say what a recipe lacks, before anything is trained.

    Raises:
        RecipeError: It has no mixture, no safety examples in it, or nothing to measure them by.
    """
    from cst.stages.sweep import is_sweep

    if recipe.mixture is None:
        raise RecipeError(
            f"{named} has no section mixture and training.method {recipe.training.method}, and a sweep is over "
            "mixture.safety_counts. Add the section, with training.method: sft; or give `cst run` the recipe."
        )
    if not is_sweep(recipe):
        raise RecipeError(
            f"{named} has a mixture without safety examples, so there is one model and nothing to sweep. Name some in "
            "mixture.safety, and their numbers in mixture.safety_counts; or give `cst run` the recipe."
        )
    needed = {
        "prompts.held_out": recipe.holds_out_prompts,
        "configurations": recipe.configurations,
        "judge": recipe.judge,
    }
    if lacking := [key for key, value in needed.items() if not value]:
        raise RecipeError(
            f"{named} has no {' and no '.join(lacking)}, and a sweep is measured by judged answers to held-out prompts "
            "of the tasks harmless and over_refusal. Add that; docs/recipes.md has an example of each."
        )
