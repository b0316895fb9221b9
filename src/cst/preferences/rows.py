"""Rows of a user's JSON list or JSONL file, each with the place it stood at. This file knows no column."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TypeAlias, cast

from cst.errors import DataError
from cst.store import read_text

Row: TypeAlias = dict[str, Any]


def read_rows(path: Path) -> list[tuple[str, Row]]:
    """Each row of a file with its place (`file:line`, or `file: row n` in a JSON list).

    Raises:
        DataError: The file is missing or empty, or a row isn't a JSON object.
    """
    text = read_text(path)
    rows = list(_of_list(path, text) if text.lstrip().startswith("[") else _of_lines(path, text))
    if not rows:
        raise DataError(f"{path} holds no rows. Check the path, or that the file was written to its end.")
    return rows


def _of_list(path: Path, text: str) -> Iterator[tuple[str, Row]]:
    try:
        values = cast(list[object], json.loads(text))
    except json.JSONDecodeError as error:
        raise DataError(f"{path}:{error.lineno} is not JSON: {error.msg}. Correct the line.") from error
    for number, value in enumerate(values, start=1):
        yield _row(value, f"{path}: row {number}")


def _of_lines(path: Path, text: str) -> Iterator[tuple[str, Row]]:
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        try:
            value = json.loads(line)
        except json.JSONDecodeError as error:
            raise DataError(
                f"{path}:{number} is not JSON: {error.msg}. Correct the line; rows are one object a line, or a list."
            ) from error
        yield _row(value, f"{path}:{number}")


def _row(value: object, where: str) -> tuple[str, Row]:
    if not isinstance(value, dict):
        raise DataError(f"{where} is {json.dumps(value)[:60]}, and an object with named fields is needed.")
    try:
        json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError as error:
        half = error.object[error.start]
        raise DataError(f"{where} holds {half!r}, half of a character, which no file can hold. Correct it.") from error
    return where, cast(Row, value)


def text_of(row: Row, field: str, where: str) -> str:
    """A field that must say something.

    Raises:
        DataError: The field is missing, isn't text, or is empty.
    """
    if field not in row:
        raise DataError(f"{where} has no field {field!r}, only {sorted(row)}. Add it, or rename your column.")
    value = row[field]
    if not isinstance(value, str):
        raise DataError(f"{where}: {field} is {json.dumps(value)[:60]}, and text is needed. Correct or remove the row.")
    if not value.strip():
        raise DataError(f"{where}: {field} is empty ({value!r}). Fill it in, or remove the row.")
    return value


def optional_text_of(row: Row, field: str, where: str) -> str | None:
    """A field that may be missing, null or empty: all three are None."""
    value = row.get(field)
    if value is None or value == "":
        return None
    return text_of(row, field, where)
