"""Bytes cut into the pieces that are to be rows: lines, or the elements of a JSON list. Nothing is parsed here.

A piece has the number of its first line, and its bytes or the reason why there are none. Cutting knows strings and
brackets but doesn't recurse, and holds at most one piece, so neither depth nor a missing quote can hurt it.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import final

MAX_ROW_BYTES = 2**21
"""The longest row, 2 MiB: about half a million tokens, more than any answer has. While it is parsed, a row takes up to
12 times its bytes (text with an emoji has four bytes a character), so this also bounds the memory."""

EXCERPT_BYTES = 2**11
"""How much of a row that is too long is kept, to tell which one it was."""


@dataclass(frozen=True)
class Piece:
    """What should be one row, and the line where it begins; `fault` is why it can't be one."""

    line: int
    data: bytes
    fault: str | None = None


@final
class _Holder:
    """The bytes of a piece as they come in; of one that is too long only its beginning is kept."""

    def __init__(self) -> None:
        self._data = bytearray()
        self._is_too_long = False
        self._line = 1
        self.is_blank = True

    def add(self, data: bytes, line: int) -> None:
        """Take in bytes that begin at a line; the piece begins where its first character stands."""
        if self.is_blank:
            space = len(data) - len(data.lstrip())
            self._line = line + data.count(b"\n", 0, space)
            self.is_blank = space == len(data)
        self._data += data
        if len(self._data) > MAX_ROW_BYTES:
            del self._data[EXCERPT_BYTES:]
            self._is_too_long = True

    def take(self, fault: str | None = None) -> Piece:
        """The piece; the holder is empty again."""
        too_long = f"it is longer than {MAX_ROW_BYTES} bytes. Shorten the row" if self._is_too_long else None
        piece = Piece(self._line, bytes(self._data), too_long or fault)
        self._data.clear()
        self._is_too_long, self.is_blank = False, True
        return piece


def lines(chunks: Iterable[bytes]) -> Iterator[Piece]:
    """One piece a line, blank lines too, without the line's end."""
    holder, number = _Holder(), 1
    for chunk in chunks:
        *whole, rest = chunk.split(b"\n")
        for part in whole:
            holder.add(part, number)
            yield holder.take()
            number += 1
        holder.add(rest, number)
    if not holder.is_blank:
        yield holder.take()


def list_elements(chunks: Iterable[bytes]) -> Iterator[Piece]:
    """The elements of a JSON list, without the commas between them; the file begins with the list's bracket."""
    holder, line, depth, count = _Holder(), 1, 0, 0
    marks = _marks(chunks)
    for text, mark in marks:
        depth = _deeper(depth, mark, within=b"[")
        ends = mark == (b"," if depth else b"]") and depth <= 1
        is_first = depth == 1 and mark == b"[" and count == 0 and holder.is_blank
        holder.add(b"" if is_first else text[:-1] if ends else text, line)
        line += text.count(b"\n")
        if ends and (depth or count or not holder.is_blank):
            count += 1
            yield holder.take("there is nothing before the comma. Remove one" if holder.is_blank else None)
        if ends and not depth:
            break
    for text, _ in marks:
        holder.add(text, line)
        line += text.count(b"\n")
    if depth:
        yield holder.take("the list is never closed: the file is torn, or a bracket is missing. Mend it")
    elif not holder.is_blank:
        yield holder.take("it stands after the list's end. Remove it, or write one object a line")


def objects(chunks: Iterable[bytes]) -> Iterator[Piece]:
    """JSON objects one after the other, each over as many lines as it takes."""
    holder, line, depth = _Holder(), 1, 0
    for text, mark in _marks(chunks):
        depth = _deeper(depth, mark)
        holder.add(text, line)
        line += text.count(b"\n")
        if depth == 0 and mark in (b"]", b"}"):
            yield holder.take()
    if not holder.is_blank:
        yield holder.take("it is never closed: the file is torn, or a bracket is missing. Mend it")


def _deeper(depth: int, mark: bytes, within: bytes = b"") -> int:
    """The depth after a mark; a brace too many doesn't close the list that it stands in."""
    if mark in (b"[", b"{"):
        return depth + 1
    if mark == b"]" or (mark == b"}" and not (within and depth == 1)):
        return max(0, depth - 1)
    return depth


_TOKEN = re.compile(rb'\\.|["\[\]{},\n]', re.DOTALL)
"""An escaped character, or one that begins or ends something."""


def _marks(chunks: Iterable[bytes]) -> Iterator[tuple[bytes, bytes]]:
    """The text, cut after each bracket and comma that stands in no string: (text, its last byte, or b"" for none).

    No JSON string goes over the end of a line, so a missing quote spoils one row and not all that follow.
    """
    in_string, carried = False, b""
    for chunk in chunks:
        text = carried + chunk
        carried = b"\\" * ((len(text) - len(text.rstrip(b"\\"))) % 2)
        start, end = 0, len(text) - len(carried)
        for found in _TOKEN.finditer(text, 0, end):
            token = found.group()
            if token in (b'"', b"\n"):
                in_string = token == b'"' and not in_string
            elif not in_string and len(token) == 1:
                yield text[start : found.end()], token
                start = found.end()
        yield text[start:end], b""
    yield carried, b""
