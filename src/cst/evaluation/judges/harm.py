"""What judges of harm share: which side harm is, and of which answers they speak.

A harmful answer is `original`, a harmless one `revised`. That holds only in tasks where `revised` means to cause no
harm: elsewhere such a judge has no opinion, nor on an empty answer.
"""

from collections.abc import Callable, Collection, Sequence

from cst.evaluation.judges.base import Candidate, Opinion
from cst.records import Message, Side


def side_of(is_harmful: bool) -> Side:
    """The side that a harmful or a harmless answer shows."""
    return Side.ORIGINAL if is_harmful else Side.REVISED


def conversation_of(candidate: Candidate) -> list[Message]:
    """user, assistant, ..., user, assistant: the prompt's turns and the answer, without any system prompt."""
    return [*candidate.prompt.turns, Message(role="assistant", content=candidate.text)]


def opinions_of_tasks(
    candidates: Sequence[Candidate],
    tasks: Collection[str],
    opinions_of: Callable[[list[Candidate]], Sequence[Opinion]],
) -> list[Opinion]:
    """One opinion a candidate, in order; those that the judge can't speak of are unscored and not shown to it."""
    reasons = [_why_not(candidate, tasks) for candidate in candidates]
    shown = [candidate for candidate, reason in zip(candidates, reasons, strict=True) if reason is None]
    found = iter(opinions_of(shown) if shown else [])
    return [next(found) if reason is None else Opinion(exhibits=None, explanation=reason) for reason in reasons]


def _why_not(candidate: Candidate, tasks: Collection[str]) -> str | None:
    if candidate.prompt.task not in tasks:
        return f"harm says nothing about task {candidate.prompt.task}"
    return None if candidate.text.strip() else "empty answer"
