"""A user's file as UTF-8 bytes, chunk by chunk: unpacked, recoded, without a byte order mark.

What can't be read on is told by `Unreadable`, and what was read before it stands. At most a chunk is held. This file
knows nothing of rows.
"""

import codecs
import gzip
import zlib
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, cast

from cst.errors import DataError

CHUNK_BYTES = 2**18
"""Bytes that are held at once."""

MAX_EXPANSION = 100
"""A packed file may unpack to so many times its size: JSON of one repeated row reaches about 50, a bomb 1,000."""

FREE_EXPANSION_BYTES = 2**24
"""What any packed file may unpack to, however small it is."""

_MARKS = (
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
    (codecs.BOM_UTF8, "utf-8"),
)
"""Byte order marks, the longer ones first: that of UTF-32-LE begins with that of UTF-16-LE."""

_NULS = (
    ((True, False, False, False), "utf-32-le"),
    ((False, False, False, True), "utf-32-be"),
    ((True, False, True, False), "utf-16-le"),
    ((False, True, False, True), "utf-16-be"),
)
"""Which of the first four bytes say something, where a file begins with ASCII but has no mark (RFC 4627, section 3)."""


class Unreadable(Exception):
    """A file can't be read on from here; the message says why and what to do."""


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


def chunks(path: Path) -> Iterator[bytes]:
    """The text of a file as UTF-8; UTF-16 and UTF-32 are recoded, halves of surrogate pairs are passed on as they are.

    Raises:
        DataError: See `opened`.
        Unreadable: The file is torn, damaged, or unpacks to more than is sane.
    """
    with opened(path) as file:
        raw = _unpacked(file, path.stat().st_size) if path.suffix == ".gz" else _read(file)
        yield from _as_utf8(raw)


def _read(file: BinaryIO) -> Iterator[bytes]:
    while chunk := file.read(CHUNK_BYTES):
        yield chunk


def _unpacked(file: BinaryIO, packed_bytes: int) -> Iterator[bytes]:
    limit = max(FREE_EXPANSION_BYTES, MAX_EXPANSION * packed_bytes)
    unpacked = 0
    try:
        for chunk in _read(cast(BinaryIO, gzip.GzipFile(fileobj=file))):
            unpacked += len(chunk)
            if unpacked > limit:
                raise Unreadable(
                    f"{packed_bytes} packed bytes unpack to more than {limit}, as a gz bomb's do. "
                    "Unpack the file by hand if you trust it"
                )
            yield chunk
    except (EOFError, OSError, zlib.error) as error:
        raise Unreadable(f"the gz file is torn or damaged ({error}). Fetch it again") from error


def _as_utf8(raw: Iterator[bytes]) -> Iterator[bytes]:
    first = next(raw, b"")
    encoding = encoding_of(first)
    if encoding == "utf-8":
        yield first.removeprefix(codecs.BOM_UTF8)
        yield from raw
        return
    decoder = codecs.getincrementaldecoder(encoding)(errors="surrogatepass")
    try:
        yield decoder.decode(first).removeprefix("\ufeff").encode("utf-8", "surrogatepass")
        for chunk in raw:
            yield decoder.decode(chunk).encode("utf-8", "surrogatepass")
        decoder.decode(b"", final=True)
    except UnicodeDecodeError as error:
        raise Unreadable(f"it is torn or not {encoding} ({error.reason}). Convert it to UTF-8") from error


def encoding_of(start: bytes) -> str:
    """The encoding of a text by its byte order mark, or by where NUL bytes stand in its first four bytes."""
    for mark, encoding in _MARKS:
        if start.startswith(mark):
            return encoding
    says = tuple(byte != 0 for byte in start[:4])
    return next((encoding for pattern, encoding in _NULS if says == pattern), "utf-8")
