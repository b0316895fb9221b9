"""A caller's own parts for a run: judges, gates, losses, chat models, report sections, and the embedded world.

Each is a plain callable or an object behind a protocol, so nothing has to be registered. What tells two callables apart
goes into the keys of the stages that use them: another function makes the stage again.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar, cast, final

from cst.errors import RecipeError
from cst.recipe import Recipe
from cst.recipe.judges import single_judges
from cst.recipe.world import World
from cst.records import Prompt, Side
from cst.store import describe_callable

if TYPE_CHECKING:
    from cst.chat.base import ChatModel
    from cst.judges import Judge
    from cst.reporting.evidence import Evidence
    from cst.reporting.sections import Section
    from cst.synthesis.gates import Gate
    from cst.training.loss import PreferenceLoss

JudgeFunction: TypeAlias = Callable[[Prompt, str], Side | None]
"""From a prompt and an answer to the side that the answer shows, or None where it shows neither."""

SectionOf: TypeAlias = "Callable[[Evidence], Section]"
"""From what a run folder holds to a section of its report."""

T = TypeVar("T")


@final
@dataclass(frozen=True)
class OwnParts:
    """A caller's own parts, by the names that the recipe uses (docs/extending.md).

    `world` is what `miniature` stands for. `chats` may also stand in for other models of the recipe's `chat_models`.
    `sections` come last in the report.
    """

    world: World | None = None
    judges: "Mapping[str, Judge | JudgeFunction]" = field(default_factory=dict[str, Any])
    gates: "Mapping[str, Gate]" = field(default_factory=dict[str, Any])
    losses: "Mapping[str, PreferenceLoss]" = field(default_factory=dict[str, Any])
    chats: "Mapping[str, ChatModel]" = field(default_factory=dict[str, Any])
    sections: Sequence[SectionOf] = ()

    def judge(self, name: str) -> "Judge":
        """The judge of a name; a function becomes one.

        Raises:
            RecipeError: None of that name was passed in.
        """
        from cst.judges.plain import CallableJudge

        given = given_of(self.judges, name, where="judge.name", argument="judges")
        return cast("Judge", given) if hasattr(given, "opinions") else CallableJudge(name, cast(JudgeFunction, given))

    def loss(self, name: str | None) -> "PreferenceLoss | None":
        """The loss of a name; None for no name.

        Raises:
            RecipeError: None of that name was passed in.
        """
        return None if name is None else given_of(self.losses, name, where="training.loss", argument="losses")

    def the_world(self, where: str) -> World:
        """The world that `miniature` stands for.

        Raises:
            RecipeError: None was passed in.
        """
        if self.world is None:
            raise RecipeError(
                f"{where} says `miniature`, and no world was passed in. Use cst.run or the command line, or pass "
                "Workshop(..., own=OwnParts(world=cst.miniature.WORLD))."
            )
        return self.world

    def model_folder(self, path: str) -> str:
        """A model's folder or hub id; the word `miniature` names the world's own model.

        Raises:
            RecipeError: It is that word, and no world was passed in.
        """
        return str(self.the_world("A model's path").model_path()) if path == "miniature" else path

    def reject_misfit(self, recipe: Recipe) -> None:
        """Make sure that every part that the recipe names was passed in, and the other way round.

        Raises:
            RecipeError: One wasn't; the message says what to do.
        """
        judges = single_judges(recipe.judge) if recipe.judge else ()
        judged = {judge.name for judge in judges if judge.kind == "python"}
        gates = set(recipe.synthesis.gates.own) if recipe.synthesis else set[str]()
        losses = {recipe.training.loss} if recipe.training.loss else set[str]()
        chats = {name for name, settings in recipe.chat_models.items() if settings.kind == "python"}
        _reject(self.judges, judged, judged, "judge.name", "judges")
        _reject(self.gates, gates, gates, "synthesis.gates.own", "gates")
        _reject(self.losses, losses, losses, "training.loss", "losses")
        _reject(self.chats, chats, recipe.chat_models, "chat_models", "chats")


def _reject(
    given: Mapping[str, object], needed: Iterable[str], known: Iterable[str], where: str, argument: str
) -> None:
    for name in sorted(needed):
        given_of(given, name, where=where, argument=argument)
    if unused := sorted(given.keys() - set(known)):
        raise RecipeError(f"{argument} has {unused[0]!r}, which the recipe doesn't name in {where}. Name it there.")


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


def identities(given: Mapping[str, object]) -> list[object]:
    """What tells callables apart from others of their names, for the key of a stage."""
    return [[name, describe_callable(each)] for name, each in sorted(given.items())]
