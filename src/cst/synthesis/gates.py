"""Why a pair is dropped: each reason has a name, and is counted in the stage's summary.

A gate sees text and finish reasons; it knows neither the model nor how the text came about. What counts as the original
or the revised side is said by a judge that is passed in.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from typing import TypeAlias

from cst.chat.base import ChatReply
from cst.records import Drop, Prompt, Record, ResponsePair, Side

SideJudge: TypeAlias = Callable[[Sequence[tuple[Prompt, str]]], list[Side | None]]
"""Which side each answer shows, or None where it can't be told."""


class SynthesisSummary(Record):
    """What came of the prompts of one task: `prompts` = `pairs` + the sum of `drops`."""

    task: str
    prompts: int
    pairs: int
    drops: dict[str, int]


def unfit(reply: ChatReply, what: str) -> str | None:
    """The reason why a reply can't be used at all, or None."""
    if reply.finish_reason == "content_filter":
        return f"{what}_withheld_by_content_filter"
    if not reply.text.strip():
        return f"{what}_empty"
    if reply.finish_reason == "length":
        return f"{what}_cut_by_length_limit"
    return None


def unfit_for_side(seen: Side | None, wanted: Side) -> str | None:
    """The reason why an answer can't stand on a side, by what the judge saw in it, or None."""
    if seen is wanted:
        return None
    return f"{wanted.value}_not_told_by_judge" if seen is None else f"{wanted.value}_shows_the_{seen.value}_side"


def summarize(pairs: Sequence[ResponsePair], drops: Sequence[Drop]) -> list[SynthesisSummary]:
    """Counts a task, tasks and reasons in alphabetical order."""
    tasks = sorted({pair.prompt.task for pair in pairs} | {drop.task for drop in drops})
    return [_summary(task, pairs, drops) for task in tasks]


def _summary(task: str, pairs: Sequence[ResponsePair], drops: Sequence[Drop]) -> SynthesisSummary:
    made = sum(pair.prompt.task == task for pair in pairs)
    reasons = Counter(drop.reason for drop in drops if drop.task == task)
    return SynthesisSummary(task=task, prompts=made + reasons.total(), pairs=made, drops=dict(sorted(reasons.items())))
