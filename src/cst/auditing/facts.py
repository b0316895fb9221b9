"""A row to the little that an audit keeps of it, so that a hundred thousand rows fit into memory.

What is asked is kept as text, for near-duplicates; answers are kept as lengths, faults and hashes.
"""

import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from cst.preferences.sources import Found
from cst.recipe import GateSettings
from cst.records import Preference, Prompt
from cst.texts import (
    ends_mid_sentence,
    has_persona_artefact,
    likeness,
    refusal_phrase,
    speaks_of_revision,
    text_of_turns,
)

DEFAULTS = GateSettings()
"""Thresholds are those of synthesis, as shipped."""


@dataclass(frozen=True, slots=True)
class RowFacts:
    """One row. `lengths` are in characters, by column; of a prompt's row, `refuses` and `answers` are empty.

    `answers` are hashes of chosen and rejected, `refuses` says of each whether it begins as a refusal.
    """

    place: str
    identity: str
    task: str
    configuration: str
    system_prompt: str | None
    asked: str
    lengths: Mapping[str, int]
    faults: tuple[str, ...] = ()
    answers: tuple[int, ...] = ()
    refuses: tuple[bool, ...] = ()


PAIR_FAULTS: Mapping[str, Callable[[Preference, str], bool]] = {
    "chosen speaks of a revision": lambda row, asked: speaks_of_revision(row.chosen, asked),
    "rejected speaks of a revision": lambda row, asked: speaks_of_revision(row.rejected, asked),
    "chosen bears marks of a persona": lambda row, _: has_persona_artefact(row.chosen),
    "rejected bears marks of a persona": lambda row, _: has_persona_artefact(row.rejected),
    "chosen ends mid-sentence": lambda row, _: ends_mid_sentence(row.chosen),
    "rejected ends mid-sentence": lambda row, _: ends_mid_sentence(row.rejected),
    "chosen and rejected nearly equal": lambda row, _: (
        likeness(row.chosen, row.rejected) >= (DEFAULTS.nearly_equal or 1)
    ),
}
"""Faults of a preference row by itself; what only several rows show is told in `findings`."""

BOTH_REFUSE = "chosen and rejected both refuse"


def facts_of_prompt(found: Found[Prompt]) -> RowFacts:
    """What is kept of a prompt."""
    prompt, asked = found.record, text_of_turns(found.record)
    return RowFacts(
        place=found.place,
        identity=prompt.id,
        task=sys.intern(prompt.task),
        configuration="",
        system_prompt=_kept_once(prompt.system_prompt),
        asked=asked,
        lengths={"system prompt": len(prompt.system_prompt or ""), "prompt": len(asked)},
    )


def facts_of_preference(found: Found[Preference]) -> RowFacts:
    """What is kept of a preference row."""
    row, asked = found.record, text_of_turns(found.record)
    refuses = (refusal_phrase(row.chosen) is not None, refusal_phrase(row.rejected) is not None)
    faults = [fault for fault, is_there in PAIR_FAULTS.items() if is_there(row, asked)]
    return RowFacts(
        place=found.place,
        identity=row.id,
        task=sys.intern(row.task),
        configuration=sys.intern(row.configuration),
        system_prompt=_kept_once(row.system_prompt),
        asked=asked,
        lengths={
            "system prompt": len(row.system_prompt or ""),
            "prompt": len(asked),
            "chosen": len(row.chosen),
            "rejected": len(row.rejected),
        },
        faults=(*faults, *([BOTH_REFUSE] if all(refuses) else [])),
        answers=(hash(row.chosen), hash(row.rejected)),
        refuses=refuses,
    )


def _kept_once(text: str | None) -> str | None:
    """The text, the same object for all rows: a hundred thousand rows may have one long system prompt."""
    return None if text is None else sys.intern(text)
