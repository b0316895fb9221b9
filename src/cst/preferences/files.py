"""A user's file as lines of text, or as the values of a JSON document: unpacked, decoded, and strictly parsed.

Lines are streamed, one held at a time. A JSON list is held as one text, and its elements are parsed one by one. JSON is
RFC 8259 with what it leaves open rejected: Python's json keeps the last of two equal keys, reads NaN and 1e999, and
lets halves of surrogate pairs through. What is wrong with one row is a `RowFault`; where the reading ends early, it is
`Unreadable`, and what was read before stands. This file knows no column.
"""

import codecs
import gzip
import io
import json
import math
import re
import zlib
from collections.abc import Generator, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, TextIO, TypeAlias, cast, final

from cst.errors import DataError

MAX_ROW_CHARACTERS = 2**21
"""The longest line: about half a million tokens, more than any answer has."""

EXCERPT_CHARACTERS = 2**11
"""How much of a line that is too long is shown, to tell which one it was."""

MAX_DOCUMENT_CHARACTERS = 2**28
"""The longest JSON list, which is held as one text; longer data goes into lines."""

MAX_VALUES = 200_000
"""Commas and brackets of a row, text included: more would be no row of texts, and could fill the memory."""

MAX_EXPANSION = 100
"""A packed file may unpack to so many times its size: JSON of one repeated row reaches about 50, a bomb 1,000."""

FREE_EXPANSION_BYTES = 2**24
"""What any packed file may unpack to, however small it is."""

Row: TypeAlias = dict[str, Any]


class Unreadable(Exception):
    """A file can't be read on from here; the message says why and what to do."""


class RowFault(Exception):
    """Why something is no row, as the end of a sentence that begins with its place."""


NumberedRow: TypeAlias = tuple[int, Row | RowFault, str]
"""The row's line (its number, in what has no lines), the row or its fault, and how it stood in the file."""


@contextmanager
def opened(path: Path) -> Generator[BinaryIO]:
    """The bytes of a file.

    Raises:
        DataError: It is missing, a folder, or can't be opened.
    """
    try:
        file = path.open("rb")
    except FileNotFoundError as error:
        raise DataError(f"There is no file {path}. Check the path, or run the stage that makes it.") from error
    except IsADirectoryError as error:
        raise DataError(f"{path} is a folder, and a file is needed. Name a file in it.") from error
    except OSError as error:
        raise DataError(f"{path} can't be opened: {error.strerror}. Check its permissions.") from error
    with file:
        yield file


@contextmanager
def opened_text(path: Path) -> Generator[TextIO]:
    r"""The text of a file: UTF-8, or UTF-16 where a byte order mark says so; lines end with `\n`.

    Bytes that are not UTF-8 come as lone surrogates (PEP 383), so that `checked` can name the row that has them.

    Raises:
        DataError: See `opened`.
        Unreadable: The packed file is damaged, or unpacks to more than is sane; UTF-16 is torn. Also while it is read.
    """
    with opened(path) as file:
        raw = file if path.suffix != ".gz" else io.BufferedReader(_Unpacked(file, path.stat().st_size))
        start = cast(io.BufferedReader, raw).peek(2)
        is_utf_16 = start.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
        encoding, errors = ("utf-16", "surrogatepass") if is_utf_16 else ("utf-8-sig", "surrogateescape")
        try:
            yield io.TextIOWrapper(raw, encoding=encoding, errors=errors, newline="\n")
        except UnicodeDecodeError as error:
            raise Unreadable(f"it is torn or not {encoding} ({error.reason}). Convert it to UTF-8") from error


@final
class _Unpacked(io.RawIOBase):
    """The bytes in a gz file, up to a multiple of its size."""

    def __init__(self, file: BinaryIO, packed_bytes: int) -> None:
        self._file = gzip.GzipFile(fileobj=file)
        self._packed_bytes = packed_bytes
        self._left = max(FREE_EXPANSION_BYTES, MAX_EXPANSION * packed_bytes)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any, /) -> int:  # noqa: ANN401 - a writable buffer
        try:
            count = self._file.readinto(buffer)
        except (EOFError, OSError, zlib.error) as error:
            raise Unreadable(f"the gz file is torn or damaged ({error}). Fetch it again") from error
        self._left -= count
        if self._left < 0:
            raise Unreadable(
                f"{self._packed_bytes} packed bytes unpack to more than {MAX_EXPANSION} times that, as a gz bomb's do. "
                "Unpack the file by hand if you trust it"
            )
        return count


