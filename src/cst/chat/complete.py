"""Asking a chat model for a whole work list, batch by batch, with progress; and never asking twice.

`Journalled` stands in front of any chat model: a batch's replies are committed to the journal before anyone sees them,
and a batch that is in the journal is not asked again. This file knows no model and no stage.
"""

from collections.abc import Sequence
from typing import Protocol, final

from cst.chat.base import ChatModel, ChatReply, ChatRequest, Sampling
from cst.progress import track
from cst.store import Journal, fingerprint


def complete(
    chat: ChatModel, requests: Sequence[ChatRequest], sampling: Sampling, *, description: str
) -> list[ChatReply]:
    """One reply a request, in the order of the requests."""
    replies: dict[int, ChatReply] = {}
    for indices in track(chat.plan(requests), description=description, weight=len):
        batch = [requests[index] for index in indices]
        replies.update(zip(indices, chat.answer(batch, sampling), strict=True))
    return [replies[index] for index in range(len(requests))]


class _AnswerBook(Protocol):
    """What `Journalled` needs of a journal."""

    def get(self, key: str) -> object | None: ...

    def put(self, key: str, value: object) -> None: ...


@final
class Journalled:
    """A chat model whose answers are written down before they are given out.

    The key of a batch holds the model's fingerprint, the sampling and all requests of the batch: a batch's replies are
    a function of exactly these, so an answer found is the answer that would be made.
    """

    def __init__(self, chat: ChatModel, journal: Journal) -> None:
        self._chat = chat
        self._journal: _AnswerBook = journal

    @property
    def name(self) -> str:
        """The model's name."""
        return self._chat.name

    @property
    def fingerprint(self) -> str:
        """The model's fingerprint."""
        return self._chat.fingerprint

    def plan(self, requests: Sequence[ChatRequest]) -> list[list[int]]:
        """The model's plan."""
        return self._chat.plan(requests)

    def answer(self, batch: Sequence[ChatRequest], sampling: Sampling) -> list[ChatReply]:
        """The replies from the journal, or the model's, committed before they are returned."""
        key = fingerprint(self._chat.fingerprint, sampling, list(batch))
        found = self._journal.get(key)
        if isinstance(found, list):
            return [ChatReply.model_validate(reply) for reply in found]
        replies = self._chat.answer(batch, sampling)
        self._journal.put(key, replies)
        return replies
