"""The front door: a recipe and a folder to a run, with parts of your own and the embedded world.

The core knows no annex, so it is here that the miniature's world is handed to it.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from cst.chat.budget import Budget
from cst.judges import Judge
from cst.miniature import WORLD
from cst.recipe import Recipe
from cst.recipe.world import World
from cst.runs.folder import Outcome
from cst.runs.own import JudgeFunction, OwnParts, SectionOf
from cst.runs.pipeline import Verb, bring_up_to_date
from cst.runs.workshop import Workshop
from cst.synthesis.gates import Gate

if TYPE_CHECKING:
    from cst.chat.base import ChatModel
    from cst.synthesis.planning import Shard
    from cst.training.loss import PreferenceLoss


def run(
    recipe: Recipe,
    folder: str | Path,
    *,
    until: Verb = "report",
    update: bool = False,
    budget: Budget | None = None,
    judges: Mapping[str, Judge | JudgeFunction] | None = None,
    gates: Mapping[str, Gate] | None = None,
    losses: "Mapping[str, PreferenceLoss] | None" = None,
    chats: "Mapping[str, ChatModel] | None" = None,
    sections: Sequence[SectionOf] = (),
    world: World = WORLD,
    tell: Callable[[str, Outcome], None] = lambda _name, _outcome: None,
) -> dict[str, Outcome]:
    """Bring a run folder up to date, up to and including a verb; what is up to date is left as it is.

    `judges`, `gates`, `losses` and `chats` are your own, by the names that the recipe uses: `judge: {kind: python,
    name: NAME}`, `synthesis.gates.own: [NAME]`, `training.loss: NAME`, and names of `chat_models`. `sections` come last
    in the report (docs/extending.md). `world` is what `miniature` stands for. Killed at any moment, the same call
    continues to the same files. The calls of all runs in the folder together keep to the budget.

    Returns:
        What became of each stage, by its name.

    Raises:
        RecipeError: The recipe names a part that isn't passed in, or doesn't name one that is.
        CstError: As for `bring_up_to_date`.
    """
    own = OwnParts(world, judges or {}, gates or {}, losses or {}, chats or {}, sections)
    workshop = Workshop(recipe, Path(folder), budget=budget, own=own)
    return bring_up_to_date(workshop, until=until, update=update, tell=tell)


def open_workshop(
    recipe: Recipe, folder: Path, *, budget: Budget | None = None, shard: "Shard | None" = None
) -> Workshop:
    """What a command works with: the recipe's parts, with the embedded world."""
    return Workshop(recipe, folder, budget=budget, shard=shard, own=OwnParts(WORLD))
