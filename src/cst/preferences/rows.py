"""Rows of a user's file, each with the place it stood at, and the bad ones with the reason. This file knows no column.

By suffix: `.jsonl` (and `.ndjson`) is one object a line; `.json` a list of objects, an object of columns, or lines;
`.csv` and `.tsv` have names in their first record; `.txt` is one prompt a line; each of them may be packed as `.gz`.
`.parquet` is read through pyarrow and `hub:OWNER/NAME` through datasets. Any other file is told by its first byte.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import cast

from cst.errors import DataError
from cst.preferences.files import Unreadable, chunks
from cst.preferences.hub import HUB, hub_rows
from cst.preferences.json_rows import Row, RowFault, decoded, parse, shown
from cst.preferences.pieces import Piece, lines, list_elements, objects
from cst.preferences.tables import NumberedRow, csv_rows, parquet_rows

__all__ = ["BadRow", "FoundRow", "Row", "RowFault", "optional_text_of", "read_rows", "text_of"]


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
    if suffix == ".parquet":
        return parquet_rows(path)
    if suffix in (".csv", ".tsv"):
        return csv_rows(chunks(path), delimiter="," if suffix == ".csv" else "\t")
    return _of_text(chunks(path), suffix)


def _of_text(text: Iterator[bytes], suffix: str) -> Iterator[NumberedRow]:
    start = b""
    while not start.strip() and (chunk := next(text, b"")):
        start += chunk
    whole = chain([start], text)
    first = start.lstrip()[:1]
    if suffix == ".txt" or (suffix not in (".json", ".jsonl", ".ndjson") and first not in (b"[", b"{")):
        return _plain(lines(whole))
    if first == b"[":
        return _parsed(list_elements(whole))
    by_line = suffix in (".jsonl", ".ndjson") or first != b"{" or _first_line_is_whole(start)
    return _columns_spread(_parsed(lines(whole) if by_line else objects(whole)))


def _first_line_is_whole(start: bytes) -> bool:
    line, end, _ = start.lstrip().partition(b"\n")
    return not end or next(objects([line])).fault is None


def _plain(pieces: Iterable[Piece]) -> Iterator[NumberedRow]:
    for piece in pieces:
        try:
            text = decoded(piece).strip()
        except RowFault as fault:
            yield piece.line, fault, _as_text(piece)
        else:
            if text:
                yield piece.line, {"prompt": text}, ""


def _parsed(pieces: Iterable[Piece]) -> Iterator[NumberedRow]:
    for piece in pieces:
        if piece.fault is None and not piece.data.strip():
            continue
        try:
            yield piece.line, parse(piece), ""
        except RowFault as fault:
            yield piece.line, fault, _as_text(piece)


def _as_text(piece: Piece) -> str:
    return piece.data.decode(errors="backslashreplace")


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
