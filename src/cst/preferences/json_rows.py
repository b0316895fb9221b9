"""One piece of JSON to one row: strictly, as RFC 8259 has it, and with what it leaves open refused.

Python's json keeps the last of two equal keys, reads NaN and 1e999, and lets halves of surrogate pairs through; each of
them is a fault here. This file knows no column.
"""

import json
import math
import re
from typing import Any, NoReturn, TypeAlias, cast

from cst.preferences.pieces import Piece

Row: TypeAlias = dict[str, Any]

MAX_VALUES = 200_000
"""Commas and brackets of a row, text included: more would be no row of texts, and could fill the memory."""

_HALF = re.compile(r"\\u[dD][89a-fA-F]")


class RowFault(Exception):
    """Why something is no row, as the end of a sentence that begins with its place."""


def parse(piece: Piece) -> Row:
    """The object that a piece of a file holds.

    Raises:
        RowFault: It isn't one, or holds what no file or no two tools read alike.
    """
    if sum(piece.data.count(mark) for mark in (b",", b"[", b"{")) > MAX_VALUES:
        raise RowFault(f"holds more than {MAX_VALUES} values. Write it as rows of their own.")
    try:
        value = strict_value(decoded(piece))
    except json.JSONDecodeError as error:
        raise RowFault(f"is not JSON: {error.msg}. Correct it; rows are one object a line, or a list.") from error
    if not isinstance(value, dict):
        raise RowFault(f"is {shown(value)}, and an object with named fields is needed.")
    return cast(Row, value)


def strict_value(text: str) -> object:
    """The value that a JSON text spells.

    Raises:
        json.JSONDecodeError: It is no JSON.
        RowFault: It holds what no file or no two tools read alike.
    """
    try:
        value: object = _DECODER.decode(text)
    except json.JSONDecodeError:
        raise
    except RecursionError as error:
        raise RowFault("is nested too deep to be a row. Flatten it, or remove it.") from error
    except ValueError as error:  # Python's own limit to the digits of a number
        raise RowFault(f"holds a number that can't be read ({error}). Write it as text.") from error
    if _HALF.search(text):
        _refuse_halves(value)
    return value


def decoded(piece: Piece) -> str:
    """The text of a piece.

    Raises:
        RowFault: The piece has a fault, isn't UTF-8, or holds a NUL byte.
    """
    if piece.fault is not None:
        raise RowFault(f"is no row: {piece.fault}.")
    if b"\0" in piece.data:
        raise RowFault("holds a NUL byte, as damaged and binary files do. Remove it.")
    try:
        return piece.data.decode()
    except UnicodeDecodeError as error:
        wrong = piece.data[error.start : error.start + 4].hex(" ")
        raise RowFault(f"is not UTF-8 (bytes {wrong} at its byte {error.start}). Convert it to UTF-8.") from error


def shown(value: object) -> str:
    """The beginning of a value as JSON, for a message."""
    return json.dumps(value, default=repr)[:60]


def _refuse_halves(value: object) -> None:
    try:
        json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError as error:
        half = error.object[error.start]
        raise RowFault(f"holds {half!r}, half of a character, which no file can hold. Correct it.") from error


def _object(pairs: list[tuple[str, object]]) -> dict[str, object]:
    made = dict(pairs)
    if len(made) < len(pairs):
        keys = [key for key, _ in pairs]
        twice = next(key for key in keys if keys.count(key) > 1)
        raise RowFault(f"has the key {twice[:60]!r} twice. Keep one of the two.")
    return made


def _float(text: str) -> float:
    value = float(text)
    return value if math.isfinite(value) else _constant(text)


def _constant(text: str) -> NoReturn:
    raise RowFault(f"holds {text[:60]}, which is no finite number. Correct it, or write it as text.")


_DECODER = json.JSONDecoder(object_pairs_hook=_object, parse_float=_float, parse_constant=_constant)
