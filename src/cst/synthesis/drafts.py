"""A work list on its way to pairs: each prompt's transcript so far, or the reason why it fell out.

This file asks a model and applies gates for one step at a time; which steps make a pair is said elsewhere.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias

from cst.chat.asking import complete
from cst.chat.base import ChatModel, ChatReply, ChatRequest
from cst.records import Drop, Message, Prompt, ResponsePair, Sampling, Side, TranscriptStep
from cst.synthesis.gates import SideJudge, unfit, unfit_for_side


@dataclass(frozen=True)
class Draft:
    """One prompt and the steps it has been through."""

    prompt: Prompt
    transcript: tuple[TranscriptStep, ...] = ()

    def last(self, kind: str) -> TranscriptStep | None:
        """The last step of a kind (`original`, `critique`, `revised`), of whichever round."""
        return next((step for step in reversed(self.transcript) if kind_of(step.step) == kind), None)

    def text(self, kind: str) -> str:
        """What was said in the last step of a kind, or the empty string."""
        step = self.last(kind)
        return step.text if step else ""

    @property
    def answer(self) -> str:
        """The answer as it now stands: the last rewrite, or the original."""
        return self.text("revised") or self.text("original")


@dataclass(frozen=True)
class DraftRequest:
    """A draft's next conversation; the answer begins with `prefix`. `principle` names the one that it speaks of."""

    messages: tuple[Message, ...]
    prefix: str = ""
    principle: str | None = None


@dataclass(frozen=True)
class DraftStep:
    """What all drafts are asked next, and whom; `side` is the one that the answer is to show, if any."""

    name: str
    chat: ChatModel
    question: Callable[[Draft], DraftRequest]
    side: Side | None = None


@dataclass(frozen=True)
class Asking:
    """How answers are drawn, who judges them, and as what progress is told."""

    sampling: Sampling
    judge: SideJudge | None = None
    description: str = "synthesize"


Made: TypeAlias = tuple[list[ResponsePair], list[Drop]]


def step_name(kind: str, round_number: int) -> str:
    """The name of a step: its kind, from the second round on with the round's number."""
    return kind if round_number == 1 else f"{kind}_{round_number}"


def kind_of(step: str) -> str:
    """The kind of a step, without its round."""
    return step.partition("_")[0]


def make_pairs(drafts: Sequence[Draft], steps: Sequence[DraftStep], asking: Asking, method: str) -> Made:
    """Take drafts through all steps; each ends in a pair or as a drop."""
    drops: list[Drop] = []
    for step in steps:
        drafts, fallen = ask(drafts, step, asking)
        drops += fallen
    names = ", ".join(dict.fromkeys(step.chat.name for step in steps))
    pairs, same = to_pairs(drafts, f"{method} by {names}")
    return pairs, [*drops, *same]


def ask(drafts: Sequence[Draft], step: DraftStep, asking: Asking) -> tuple[list[Draft], list[Drop]]:
    """Ask one step of all drafts; those whose reply is unfit, or isn't on the wanted side, fall out with a reason.

    A draft whose prompt brings its original isn't asked for one.
    """
    questions = [None if _is_given(draft, step) else step.question(draft) for draft in drafts]
    replies = _replies(drafts, questions, step, asking)
    answered = [_answered(*parts, step) for parts in zip(drafts, questions, replies, strict=True)]
    reasons = [unfit(reply, step.name) for reply in replies]
    if asking.judge is not None and step.side is not None:
        seen = asking.judge([(draft.prompt, reply.text) for draft, reply in zip(drafts, replies, strict=True)])
        reasons = [reason or unfit_for_side(shown, step.side) for reason, shown in zip(reasons, seen, strict=True)]
    return _sorted_out(answered, reasons)


def _is_given(draft: Draft, step: DraftStep) -> bool:
    return step.name == "original" and draft.prompt.original is not None


def _replies(
    drafts: Sequence[Draft], questions: Sequence[DraftRequest | None], step: DraftStep, asking: Asking
) -> list[ChatReply]:
    requests = [
        ChatRequest(id=f"{step.name}/{draft.prompt.id}", messages=question.messages, prefix=question.prefix)
        for draft, question in zip(drafts, questions, strict=True)
        if question is not None
    ]
    asked = iter(complete(step.chat, requests, asking.sampling, description=f"{asking.description}: {step.name}"))
    return [_given(draft) if q is None else next(asked) for draft, q in zip(drafts, questions, strict=True)]


def _given(draft: Draft) -> ChatReply:
    text = draft.prompt.original or ""
    return ChatReply(text=text, finish_reason="stop", prompt_tokens=None, completion_tokens=None)


def _answered(draft: Draft, question: DraftRequest | None, reply: ChatReply, step: DraftStep) -> Draft:
    """The draft with one step more."""
    done = TranscriptStep(step=step.name, text=reply.text, finish_reason=reply.finish_reason)
    if question is not None:
        first, last = question.messages[0], question.messages[-1]
        system_prompt = first.content if first.role == "system" else None
        asked = {"model": step.chat.name, "principle": question.principle, "system_prompt": system_prompt}
        done = done.model_copy(update={**asked, "request": last.content})
    return replace(draft, transcript=(*draft.transcript, done))


def _sorted_out(drafts: Sequence[Draft], reasons: Iterable[str | None]) -> tuple[list[Draft], list[Drop]]:
    kept: list[Draft] = []
    drops: list[Drop] = []
    for draft, reason in zip(drafts, reasons, strict=True):
        if reason is None:
            kept.append(draft)
        else:
            drops.append(_drop(draft, reason))
    return kept, drops


def _drop(draft: Draft, reason: str) -> Drop:
    return Drop(
        prompt_id=draft.prompt.id,
        task=draft.prompt.task,
        reason=reason,
        original=draft.text("original"),
        critique=draft.text("critique"),
        revised=draft.text("revised"),
    )


def to_pairs(drafts: Sequence[Draft], author: str) -> Made:
    """Finished drafts as pairs; a pair whose sides are the same text says nothing and falls out."""
    reasons = ["original_equals_revised" if d.text("original") == d.text("revised") else None for d in drafts]
    kept, drops = _sorted_out(drafts, reasons)
    return [_pair(draft, author) for draft in kept], drops


def _pair(draft: Draft, author: str) -> ResponsePair:
    original, revised = draft.last("original"), draft.last("revised")
    assert original is not None
    assert revised is not None
    return ResponsePair(
        prompt=draft.prompt,
        original=original.text,
        critique=draft.text("critique") or None,
        revised=revised.text,
        author=author,
        original_finish_reason=original.finish_reason,
        revised_finish_reason=revised.finish_reason,
        transcript=draft.transcript,
    )