def lines(text: TextIO) -> Iterator[tuple[int, str]]:
    """The numbered lines without their ends; of one that is too long, its beginning, which `checked` rejects."""
    number = 0
    while line := text.readline(MAX_ROW_CHARACTERS + 1):
        number += 1
        rest = line
        while not rest.endswith("\n") and (rest := text.readline(EXCERPT_CHARACTERS)):
            pass
        yield number, line.removesuffix("\n")


def checked(line: str) -> str:
    """The line itself, if a row can be made of it.

    Raises:
        RowFault: It is too long, isn't UTF-8, or holds a NUL byte or half of a character.
    """
    if len(line) > MAX_ROW_CHARACTERS:
        raise RowFault(f"is no row: it is longer than {MAX_ROW_CHARACTERS} characters. Shorten the row.")
    if "\0" in line:
        raise RowFault("holds a NUL byte, as damaged and binary files do. Remove it, or convert the file to UTF-8.")
    if not line.isascii():
        _reject_halves(line)
    return line


def _reject_halves(text: str) -> None:
    """Raise for a lone surrogate, which stands for a byte that isn't UTF-8 or was written as half of a character."""
    try:
        text.encode()
    except UnicodeEncodeError as error:
        half, place = error.object[error.start], len(error.object[: error.start].encode())
        if "\udc80" <= half <= "\udcff":
            wrong = error.object[error.start : error.start + 4].encode("utf-8", "surrogateescape")[:4].hex(" ")
            raise RowFault(f"is not UTF-8 (bytes {wrong} at its byte {place}). Convert it to UTF-8.") from error
        raise RowFault(f"holds {half!r}, half of a character, which no file can hold. Correct it.") from error


def as_it_stood(text: str) -> str:
    """A text of the file for a message: the beginning of a line that is too long, and bytes that aren't UTF-8 named."""
    text = text[:EXCERPT_CHARACTERS] if len(text) > MAX_ROW_CHARACTERS else text
    try:
        return text.encode("utf-8", "surrogateescape").decode(errors="backslashreplace")
    except UnicodeEncodeError:
        return text.encode("utf-8", "backslashreplace").decode()


def shown(value: object) -> str:
    """The beginning of a value as JSON, for a message."""
    return json.dumps(value, default=repr)[:60]


def strict_value(text: str) -> object:
    """The value that a JSON text spells.

    Raises:
        json.JSONDecodeError: It is no JSON.
        RowFault: It holds what no file or no two tools read alike.
    """
    value, end = _Strict().value_at(text, _after_blanks(text, 0))
    if _after_blanks(text, end) < len(text):
        raise json.JSONDecodeError("Extra data", text, end)
    if isinstance(value, RowFault):
        raise value
    return value


def rows_of_lines(numbered: Iterable[tuple[int, str]]) -> Iterator[NumberedRow]:
    """One object a line; blank lines are passed over."""
    strict = _Strict(is_checked=True)
    for number, line in numbered:
        if not line or line.isspace():
            continue
        try:
            if _marks(checked(line), 0, len(line)) > MAX_VALUES:
                raise _too_many_values()
            start = _after_blanks(line, 0)
            row, end = strict.row_at(line, start)
            if _after_blanks(line, end) < len(line):
                raise _not_json("Extra data")
            yield number, row, "" if isinstance(row, dict) else as_it_stood(line)
        except RowFault as fault:
            yield number, fault, as_it_stood(line)


def rows_of_document(text: str) -> Iterator[NumberedRow]:
    """The elements of a JSON list, or objects one after the other, each with the line where it begins.

    An element that is JSON but no row is a fault, and those after it are read; from one that isn't JSON on, nothing can
    be read.
    """
    strict, seen, line = _Strict(), 0, 1
    position = _after_blanks(text, 0)
    is_list, needs_element = text.startswith("[", position), False
    position = _after_blanks(text, position + is_list)
    while position < len(text):
        line += text.count("\n", seen, position)
        seen = position
        if is_list and text[position] in ",]":
            is_end = text[position] == "]"
            if needs_element or not is_end:
                yield line, RowFault("is no row: a comma stands without a row. Remove it."), text[position]
            position = _after_blanks(text, position + 1)
            if is_end and position < len(text):
                after = text[position : position + EXCERPT_CHARACTERS]
                yield line, RowFault("is no row: it stands after the list's end. Remove it."), as_it_stood(after)
            if is_end:
                return
            continue
        try:
            row, end = strict.row_at(text, position)
            yield line, row, "" if isinstance(row, dict) else as_it_stood(text[position:end][:MAX_ROW_CHARACTERS])
            position = _after_blanks(text, end)
            needs_element = is_list and text.startswith(",", position)
            if needs_element:
                position = _after_blanks(text, position + 1)
            elif is_list and position < len(text) and text[position] != "]":
                raise _not_json("Expecting ',' delimiter")
        except RowFault as fault:
            reason = f"{fault} Nothing after it is read."
            yield line, RowFault(reason), as_it_stood(text[position : position + EXCERPT_CHARACTERS])
            return
    if is_list:
        line += text.count("\n", seen)
        yield line, RowFault("is no row: the list is never closed: the file is torn, or a bracket is missing."), ""


