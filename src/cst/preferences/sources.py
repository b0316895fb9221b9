"""Prompts and preferences from a user's own files, recognised by their fields.

Prompts: cst's records, rows with a `prompt` (or `text`), or plain text with one prompt a line. Preferences: cst's
records, or the published columns `system, prompt, chosen, rejected, task`. A bad row is named and nothing is dropped.
"""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TypeVar

from pydantic import ValidationError

from cst.errors import DataError
from cst.preferences.rows import Row, optional_text_of, read_rows, text_of
from cst.records import Preference, Prompt
from cst.store import first_complaint, read_text

R = TypeVar("R", Prompt, Preference)


def read_prompts(path: Path | str, *, task: str = "harmless", n: int | None = None) -> list[Prompt]:
    """The prompts of a file, or its first `n`; `task` is for rows that don't name one.

    Raises:
        DataError: The file is missing or empty, or a row can't be used; the message names the row.
    """
    file = Path(path)
    rows = read_rows(file) if file.suffix in (".json", ".jsonl") else _plain(file)
    prompts = [_prompt(row, where, f"{file.stem}-{number:06d}", task) for number, (where, row) in enumerate(rows, 1)]
    refuse_repeats((prompt.id for prompt in prompts), file)
    return prompts[:n]


def _plain(path: Path) -> list[tuple[str, Row]]:
    lines = enumerate(read_text(path).split("\n"), start=1)
    return [(f"{path}:{number}", {"prompt": line.strip()}) for number, line in lines if line.strip()]


def _prompt(row: Row, where: str, identity: str, task: str) -> Prompt:
    if {"id", "text", "task"} <= row.keys():
        return _valid(Prompt, row, where)
    return Prompt(
        id=optional_text_of(row, "id", where) or identity,
        text=text_of(row, "text" if "text" in row else "prompt", where),
        task=optional_text_of(row, "task", where) or task,
        topic=optional_text_of(row, "topic", where),
        system_prompt=optional_text_of(row, "system", where),
    )


def read_preferences(path: Path | str) -> list[Preference]:
    """The preference rows of a file.

    Published rows name no configuration: theirs is the task, so that metrics are kept apart by task.

    Raises:
        DataError: The file is missing or empty, or a row can't be used; the message names the row.
    """
    file = Path(path)
    rows = read_rows(file)
    preferences = [_preference(row, where, f"{file.stem}-{number:06d}") for number, (where, row) in enumerate(rows, 1)]
    refuse_repeats((preference.id for preference in preferences), file)
    return preferences


def _preference(row: Row, where: str, identity: str) -> Preference:
    if {"id", "configuration"} <= row.keys():
        return _valid(Preference, row, where)
    task = optional_text_of(row, "task", where) or "preference"
    values = {
        "id": identity,
        "task": task,
        "configuration": task,
        "system_prompt": optional_text_of(row, "system", where),
        **{field: text_of(row, field, where) for field in ("prompt", "chosen", "rejected")},
    }
    return _valid(Preference, values, where)


def _valid(kind: type[R], row: Row, where: str) -> R:
    try:
        return kind.model_validate(row)
    except ValidationError as error:
        raise DataError(f"{where} is no {kind.__name__}: {first_complaint(error)}") from error


def refuse_repeats(ids: Iterable[str], where: Path | str) -> None:
    """Ids name random streams and journal entries, so each must stand once.

    Raises:
        DataError: An id stands twice.
    """
    seen: set[str] = set()
    for identity in ids:
        if identity in seen:
            raise DataError(f"{where} has the id {identity!r} twice; give each row an id of its own.")
        seen.add(identity)


def refuse_overlap(training: Sequence[Prompt], held_out: Sequence[Prompt]) -> None:
    """A score on prompts that were trained on says nothing.

    Raises:
        DataError: A held-out prompt has the text and system prompt of a training prompt.
    """
    trained = {(prompt.text, prompt.system_prompt): prompt.id for prompt in training}
    for prompt in held_out:
        twin = trained.get((prompt.text, prompt.system_prompt))
        if twin is not None:
            raise DataError(f"Held-out prompt {prompt.id} is the training prompt {twin}; take one of the two out.")
