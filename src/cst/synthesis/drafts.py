"""A work list on its way to pairs: each prompt's transcript so far, or the reason why it fell out.

This file asks a model and applies gates for one step at a time; which steps make a pair is said elsewhere.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import TypeAlias

from cst.chat.base import ChatModel, ChatReply, ChatRequest
from cst.chat.complete import complete
from cst.records import Drop, Message, Prompt, ResponsePair, Sampling, Side
from cst.synthesis.gates import SideJudge, unfit, unfit_for_side


@dataclass(frozen=True)
class Draft:
    """One prompt and the replies it has had, by step name (`original`, `critique`, `revised`)."""

    prompt: Prompt
    replies: dict[str, ChatReply] = field(default_factory=dict[str, ChatReply])

    def text(self, step: str) -> str:
        """The reply of a step, or the empty string."""
        return self.replies[step].text if step in self.replies else ""


@dataclass(frozen=True)
class Asking:
    """Who is asked, how answers are drawn, and who judges them."""

    chat: ChatModel
    sampling: Sampling
    judge: SideJudge | None


ToRequest: TypeAlias = Callable[[Draft], tuple[tuple[Message, ...], str]]
"""A draft's next conversation, and the prefix of its answer."""


def ask(
    drafts: Sequence[Draft], step: str, to_request: ToRequest, asking: Asking, side: Side | None = None
) -> tuple[list[Draft], list[Drop]]:
    """Ask one step of all drafts; those whose reply is unfit, or isn't on the wanted side, fall out with a reason."""
    requests = [_request(draft, step, to_request) for draft in drafts]
    replies = complete(asking.chat, requests, asking.sampling, description=f"synthesize: {step}")
    answered = [
        replace(draft, replies={**draft.replies, step: reply}) for draft, reply in zip(drafts, replies, strict=True)
    ]
    reasons = [unfit(draft.replies[step], step) for draft in answered]
    if asking.judge is not None and side is not None:
        seen = asking.judge([(draft.prompt, draft.text(step)) for draft in answered])
        reasons = [reason or unfit_for_side(shown, side) for reason, shown in zip(reasons, seen, strict=True)]
    return _sorted_out(answered, reasons)


def _request(draft: Draft, step: str, to_request: ToRequest) -> ChatRequest:
    messages, prefix = to_request(draft)
    return ChatRequest(id=f"{step}/{draft.prompt.id}", messages=messages, prefix=prefix)


def _sorted_out(drafts: Sequence[Draft], reasons: Sequence[str | None]) -> tuple[list[Draft], list[Drop]]:
    kept = [draft for draft, reason in zip(drafts, reasons, strict=True) if reason is None]
    return kept, [_drop(draft, reason) for draft, reason in zip(drafts, reasons, strict=True) if reason is not None]


def _drop(draft: Draft, reason: str) -> Drop:
    return Drop(
        prompt_id=draft.prompt.id,
        task=draft.prompt.task,
        reason=reason,
        original=draft.text("original"),
        critique=draft.text("critique"),
        revised=draft.text("revised"),
    )


def to_pairs(drafts: Sequence[Draft], author: str) -> tuple[list[ResponsePair], list[Drop]]:
    """Finished drafts as pairs; a pair whose sides are the same text says nothing and falls out."""
    reasons = ["original_equals_revised" if d.text("original") == d.text("revised") else None for d in drafts]
    kept, drops = _sorted_out(drafts, reasons)
    return [_pair(draft, author) for draft in kept], drops


def _pair(draft: Draft, author: str) -> ResponsePair:
    return ResponsePair(
        prompt=draft.prompt,
        original=draft.text("original"),
        critique=draft.text("critique") or None,
        revised=draft.text("revised"),
        author=author,
        original_finish_reason=draft.replies["original"].finish_reason,
        revised_finish_reason=draft.replies["revised"].finish_reason,
    )