def is_open(line: str) -> bool:
    """Whether a whole line, with its end, is the beginning of a JSON value that goes on in the next line."""
    if not line.endswith("\n"):
        return False
    line = line.strip()
    try:
        json.JSONDecoder().raw_decode(line)
    except json.JSONDecodeError as error:
        return error.pos >= len(line) - 1  # some versions of Python name the last comma, and not what should follow
    except (RecursionError, ValueError):
        return False
    return False


@final
class _Strict:
    """A JSON decoder that reads on after a fault, so that the end of the faulty value is known.

    `is_checked` says that each text has passed `checked`, which needn't be done twice.
    """

    def __init__(self, *, is_checked: bool = False) -> None:
        self._is_checked = is_checked
        self._fault: RowFault | None = None
        self._decoder = json.JSONDecoder(
            object_pairs_hook=self._object, parse_float=self._float, parse_int=self._int, parse_constant=self._constant
        )

    def row_at(self, text: str, start: int) -> tuple[Row | RowFault, int]:
        """The object that begins at `start`, or why it is none, and where it ends.

        Raises:
            RowFault: It isn't JSON, or nested too deep: where it ends isn't known.
        """
        try:
            value, end = self.value_at(text, start)
        except json.JSONDecodeError as error:
            raise _not_json(error.msg) from error
        if isinstance(value, RowFault):
            return value, end
        if not isinstance(value, dict):
            return RowFault(f"is {shown(value)}, and an object with named fields is needed."), end
        if _marks(text, start, end) > MAX_VALUES:
            return _too_many_values(), end
        return cast(Row, value), end

    def value_at(self, text: str, start: int) -> tuple[object, int]:
        """The value that begins at `start`, or a `RowFault`, and where it ends."""
        self._fault = None
        try:
            value, end = self._decoder.raw_decode(text, start)
        except RecursionError as error:
            raise RowFault("is nested too deep to be a row. Flatten it, or remove it.") from error
        said = text[start:end]
        if self._fault is None and not self._is_checked and not said.isascii():
            self._note_halves(said)
        if self._fault is None and _HALF.search(said):
            self._note_halves(json.dumps(value, ensure_ascii=False))
        return self._fault or value, end

    def _note_halves(self, text: str) -> None:
        try:
            _reject_halves(text)
        except RowFault as fault:
            self._fault = fault

    def _note(self, fault: str) -> None:
        self._fault = self._fault or RowFault(fault)

    def _object(self, pairs: list[tuple[str, object]]) -> dict[str, object]:
        made = dict(pairs)
        if len(made) < len(pairs):
            keys = [key for key, _ in pairs]
            twice = next(key for key in keys if keys.count(key) > 1)
            self._note(f"has the key {twice[:60]!r} twice. Keep one of the two.")
        return made

    def _float(self, text: str) -> float:
        value = float(text)
        return value if math.isfinite(value) else self._constant(text)

    def _int(self, text: str) -> int:
        try:
            return int(text)
        except ValueError as error:  # Python's own limit to the digits of a number
            self._note(f"holds a number that can't be read ({error}). Write it as text.")
            return 0

    def _constant(self, text: str) -> float:
        self._note(f"holds {text[:60]}, which is no finite number. Correct it, or write it as text.")
        return 0.0


_HALF = re.compile(r"\\u[dD][89a-fA-F]")
_BLANKS = re.compile(r"[ \t\n\r]*")


def _after_blanks(text: str, start: int) -> int:
    found = _BLANKS.match(text, start)
    return found.end() if found else start


def _marks(text: str, start: int, end: int) -> int:
    return text.count(",", start, end) + text.count("[", start, end) + text.count("{", start, end)


def _too_many_values() -> RowFault:
    return RowFault(f"holds more than {MAX_VALUES} values. Write it as rows of their own.")


def _not_json(why: str) -> RowFault:
    return RowFault(f"is not JSON: {why}. Correct it; rows are one object a line, or a list.")
