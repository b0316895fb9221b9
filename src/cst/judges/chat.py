"""A chat model as judge: one prompt for each candidate and rubric, and the reading of its reply.

This file knows how a verdict is asked for and found. It does not know which chat model answers, or what a rubric asks.
"""

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import count
from typing import Literal, final

from cst.chat.asking import complete
from cst.chat.base import ChatModel, ChatReply, ChatRequest
from cst.errors import ModelError
from cst.judges import REFUSED, Candidate, Opinion
from cst.judges.neutralising import fences, fold, needs_its_own_line, neutralise
from cst.judges.rubric import Rubric
from cst.records import FinishReason, Message, Prompt, Sampling, Side, Vote
from cst.store import fingerprint
from cst.texts import fill, refusal_phrase

NONCE_LENGTH = 8
"""Hexadecimal digits. An answer can't guess it: a nonce that stands in the candidate is not used."""

NO_SYSTEM_PROMPT = "(none)"

LONGEST_QUOTE = 120
"""Characters of a reply that an explanation repeats."""

DEFAULT_SAMPLING = Sampling(max_new_tokens=1024)

_UNFINISHED: dict[FinishReason, str] = {
    "length": "the reply was cut by the token limit; raise judge.max_new_tokens",
    "content_filter": "the reply was withheld by the server's content filter",
}


@dataclass(frozen=True)
class JudgePrompt:
    """What a judge is asked of one candidate by one rubric."""

    rubric: Rubric
    nonce: str
    request: ChatRequest


def judge_prompt(rubric: Rubric, candidate: Candidate, *, seed: int, leads: bool = False) -> JudgePrompt:
    """The prompt for one candidate and rubric; it depends on the arguments alone, so a resumed run asks the same.

    With `leads` the reply is made to begin with all of a verdict but its label.
    """
    identity = fingerprint("question/1", seed, rubric, candidate)
    nonce = nonce_of(identity, candidate)
    text = fill(rubric.template, {**_shown(rubric, candidate), "nonce": nonce})
    system = () if rubric.system_prompt is None else (Message(role="system", content=rubric.system_prompt),)
    request = ChatRequest(
        id=f"judge/{rubric.name}/{candidate.prompt.id}/{identity[:16]}",
        messages=(*system, Message(role="user", content=text)),
        prefix=f"VERDICT {nonce}: " if leads and rubric.is_framed else "",
    )
    return JudgePrompt(rubric, nonce, request)


def _shown(rubric: Rubric, candidate: Candidate) -> dict[str, str]:
    """The values of the placeholders, neutralised piece by piece."""
    own = fences(rubric.template)

    def harmless(text: str) -> str:
        return neutralise(text, labels=list(rubric.labels), fences=own)

    answer, prompt = harmless(candidate.text), _conversation(candidate.prompt, harmless)
    system_prompt = harmless(candidate.prompt.system_prompt or NO_SYSTEM_PROMPT)
    return {"prompt": prompt, "question": prompt, "answer": answer, "response": answer, "system_prompt": system_prompt}


def _conversation(prompt: Prompt, harmless: Callable[[str], str]) -> str:
    """What was asked; where turns came before it, all of them under their roles."""
    if not prompt.history:
        return harmless(prompt.text)
    return "\n\n".join(f"{turn.role.title()}:\n{harmless(turn.content)}" for turn in prompt.turns)


def nonce_of(identity: str, candidate: Candidate) -> str:
    """The first nonce of a stream that `identity` decides which the candidate doesn't hold, however disguised."""
    prompt = candidate.prompt
    texts = (candidate.text, prompt.system_prompt or "", *(turn.content for turn in prompt.turns))
    held = "\n".join("".join(fold(text).text.casefold().split()) for text in texts)
    nonces = (fingerprint(identity, number)[:NONCE_LENGTH] for number in count())
    return next(nonce for nonce in nonces if nonce not in held)


def written_verdict(asked: JudgePrompt, reply: ChatReply) -> Vote:
    """The side that a reply names."""
    if fault := _UNFINISHED.get(reply.finish_reason):
        return _vote(asked, None, fault)
    label = last_label(reply.text, asked.rubric, asked.nonce)
    if label is not None:
        return _vote(asked, asked.rubric.labels[label], f"says {label}")
    if refusal_phrase(reply.text):
        return _vote(asked, None, f"{REFUSED}: {reply.text[:LONGEST_QUOTE]!r}")
    return _vote(asked, None, f"no verdict in the form asked for; the reply ends {reply.text[-LONGEST_QUOTE:]!r}")


def last_label(text: str, rubric: Rubric, nonce: str) -> str | None:
    """The label of the last well-formed verdict in a text, or None where there is none.

    Well-formed is, for a rubric with a nonce: the nonce, at most 8 signs or blanks, a label. For another: a label in
    brackets or other signs anywhere, one that is a word or very short on a line of its own.
    """
    forms = [
        rf"^[^\w\n]*({re.escape(label)})[^\w\n]*$" if needs_its_own_line(label) else f"({re.escape(label)})"
        for label in rubric.labels
    ]
    framed = rf"{nonce}\W{{0,8}}({'|'.join(map(re.escape, rubric.labels))})(?!\w)"
    matches = re.finditer(framed if rubric.is_framed else "|".join(forms), text, re.MULTILINE)
    found = [match[match.lastindex or 0] for match in matches]
    return found[-1] if found else None


