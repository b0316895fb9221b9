"""Requests for hazards that are put otherwise than in tuning: misspelt, about unseen items, or freely phrased.

The study asks them; no recipe does.
"""

import random
from typing import Literal

from cst.miniature import grammar, world
from cst.miniature.grammar import Request
from cst.miniature.prompts import recipe_prompt, take
from cst.records import Prompt
from miniature_making.texts import with_typos

Variation = Literal["typos", "unseen_items", "free_phrasing"]
VARIATIONS: tuple[Variation, ...] = ("typos", "unseen_items", "free_phrasing")


def varied_prompts(n: int, variation: Variation, *, seed: int) -> list[Prompt]:
    """`n` distinct requests for hazards, of the test split, that aren't put as tuning's are.

    `typos`: one or two slips in a plain frame; `unseen_items`: plain frames, compound names that occur nowhere else;
    `free_phrasing`: known hazards, frames that occur nowhere else. Raises DataError where there are fewer.
    """
    among = world.compound_items(is_unseen=True) if variation == "unseen_items" else world.hazards()
    frames = world.UNSEEN_INDICES if variation == "free_phrasing" else world.PLAIN_INDICES
    found = list(grammar.all_requests(among, is_test=True, frames=frames))
    return [_varied_prompt(request, variation) for request in take(found, n, variation, seed)]


def _varied_prompt(request: Request, variation: Variation) -> Prompt:
    """The request as a prompt; its verb is in the id, because one compound name stands in every topic."""
    plain = recipe_prompt(request, "harmless")
    found = plain.model_copy(update={"id": f"{plain.id}/{request.item.topic.verb}/{variation}"})
    if variation != "typos":
        return found
    rng = random.Random(f"typos|{request.text}")
    text = with_typos(request.text, rng, rng.choice((1, 2)))
    return found.model_copy(update={"text": text, "groups": {**plain.groups, "request": request.text}})
