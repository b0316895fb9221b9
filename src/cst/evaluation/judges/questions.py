"""A candidate and a rubric to one question, framed by a nonce that no text in it holds.

This file knows no model, and not how a reply is read.
"""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import count

from cst.chat.base import ChatRequest
from cst.evaluation.judges.base import Candidate
from cst.evaluation.judges.folding import fold
from cst.evaluation.judges.neutral import fences, neutralise
from cst.evaluation.judges.rubric import Rubric
from cst.records import Message, Prompt
from cst.store import fingerprint
from cst.texts import fill

NONCE_LENGTH = 8
"""Hexadecimal digits. A guess can't hit: a nonce that stands in the candidate is not used."""

NO_SYSTEM_PROMPT = "(none)"


@dataclass(frozen=True)
class Question:
    """What a judge is asked of one candidate by one rubric."""

    rubric: Rubric
    nonce: str
    request: ChatRequest


def question(rubric: Rubric, candidate: Candidate, *, seed: int, leads: bool = False) -> Question:
    """The question; a function of its arguments alone, so that a resumed run asks the same.

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
    return Question(rubric, nonce, request)


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