def likeliest_verdict(asked: JudgePrompt, reply: ChatReply, *, margin: float) -> Vote:
    """The side whose labels are likeliest together, among the labels offered; `score` is the revised side's share.

    Where labels that name no side are likeliest, or the sides' shares differ by no more than `margin`, it is unscored.

    Raises:
        ModelError: The reply doesn't have a log-prob of each label.
    """
    labels, logps = asked.rubric.labels, reply.logprobs
    if logps is None or len(logps) != len(labels):
        raise ModelError(
            f"The reply to {asked.request.id} has no log-prob of each of the labels {list(labels)}. Read the "
            "judge's text (judge.read=text), or ask a LabelChat."
        )
    weights = [math.exp(logp - max(logps)) for logp in logps]
    shares: dict[Side | None, float] = dict.fromkeys((*Side, None), 0.0)
    for side, weight in zip(labels.values(), weights, strict=True):
        shares[side] += weight / sum(weights)
    original, revised = shares[Side.ORIGINAL], shares[Side.REVISED]
    told = f"p(original) = {original:.3f}, p(revised) = {revised:.3f}"
    is_close = abs(original - revised) <= margin
    side = None if is_close else max(shares, key=lambda side: shares[side])
    return _vote(asked, side, told, score=revised)


def _vote(asked: JudgePrompt, side: Side | None, explanation: str, *, score: float | None = None) -> Vote:
    return Vote(judge=asked.rubric.name, exhibits=side, score=score, explanation=explanation)


@final
class ChatJudge:
    """A judge that asks a chat model, `rubrics` naming those of each task; several must name the same side.

    `chat_of` gives the model that a rubric is asked of. With `read="logits"` that is a `LabelChat` of the rubric's
    labels, and verdicts of sides whose probabilities differ by no more than `margin` are unscored. An answer that is
    empty, or of a task without rubric, is unscored and not asked about.
    """

    def __init__(
        self,
        name: str,
        rubrics: Mapping[str, Sequence[Rubric]],
        chat_of: Callable[[Rubric], ChatModel],
        *,
        sampling: Sampling = DEFAULT_SAMPLING,
        read: Literal["text", "logits"] = "text",
        margin: float = 0.0,
    ) -> None:
        self.name = name
        self._rubrics = rubrics
        self._chat_of = chat_of
        self._sampling = sampling
        self._reads_logits = read == "logits"
        self._margin = margin

    def opinions(self, candidates: Sequence[Candidate]) -> list[Opinion]:
        """Ask every prompt once, rubric by rubric.

        Raises:
            BudgetError: A prompt might pass the budget.
            EndpointError: A prompt isn't answered.
        """
        asked = [self._prompts(candidate) for candidate in candidates]
        replies = self._replies({each.request.id: each for prompts in asked for each in prompts})
        votes = [[self._read(each, replies[each.request.id]) for each in prompts] for prompts in asked]
        return [together(found) if found else _not_asked(each) for each, found in zip(candidates, votes, strict=True)]

    def _prompts(self, candidate: Candidate) -> list[JudgePrompt]:
        if not candidate.text.strip():
            return []
        seed, rubrics = self._sampling.seed, self._rubrics.get(candidate.prompt.task, ())
        if candidate.prompt.system_prompt is None:  # of several, one about a persona has nothing to ask then
            rubrics = [rubric for rubric in rubrics if not rubric.needs_system_prompt] or rubrics
        return [judge_prompt(rubric, candidate, seed=seed, leads=self._reads_logits) for rubric in rubrics]

    def _replies(self, prompts: Mapping[str, JudgePrompt]) -> dict[str, ChatReply]:
        by_rubric: dict[str, list[JudgePrompt]] = {}
        for asked in prompts.values():
            by_rubric.setdefault(asked.rubric.name, []).append(asked)
        replies: dict[str, ChatReply] = {}
        for name, group in by_rubric.items():
            requests = [asked.request for asked in group]
            chat = self._chat_of(group[0].rubric)
            found = complete(chat, requests, self._sampling, description=f"judge {name} by {self.name}")
            replies |= {request.id: reply for request, reply in zip(requests, found, strict=True)}
        return replies

    def _read(self, asked: JudgePrompt, reply: ChatReply) -> Vote:
        return (
            likeliest_verdict(asked, reply, margin=self._margin)
            if self._reads_logits
            else written_verdict(asked, reply)
        )


def together(votes: Sequence[Vote]) -> Opinion:
    """The side that all rubrics name; unscored where one names none, or two differ. Several are kept as votes."""
    told = "; ".join(f"{vote.judge}: {vote.explanation}" for vote in votes)
    if len(votes) == 1:
        return Opinion(exhibits=votes[0].exhibits, explanation=told, score=votes[0].score)
    sides = {vote.exhibits for vote in votes}
    side = votes[0].exhibits if len(sides) == 1 else None
    why = "the rubrics name different sides: " if len(sides - {None}) > 1 else ""
    return Opinion(exhibits=side, explanation=why + told, votes=tuple(votes))


def _not_asked(candidate: Candidate) -> Opinion:
    no_rubric = f"no rubric for task {candidate.prompt.task}; name one in judge.rubrics"
    return Opinion(exhibits=None, explanation=no_rubric if candidate.text.strip() else "empty answer")
