"""Preferences as other tools read them."""

from collections.abc import Sequence
from pathlib import Path

from cst.records import Preference
from cst.store import write_json


def write_published(path: Path, preferences: Sequence[Preference]) -> None:
    """Write the published columns `system, prompt, chosen, rejected, task` as a JSON list.

    `sources.read_preferences` gives back the same texts; ids, topics and configurations are not in that format.
    """
    write_json(path, [_published(preference) for preference in preferences])


def _published(preference: Preference) -> dict[str, str]:
    return {
        "system": preference.system_prompt or "",
        "prompt": preference.prompt,
        "chosen": preference.chosen,
        "rejected": preference.rejected,
        "task": preference.task,
    }
