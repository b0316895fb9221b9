"""Rows of a user's file, each with its place; bad ones are set aside with the reason. This file knows no column.

By suffix: `.jsonl` (and `.ndjson`) is one object a line; `.json` a list of objects, an object of columns, or lines;
`.csv` and `.tsv` have names in their first record; `.txt` is one prompt a line; each of them may be packed as `.gz`.
`.parquet` is read through pyarrow and `hub:OWNER/NAME` through datasets. Any other file is told by its first character.
Nothing is dropped silently: unless bad rows are to be skipped, they are an error.
"""

import io
import json
import logging
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO, TypeVar, cast, final

from cst.errors import DataError
from cst.preferences.files import (
    MAX_DOCUMENT_CHARACTERS,
    MAX_ROW_CHARACTERS,
    NumberedRow,
    Row,
    RowFault,
    Unreadable,
    as_it_stood,
    checked,
    is_open,
    lines,
    opened_text,
    rows_of_document,
    rows_of_lines,
    shown,
)
from cst.preferences.tables import HUB, csv_rows, hub_rows, parquet_rows


@dataclass(frozen=True)
class FoundRow:
    """A row and its place: `file:line` in a text, `file: row n` in a table without lines."""

    place: str
    row: Row


@dataclass(frozen=True)
class BadRow:
    """What can't be used: its place, why and what to do (the end of a sentence), and how it stood there."""

    place: str
    reason: str
    text: str


def read_rows(source: Path | str) -> Iterator[FoundRow | BadRow]:
    """Each row of a file or a hub's data set in order; at most one of them is held.

    Raises:
        DataError: The file is missing or holds no rows at all.
    """
    name = str(source)
    unit = ":" if not name.startswith(HUB) and Path(name).suffix != ".parquet" else ": row "
    place = name
    try:
        for number, row, text in _numbered(name):
            place = f"{name}{unit}{number}"
            yield BadRow(place, str(row), text) if isinstance(row, RowFault) else FoundRow(place, row)
    except Unreadable as error:
        after = "" if place == name else f" after {place}"
        yield BadRow(name, f"can't be read on{after}: {error}.", "")
        return
    if place == name:
        raise DataError(f"{name} holds no rows. Check the path, or that the file was written to its end.")


def _numbered(name: str) -> Iterator[NumberedRow]:
    if name.startswith(HUB):
        return hub_rows(name)
    path = Path(name)
    suffix = path.with_suffix("").suffix if path.suffix == ".gz" else path.suffix
    return parquet_rows(path) if suffix == ".parquet" else _of_text(path, suffix)


def _of_text(path: Path, suffix: str) -> Iterator[NumberedRow]:
    first, goes_on = _beginning(path)
    is_json = suffix in (".json", ".jsonl", ".ndjson") or first in ("[", "{")
    with opened_text(path) as text:
        if suffix in (".csv", ".tsv"):
            yield from csv_rows(lines(text), delimiter="," if suffix == ".csv" else "\t")
        elif suffix == ".txt" or not is_json:
            yield from _prompts(lines(text))
        elif first == "[":
            yield from rows_of_document(_whole(text))
        elif suffix not in (".jsonl", ".ndjson") and first == "{" and goes_on:
            yield from _columns_spread(rows_of_document(_whole(text)))
        else:
            yield from _columns_spread(rows_of_lines(lines(text)))


def _beginning(path: Path) -> tuple[str, bool]:
    """The first character that isn't blank, and whether its line ends within a JSON value."""
    with opened_text(path) as text:
        while (line := text.readline(MAX_ROW_CHARACTERS)) and line.isspace():
            pass
        return line.lstrip()[:1], is_open(line)


def _whole(text: TextIO) -> str:
    document = io.StringIO()
    while chunk := text.read(2**16):
        if document.tell() > MAX_DOCUMENT_CHARACTERS:
            raise Unreadable(
                f"it is a JSON document of more than {MAX_DOCUMENT_CHARACTERS} characters. Write one object a line"
            )
        document.write(chunk)
    return document.getvalue()


def _prompts(numbered: Iterable[tuple[int, str]]) -> Iterator[NumberedRow]:
    for number, line in numbered:
        try:
            text = checked(line).strip()
        except RowFault as fault:
            yield number, fault, as_it_stood(line)
        else:
            if text:
                yield number, {"prompt": text}, ""


