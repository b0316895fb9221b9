"""Who plays which part of a method: names of the recipe, and the models that they stand for."""

from collections.abc import Mapping
from typing import TypeAlias

from cst.chat.base import ChatModel
from cst.errors import RecipeError
from cst.recipe.synthesis import ContrastSettings, SynthesisMethod

Roles: TypeAlias = Mapping[str, ChatModel]
"""Who is `author`, `reviser` and, in self-critique, `critic`."""


def cast_of(method: SynthesisMethod) -> dict[str, str | None]:
    """Each role of a method with the name of its chat model; None for the start model."""
    roles = {"author": method.author, "reviser": method.reviser or method.author}
    return roles if isinstance(method, ContrastSettings) else {**roles, "critic": method.critic or method.author}


def cast(method: SynthesisMethod, known: Mapping[str | None, ChatModel | None]) -> Roles:
    """The model of each role of a method, by its name; None names the start model.

    Raises:
        RecipeError: A role has no model.
    """
    roles: dict[str, ChatModel] = {}
    for role, name in cast_of(method).items():
        model = known.get(name)
        if model is None:
            named = f"chat_models has no {name!r}" if name else "no start model is given"
            raise RecipeError(f"{named}, and it is the {role} of {method.kind}; pass it to synthesize.")
        roles[role] = model
    return roles
