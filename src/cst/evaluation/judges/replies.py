"""A judge's reply to a side: from the verdict that it wrote, or from how likely each offered label was.

The last well-formed verdict among those offered counts. A reply without one, or one that is cut, withheld or refused,
is unscored, with the reason. This file knows no model.
"""

import math
import re

from cst.chat.base import ChatReply
from cst.errors import ModelError
from cst.evaluation.judges.base import REFUSED
from cst.evaluation.judges.neutral import needs_its_own_line
from cst.evaluation.judges.questions import Question
from cst.evaluation.judges.rubric import Rubric
from cst.records import FinishReason, Side, Vote
from cst.texts import refusal_phrase

LONGEST_QUOTE = 120
"""Characters of a reply's end that an explanation repeats."""

_UNFINISHED: dict[FinishReason, str] = {
    "length": "the reply was cut by the token limit; raise judge.max_new_tokens",
    "content_filter": "the reply was withheld by the server's content filter",
}


def written_verdict(question: Question, reply: ChatReply) -> Vote:
    """The side that a reply names."""
    fault = _UNFINISHED.get(reply.finish_reason)
    label = last_label(reply.text, question.rubric, question.nonce)
    if fault is None and label is not None:
        return _vote(question, question.rubric.labels[label], f"says {label}")
    return _vote(question, None, fault or _why_none(reply.text))


def last_label(text: str, rubric: Rubric, nonce: str) -> str | None:
    """The label of the last well-formed verdict in a text, or None where there is none.

    Well-formed is, for a rubric with a nonce: the nonce, at most 8 signs or blanks, a label. For another: a label in
    brackets or other signs anywhere, one that is a word or very short on a line of its own.
    """
    found = [match[match.lastindex or 0] for match in _verdicts(rubric, nonce).finditer(text)]
    return found[-1] if found else None


def _verdicts(rubric: Rubric, nonce: str) -> re.Pattern[str]:
    if rubric.is_framed:
        return re.compile(rf"{nonce}\W{{0,8}}({'|'.join(map(re.escape, rubric.labels))})(?!\w)")
    forms = [
        rf"^[^\w\n]*({re.escape(label)})[^\w\n]*$" if needs_its_own_line(label) else f"({re.escape(label)})"
        for label in rubric.labels
    ]
    return re.compile("|".join(forms), re.MULTILINE)


def _why_none(text: str) -> str:
    if refusal_phrase(text):
        return f"{REFUSED}: {text[:LONGEST_QUOTE]!r}"
    return f"no verdict in the form asked for; the reply ends {text[-LONGEST_QUOTE:]!r}"


def likeliest_verdict(question: Question, reply: ChatReply, *, margin: float) -> Vote:
    """The side whose labels are likeliest together, among the labels offered; `score` is the revised side's share.

    Where labels that name no side are likeliest, or the sides' shares differ by no more than `margin`, it is unscored.

    Raises:
        ModelError: The reply doesn't have a log-prob of each label.
    """
    labels, logps = question.rubric.labels, reply.logprobs
    if logps is None or len(logps) != len(labels):
        raise ModelError(
            f"The reply to {question.request.id} has no log-prob of each of the labels {list(labels)}. Read the "
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
    return _vote(question, side, told, score=revised)


def _vote(question: Question, side: Side | None, explanation: str, *, score: float | None = None) -> Vote:
    return Vote(judge=question.rubric.name, exhibits=side, score=score, explanation=explanation)
