"""Held-out preference rows as prompts to be answered: questions, without the configurations that rows stand under."""

from collections import Counter
from collections.abc import Iterable, Sequence

from cst.near_duplicates import near_duplicate_groups
from cst.records import Preference, Prompt, SafetyConfiguration
from cst.texts import text_of_turns

NEAR = "near_duplicate"
"""The grouping of prompts that say nearly the same; a group is called after its first prompt."""


def prompts_of(rows: Iterable[Preference], configurations: Sequence[SafetyConfiguration]) -> list[Prompt]:
    """What rows ask, each question once, in the order of its first rows; a prompt has the id of its first row.

    A prompt brings a system prompt of its own only where some configuration has no wordings for its task: then one
    that is no configuration's wording, and the question stands once under each such. Prompts that say nearly the same
    name their group, which widens the intervals.
    """
    wordings = {text for c in configurations for text in (*c.wordings, *c.held_out_wordings, *c.unseen_wordings)}
    bring_their_own = {task for c in configurations if not c.wordings for task in c.tasks}
    found: dict[tuple[str, str], dict[str | None, Prompt]] = {}
    for row in rows:
        is_own = row.task in bring_their_own and row.system_prompt not in wordings
        own = (row.system_prompt or None) if is_own else None
        found.setdefault((row.task, text_of_turns(row)), {}).setdefault(own, _prompt(row, own))
    return _grouped(
        [prompt for under in found.values() for own, prompt in under.items() if own is not None or len(under) == 1]
    )


def _grouped(prompts: Sequence[Prompt]) -> list[Prompt]:
    firsts = near_duplicate_groups([text_of_turns(prompt) for prompt in prompts])
    several = {first for first, size in Counter(firsts).items() if size > 1}
    return [
        prompt.model_copy(update={"groups": {NEAR: prompts[first].id}}) if first in several else prompt
        for prompt, first in zip(prompts, firsts, strict=True)
    ]


def _prompt(row: Preference, system_prompt: str | None) -> Prompt:
    return Prompt(
        id=row.id,
        text=row.prompt,
        task=row.task,
        topic=row.topic,
        system_prompt=system_prompt,
        history=row.history,
    )
