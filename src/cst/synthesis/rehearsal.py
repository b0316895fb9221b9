"""Synthesis on paper: the same steps with models that aren't asked, to tell what it would take.

Answers that are in the journal are taken from there; the others are stood in for by texts as long as they may be, and
no pair is dropped. So a plan is an upper bound. This file knows no recipe file and no terminal.
"""

from collections.abc import Mapping, Sequence
from typing import final

from cst.chat.base import ChatReply, ChatRequest
from cst.chat.costs import CHARACTERS_PER_TOKEN, Estimate, estimate
from cst.chat.journalled import Journalled
from cst.chat.pace import Pace
from cst.near_duplicates import Numbered
from cst.recipe.synthesis import SynthesisSettings
from cst.records import Prompt, Record, Sampling
from cst.synthesis.critique import synthesize_in_chunks


class PlannedStep(Record):
    """What one step would ask of one model."""

    step: str
    model: str
    estimate: Estimate


def rehearse(
    prompts: Numbered[Prompt],
    chat: Journalled | None,
    settings: SynthesisSettings,
    *,
    chat_models: Mapping[str, Journalled],
    held_out: Sequence[Prompt] = (),
    seed: int = 0,
) -> list[PlannedStep]:
    """What `synthesize` would ask, step by step and model by model, without the answers that the journal has.

    Raises:
        DataError: As `synthesize`.
    """
    noted: dict[tuple[str, str], Estimate] = {}
    named = {name: _StandIn(model, noted) for name, model in chat_models.items()}
    start = None if chat is None else _StandIn(chat, noted)
    for _ in synthesize_in_chunks(
        prompts, start, settings, chat_models=named, held_out=held_out, seed=seed, description="plan"
    ):
        pass
    return [PlannedStep(step=step, model=model, estimate=found) for (step, model), found in noted.items()]


@final
class _StandIn:
    """A chat model that answers from the journal, or notes what it would be asked and says something of that length."""

    def __init__(self, chat: Journalled, noted: dict[tuple[str, str], Estimate]) -> None:
        self._chat = chat
        self._noted = noted
        self.name = chat.name
        self.fingerprint = chat.fingerprint
        self.pace = Pace()

    def plan(self, requests: Sequence[ChatRequest]) -> list[list[int]]:
        """The model's own plan."""
        return self._chat.plan(requests)

    def answer(self, unit: Sequence[ChatRequest], sampling: Sampling) -> list[ChatReply]:
        """The replies of the journal, or stand-ins."""
        new = self._chat.new_calls(unit, sampling)
        if not new:
            return self._chat.answer(unit, sampling)
        place = unit[0].id.split("/")[0], self.name
        found = estimate(new, sampling, self._chat.prices)
        self._noted[place] = _sum(self._noted[place], found) if place in self._noted else found
        return [_stand_in(request, sampling) for request in unit]


def _stand_in(request: ChatRequest, sampling: Sampling) -> ChatReply:
    tokens = sampling.max_new_tokens
    text = request.prefix + "x" * (tokens * CHARACTERS_PER_TOKEN)
    return ChatReply(text=text, finish_reason="stop", prompt_tokens=None, completion_tokens=tokens)


def _sum(one: Estimate, other: Estimate) -> Estimate:
    return Estimate(**{name: getattr(one, name) + getattr(other, name) for name in Estimate.model_fields})