def _columns_spread(rows: Iterator[NumberedRow]) -> Iterator[NumberedRow]:
    """Rows as they are; but an object of columns that stands alone in its file becomes a row for each of their items.

    Safety-Tuned LLaMAs' evaluation files are such: `{"instructions": [...], "inputs": [], "tags": [...]}`. An empty
    column is one that is left out. All rows then bear the line of the object.
    """
    first, second = next(rows, None), next(rows, None)
    if first is None:
        return
    line, row, _ = first
    if second is None and isinstance(row, dict) and _is_of_columns(row):
        yield from _spread(line, row)
        return
    yield first
    if second is not None:
        yield second
    yield from rows


def _is_of_columns(row: Row) -> bool:
    """Whether all values are lists, and none of them one of objects, as conversations are."""
    values = list(row.values())
    return bool(values) and all(
        isinstance(value, list) and not any(isinstance(item, dict) for item in cast(list[object], value))
        for value in values
    )


def _spread(line: int, columns: Row) -> Iterator[NumberedRow]:
    filled = {name: values for name, values in columns.items() if values}
    lengths = {name: len(values) for name, values in filled.items()}
    if len(set(lengths.values())) > 1:
        yield line, RowFault(f"has columns of unequal length: {lengths}. Fill them up, or leave a column empty."), ""
        return
    for items in zip(*filled.values(), strict=True):
        yield line, dict(zip(filled, items, strict=True)), ""


def text_of(row: Row, field: str) -> str:
    """A field that must say something.

    Raises:
        RowFault: The field is missing, isn't text, or is empty.
    """
    if field not in row:
        raise RowFault(f"has no field {field!r}, only {sorted(row)}. Add it, or map your column to it.")
    value = row[field]
    if not isinstance(value, str):
        raise RowFault(f"has {field}={shown(value)}, and text is needed. Correct or remove the row.")
    if not value.strip():
        raise RowFault(f"has an empty {field} ({value!r}). Fill it in, or remove the row.")
    return value


def optional_text_of(row: Row, field: str) -> str | None:
    """A field that may be missing, null or empty: all three are None."""
    value = row.get(field)
    return None if value is None or value == "" else text_of(row, field)


R = TypeVar("R")

logger = logging.getLogger(__name__)


def quarantine_file(folder: Path, source: Path | str) -> Path:
    """Where the bad rows of a source belong: `NAME.quarantine.jsonl` in a folder of the run, not beside the source."""
    return folder / f"{Path(str(source).replace(':', '-')).name}.quarantine.jsonl"


def good_rows(
    found: Iterable[R | BadRow], source: Path | str, *, quarantine: Path | None, skip_bad_rows: bool
) -> Iterator[R]:
    """The good ones as they come; `quarantine` is written if there are bad ones, and is removed if there are none.

    Raises:
        DataError: At the end, if there were bad rows and they are not to be skipped (then they are a warning).
    """
    first, good, bad = None, 0, 0
    with _Quarantine(quarantine) as aside:
        for each in found:
            if isinstance(each, BadRow):
                first, bad = first or each, bad + 1
                aside.write(each)
            else:
                good += 1
                yield each
    if first is None:
        return
    where = "" if quarantine is None else f"; they are in {quarantine}, each with its reason"
    told = f"{first.place} {first.reason} {bad} of {good + bad} rows of {source} can't be used{where}."
    if not skip_bad_rows:
        raise DataError(told)
    logger.warning("%s The others are taken.", told)


@final
class _Quarantine:
    """A JSONL file of bad rows, made when the first one comes; without a path, none is made."""

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._file: TextIO | None = None

    def __enter__(self) -> "_Quarantine":
        if self._path is not None:
            self._path.unlink(missing_ok=True)
        return self

    def write(self, row: BadRow) -> None:
        """Set one row aside."""
        if self._path is None:
            return
        if self._file is None:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._file = self._path.open("w", encoding="utf-8", newline="\n")
        self._file.write(json.dumps({"place": row.place, "reason": row.reason, "text": row.text}) + "\n")

    def __exit__(self, *_: object) -> None:
        if self._file is not None:
            self._file.close()
