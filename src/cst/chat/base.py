"""The one seam through which text comes back from any model.

A `ChatModel` is asked batches of requests. It plans the batches itself, from the whole work list, because a row
computed alone differs in the low bits from the same row in a batch: the same work list gives the same plan, and a batch
is answered whole or not at all. So a batch's replies are a pure function of the batch. This file knows no model.
"""

from collections.abc import Sequence
from typing import Protocol

from cst.records import FinishReason, Message, Record, Sampling, Text

__all__ = ["ChatModel", "ChatReply", "ChatRequest", "Sampling"]


class ChatRequest(Record):
    """One conversation to go on with. `prefix` is text that the response is made to begin with (prefill).

    `id` names the request's random stream: two requests with one id and one seed draw the same numbers.
    """

    id: Text
    messages: tuple[Message, ...]
    prefix: str = ""


class ChatReply(Record):
    """What came back, `prefix` included; token counts as the model counts them."""

    text: str
    finish_reason: FinishReason
    prompt_tokens: int
    completion_tokens: int


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

    def plan(self, requests: Sequence[ChatRequest]) -> list[list[int]]:
        """Indices into `requests`, batch by batch, each index once; a function of the requests alone."""
        ...

    def answer(self, batch: Sequence[ChatRequest], sampling: Sampling) -> list[ChatReply]:
        """One reply a request, in order."""
        ...
