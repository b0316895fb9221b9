"""Why a pair is dropped: each reason has a name, and is counted in the stage's summary.

A gate sees text and finish reasons; it knows neither the model nor how the text came about. What counts as the original
or the revised side is said by a judge that is passed in.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from cst.chat.base import ChatReply
from cst.near_duplicates import Numbered, near_duplicate_groups, nearest_known
from cst.recipe.synthesis import GateSettings
from cst.records import Drop, FinishReason, Prompt, Record, ResponsePair, Side
from cst.texts import has_persona_artefact, is_cut, likeness, refusal_phrase, speaks_of_revision, text_of_turns

SideJudge: TypeAlias = Callable[[Sequence[tuple[Prompt, str]]], list[Side | None]]
"""Which side each answer shows, or None where it can't be told."""


class SynthesisSummary(Record):
    """What came of the prompts of one task: `prompts` = `pairs` + the sum of `drops`."""

    task: str
    prompts: int
    pairs: int
    drops: dict[str, int]


Gate: TypeAlias = Callable[[ResponsePair], str | None]
"""A user's own gate: from a pair to the reason for which it is dropped, or None."""


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


def faults_of_pair(
    prompt: str,
    original: str,
    revised: str,
    settings: GateSettings,
    *,
    original_finish_reason: FinishReason | None = "stop",
    revised_finish_reason: FinishReason | None = "stop",
) -> list[str]:
    """All reasons for which a pair is to be dropped, in the order of the settings; none for a sound pair.

    A finish reason is None where an answer was given and not asked for: then its end tells whether it was cut.
    """
    sides: tuple[tuple[str, str, FinishReason | None], ...] = (
        ("original", original, original_finish_reason),
        ("revised", revised, revised_finish_reason),
    )
    found = {
        "original_begins_as_refusal": settings.refused_originals and refusal_phrase(original) is not None,
        "revised_speaks_of_revision": settings.leaking_revisions and speaks_of_revision(revised, prompt),
        **{
            f"{side}_bears_persona_marks": settings.persona_artefacts and has_persona_artefact(text)
            for side, text, _ in sides
        },
        **{f"{side}_cut_by_length_limit": settings.cut_answers and is_cut(text, end) for side, text, end in sides},
        "original_nearly_equals_revised": _are_alike(original, revised, settings.nearly_equal),
    }
    return [reason for reason, is_there in found.items() if is_there]


def _are_alike(first: str, second: str, threshold: float | None) -> bool:
    return threshold is not None and likeness(first, second) >= threshold


def sound_pairs(
    pairs: Sequence[ResponsePair], settings: GateSettings, own: Sequence[Gate] = ()
) -> tuple[list[ResponsePair], list[Drop]]:
    """The pairs without a fault, and the others as drops, each for the first of its faults; `own` gates come last."""
    reasons = [
        faults_of_pair(
            pair.prompt.text,
            pair.original,
            pair.revised,
            settings,
            original_finish_reason=None if pair.prompt.original is not None else pair.original_finish_reason,
            revised_finish_reason=pair.revised_finish_reason,
        )
        or [reason for gate in own if (reason := gate(pair))]
        for pair in pairs
    ]
    drops = [_drop(pair, found[0]) for pair, found in zip(pairs, reasons, strict=True) if found]
    return [pair for pair, found in zip(pairs, reasons, strict=True) if not found], drops


def _drop(pair: ResponsePair, reason: str) -> Drop:
    return Drop(
        prompt_id=pair.prompt.id,
        task=pair.prompt.task,
        reason=reason,
        original=pair.original,
        critique=pair.critique or "",
        revised=pair.revised,
    )


def faults_of_set(prompts: Numbered[Prompt], held_out: Sequence[Prompt], settings: GateSettings) -> dict[int, str]:
    """The indices of prompts that are not to be asked, and why: close to a held-out prompt, or to an earlier prompt.

    Prompts of another task, or with another system prompt, ask for something else and are no near-duplicates. None is
    held: see `near_duplicate_groups`.
    """
    texts = _Texts(prompts)
    found: dict[int, str] = {}
    if settings.near_duplicates is not None:
        groups = near_duplicate_groups(texts, threshold=settings.near_duplicates)
        found = dict.fromkeys(_later(groups, prompts), "prompt_near_an_earlier_prompt")
    if settings.close_to_held_out is not None and held_out:
        known = [text_of_turns(prompt) for prompt in held_out]
        for index, near in enumerate(nearest_known(texts, known, threshold=settings.close_to_held_out)):
            if near is not None:
                found[index] = "prompt_near_a_held_out_prompt"
    return dict(sorted(found.items()))


def _later(groups: Sequence[int], prompts: Numbered[Prompt]) -> Iterator[int]:
    """The indices of prompts that have an earlier one of their task and system prompt in their group."""
    shared = {group for index, group in enumerate(groups) if group != index}
    seen: set[tuple[int, str, str | None]] = set()
    for index, group in enumerate(groups):
        if group in shared:
            prompt = prompts[index]
            key = (group, prompt.task, prompt.system_prompt)
            if key in seen:
                yield index
            seen.add(key)


@dataclass(frozen=True)
class _Texts:
    """What prompts ask, one text a prompt, made when it is looked at."""

    prompts: Numbered[Prompt]

    def __iter__(self) -> Iterator[str]:
        return map(text_of_turns, self.prompts)

    def __getitem__(self, number: int, /) -> str:
        return text_of_turns(self.prompts[number])


def summarize(pairs: Sequence[ResponsePair], drops: Sequence[Drop]) -> list[SynthesisSummary]:
    """Counts a task, tasks and reasons in alphabetical order."""
    tasks = sorted({pair.prompt.task for pair in pairs} | {drop.task for drop in drops})
    return [_summary(task, pairs, drops) for task in tasks]


def _summary(task: str, pairs: Sequence[ResponsePair], drops: Sequence[Drop]) -> SynthesisSummary:
    made = sum(pair.prompt.task == task for pair in pairs)
    reasons = Counter(drop.reason for drop in drops if drop.task == task)
    return SynthesisSummary(task=task, prompts=made + reasons.total(), pairs=made, drops=dict(sorted(reasons.items())))
