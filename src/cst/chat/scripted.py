"""A chat model that answers from a function: for tests, and for trying a pipeline without weights."""

from collections.abc import Callable, Sequence
from typing import final

from cst.chat.base import ChatReply, ChatRequest
from cst.chat.pace import Pace
from cst.records import Sampling


@final
class ScriptedChat:
    """Answers each request with `script(request)`; counts tokens as words; notes what it was asked in `asked`.

    With a pace that allows several units at once, the script is called from several threads.
    """

    def __init__(
        self,
        script: Callable[[ChatRequest], str],
        *,
        name: str = "scripted",
        batch_size: int = 4,
        pace: Pace | None = None,
    ) -> None:
        self._script = script
        self._batch_size = batch_size
        self.name = name
        self.fingerprint = f"scripted:{name}"
        self.pace = pace or Pace()
        self.asked: list[ChatRequest] = []

    def plan(self, requests: Sequence[ChatRequest]) -> list[list[int]]:
        """Units in the order of the requests."""
        size = self._batch_size
        return [list(range(start, min(start + size, len(requests)))) for start in range(0, len(requests), size)]

    def answer(self, unit: Sequence[ChatRequest], sampling: Sampling) -> list[ChatReply]:
        """The script's answers, cut to `max_new_tokens` words."""
        self.asked.extend(unit)
        return [self._reply(request, sampling) for request in unit]

    def _reply(self, request: ChatRequest, sampling: Sampling) -> ChatReply:
        words = self._script(request).split(" ")
        kept = words[: sampling.max_new_tokens]
        return ChatReply(
            text=request.prefix + " ".join(kept),
            finish_reason="stop" if len(kept) == len(words) else "length",
            prompt_tokens=sum(len(message.content.split(" ")) for message in request.messages),
            completion_tokens=len(kept),
        )
