"""Any chat model as what the loopback server answers from: one request at a time, or in batches as an engine does it.

The server's thread is held while the model works; what came in meanwhile is its next batch.
"""

import asyncio
from collections import defaultdict
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from chat.loopback import Body
from cst.chat.base import ChatModel, ChatReply, ChatRequest
from cst.records import Message, Sampling

GATHERING_SECONDS = 0.005
"""For so long a request waits for others, unless it is to be answered alone."""

Waiting: TypeAlias = list[tuple[ChatRequest, asyncio.Future[ChatReply]]]


@dataclass
class Served:
    """Answers of a chat model that draws from the seeds that it is sent, to at most `at_once` requests together.

    `batches` are the sizes of what was answered together.
    """

    chat: ChatModel
    at_once: int = 1
    batches: list[int] = field(default_factory=list)
    _waiting: dict[Sampling, Waiting] = field(default_factory=lambda: defaultdict(list))

    async def __call__(self, body: Body) -> dict[str, Any]:
        """The answer to a request's body, once its batch is answered."""
        loop, request, sampling = asyncio.get_running_loop(), request_of(body), sampling_of(body)
        answered: asyncio.Future[ChatReply] = loop.create_future()
        self._waiting[sampling].append((request, answered))
        loop.call_later(GATHERING_SECONDS if self.at_once > 1 else 0.0, self._answer, sampling)
        reply = await answered
        return {**reply.model_dump(), "text": reply.text[len(request.prefix) :]}

    def _answer(self, sampling: Sampling) -> None:
        """Answer what waits, the first come first; whoever comes later finds nothing to do."""
        waiting = self._waiting[sampling]
        batch, self._waiting[sampling] = waiting[: self.at_once], waiting[self.at_once :]
        if not batch:
            return
        self.batches.append(len(batch))
        replies = self.chat.answer([request for request, _ in batch], sampling)
        for (_, answered), reply in zip(batch, replies, strict=True):
            answered.set_result(reply)


def request_of(body: Body) -> ChatRequest:
    """The request as a chat model takes it; its seed is all that names its stream of random numbers."""
    messages, prefix = tuple(Message(**message) for message in body["messages"]), ""
    if body.get("continue_final_message"):
        messages, prefix = messages[:-1], messages[-1].content
    return ChatRequest(id="served", messages=messages, prefix=prefix, seed=body.get("seed"))


def sampling_of(body: Body) -> Sampling:
    return Sampling(temperature=body["temperature"], top_p=body["top_p"], max_new_tokens=body["max_tokens"])
