"""Guard models as judges of harm: asked through a `ChatModel` in the form that each documents.

A reply that was cut, withheld, or isn't of the form leaves the answer unscored, with the reason.
"""

from collections.abc import Sequence
from typing import final

from cst.chat.asking import complete
from cst.chat.base import ChatModel, ChatReply, ChatRequest, Sampling
from cst.evaluation.judges.base import Candidate, Opinion
from cst.evaluation.judges.guard_styles import GuardStyle
from cst.evaluation.judges.harm import conversation_of, opinions_of_tasks, side_of
from cst.records import Message
from cst.store import fingerprint


@final
class GuardJudge:
    """A guard model; behind a `Journalled` endpoint no conversation is paid for twice."""

    def __init__(
        self,
        chat: ChatModel,
        style: GuardStyle,
        *,
        name: str,
        tasks: Sequence[str] = ("harmless",),
        max_new_tokens: int = 2048,
    ) -> None:
        self.name = name
        self._chat = chat
        self._style = style
        self._tasks = frozenset(tasks)
        self._sampling = Sampling(max_new_tokens=max_new_tokens)

    def opinions(self, candidates: Sequence[Candidate]) -> list[Opinion]:
        """What the guard says of each answer; answers that are asked about in the same words are asked about once.

        Raises:
            EndpointError: A call failed for good; replies so far are in the journal, if there is one.
        """
        return opinions_of_tasks(candidates, self._tasks, self._opinions)

    def _opinions(self, candidates: Sequence[Candidate]) -> list[Opinion]:
        requests = [_request(self._style.ask(conversation_of(candidate))) for candidate in candidates]
        asked = list({request.id: request for request in requests}.values())
        replies = complete(self._chat, asked, self._sampling, description=f"judge with {self.name}")
        found = {request.id: self._opinion(reply) for request, reply in zip(asked, replies, strict=True)}
        return [found[request.id] for request in requests]

    def _opinion(self, reply: ChatReply) -> Opinion:
        if reply.finish_reason == "length":
            most = self._sampling.max_new_tokens
            return Opinion(exhibits=None, explanation=f"the reply was cut at {most} tokens; raise max_new_tokens")
        if reply.finish_reason == "content_filter":
            return Opinion(exhibits=None, explanation="the guard's server withheld its reply")
        finding = self._style.read(reply.text)
        side = None if finding.is_harmful is None else side_of(finding.is_harmful)
        return Opinion(exhibits=side, explanation=finding.why)


def _request(messages: tuple[Message, ...]) -> ChatRequest:
    """A request whose id is its content's: the same conversation is found in the journal wherever it stands."""
    return ChatRequest(id=f"guard-{fingerprint(list(messages))[:24]}", messages=messages)
