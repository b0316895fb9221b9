"""What a caller passes in by name for a recipe to use: judges, gates, losses, chat models, and a world.

Everything here is a plain callable or object behind a protocol, so that nothing has to be registered. What tells two
callables apart goes into the keys of the stages that use them: another function makes the stage again.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeAlias, TypeVar, cast

from cst.errors import RecipeError
from cst.judges import Judge
from cst.recipe.world import World
from cst.records import Prompt, Side
from cst.store import describe_callable
from cst.synthesis.gates import Gate

if TYPE_CHECKING:
    from cst.chat.base import ChatModel
    from cst.training.loss import PreferenceLoss

JudgeFunction: TypeAlias = Callable[[Prompt, str], Side | None]
"""From a prompt and an answer to the side that the answer shows, or None where it shows neither."""

T = TypeVar("T")


@dataclass(frozen=True)
class OwnParts:
    """A caller's own parts, by the names that the recipe uses; `world` is what `miniature` stands for in it."""

    world: World | None = None
    judges: Mapping[str, Judge | JudgeFunction] = field(default_factory=dict[str, Judge | JudgeFunction])
    gates: Mapping[str, Gate] = field(default_factory=dict[str, Gate])
    losses: "Mapping[str, PreferenceLoss]" = field(default_factory=dict[str, "PreferenceLoss"])
    chats: "Mapping[str, ChatModel]" = field(default_factory=dict[str, "ChatModel"])

    def judge(self, name: str) -> Judge:
        """The judge of a name; a function becomes one.

        Raises:
            RecipeError: None of that name was passed in.
        """
        from cst.judges.plain import CallableJudge

        given = given_of(self.judges, name, where="judge.name", argument="judges")
        return cast(Judge, given) if hasattr(given, "opinions") else CallableJudge(name, cast(JudgeFunction, given))

    def the_world(self, where: str) -> World:
        """The world that `miniature` stands for.

        Raises:
            RecipeError: None was passed in.
        """
        if self.world is None:
            raise RecipeError(f"{where} says `miniature`, and no world was passed in; use cst.run, or world=WORLD.")
        return self.world

    def model_folder(self, path: str) -> str:
        """A model's folder or hub id; the word `miniature` names the world's own model.

        Raises:
            RecipeError: It is that word, and no world was passed in.
        """
        return str(self.the_world("A model's path").model_path()) if path == "miniature" else path


def given_of(given: Mapping[str, T], name: str, *, where: str, argument: str) -> T:
    """What was passed in under a name.

    Raises:
        RecipeError: Nothing was.
    """
    if name not in given:
        raise RecipeError(
            f"{where} names {name!r}, which is Python code that was not passed in (given: {sorted(given)}). Run the "
            f"recipe from Python: cst.run(recipe, folder, {argument}={{{name!r}: ...}})."
        )
    return given[name]


def identities(given: Mapping[str, object], names: "tuple[str, ...]") -> list[object]:
    """What tells the callables of these names apart from others, for the key of a stage."""
    return [[name, describe_callable(given[name])] for name in names if name in given]
