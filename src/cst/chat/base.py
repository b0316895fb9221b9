"""The one seam through which text comes back from any model.

A `ChatModel` is asked units of requests. It plans the units itself, from the whole work list, because a row computed
alone differs in the low bits from the same row in a batch: the same work list gives the same plan, and a unit is
answered whole or not at all. So a unit's replies are a pure function of the unit, as far as its model can be asked for
that. This file knows no model.
"""

from collections.abc import Sequence
from typing import Annotated, Protocol

from pydantic import Field

from cst.chat.pace import Pace
from cst.records import FinishReason, Message, Record, Sampling, Text
from cst.store import seed_of

__all__ = ["ChatModel", "ChatReply", "ChatRequest", "Sampling", "request_seed"]


class ChatRequest(Record):
    """One conversation to go on with. `prefix` is text that the response is made to begin with (prefill).

    `id` names the request's random stream: two requests with one id and one seed draw the same numbers. `seed` is the
    stream itself, for a server that was sent one (signed, 64 bits).
    """

    id: Text
    messages: tuple[Message, ...]
    prefix: str = ""
    seed: Annotated[int, Field(ge=-(2**63), lt=2**63)] | None = None


class ChatReply(Record):
    """What came back, `prefix` included; token counts as the model counts them, None where it doesn't tell.

    `model` is the one that a server said it was. `logprobs` are the tokens' log-probs in nats, where they were asked
    for and given; of a `LabelChat`, the labels'.
    """

    text: str
    finish_reason: FinishReason
    prompt_tokens: int | None
    completion_tokens: int | None
    model: str | None = None
    logprobs: tuple[float, ...] | None = None


class ChatModel(Protocol):
    """Anything that answers conversations."""

    @property
    def name(self) -> str:
        """A short name for reports."""
        ...

    @property
    def fingerprint(self) -> str:
        """A hash of all that decides an answer besides the request: weights, adapter, template, engine."""
        ...

    @property
    def pace(self) -> Pace:
        """How many calls may be in flight, and how long to wait before one is made again."""
        ...

    def plan(self, requests: Sequence[ChatRequest], /) -> list[list[int]]:
        """Indices into `requests`, unit by unit, each index once; a function of the requests alone."""
        ...

    def answer(self, unit: Sequence[ChatRequest], sampling: Sampling, /) -> list[ChatReply]:
        """One reply a request, in order; asked once, and from several threads where `pace` says so.

        Raises:
            EndpointError: No answer came; `complete` asks again where that may help.
        """
        ...


def request_seed(request: ChatRequest, sampling: Sampling) -> int:
    """The seed of a request's random stream, a signed 64-bit number: its own, or decided by (sampling.seed, id).

    A model in this process draws from it, and an endpoint is sent it: a server that draws as this process does answers
    as this process does. OpenAI's `seed` has the same range.
    """
    if request.seed is not None:
        return request.seed
    drawn = seed_of(f"{sampling.seed}\0{request.id}")
    return int.from_bytes(drawn.to_bytes(8, "big"), "little", signed=True)  # as earlier versions drew it
