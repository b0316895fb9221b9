"""Whether a SQLite write-ahead log was damaged, which SQLite itself doesn't say: it takes what comes before the damage.

Format: "WAL-mode File Format" (sqlite.org/walformat.html). The journal empties its log whenever it has moved the
content into the database, so that every frame in the file belongs to the log's present use. This file knows no table.
"""

import struct
from collections.abc import Iterator
from typing import TypeAlias

HEADER_BYTES = 32
FRAME_HEADER_BYTES = 24

Sums: TypeAlias = tuple[int, int]


def damage_of(log: bytes) -> str | None:
    """What is wrong with a log, or None.

    A process that was killed leaves at most one frame that is cut short, and no log that is shorter than its header
    holds any answer. A whole frame with a wrong checksum is damage.
    """
    if len(log) < HEADER_BYTES:
        return None
    magic, _, page_bytes = struct.unpack_from(">III", log)
    order = {0x377F0682: "<", 0x377F0683: ">"}.get(magic)
    if order is None or _sums(log[:24], (0, 0), order) != struct.unpack_from(">II", log, 24):
        return "its header is damaged"
    for number, good in enumerate(_good_frames(log, page_bytes, order)):
        if not good:
            return f"its frame {number} is damaged"
    return None


def _good_frames(log: bytes, page_bytes: int, order: str) -> Iterator[bool]:
    """Of each whole frame, whether it continues the log: the header's salts, and a checksum over all before it."""
    salts, sums = log[16:24], struct.unpack_from(">II", log, 24)
    size = FRAME_HEADER_BYTES + page_bytes
    for start in range(HEADER_BYTES, len(log) - size + 1, size):
        sums = _sums(log[start : start + 8], sums, order)
        sums = _sums(log[start + FRAME_HEADER_BYTES : start + size], sums, order)
        yield log[start + 8 : start + 16] == salts and sums == struct.unpack_from(">II", log, start + 16)


def _sums(data: bytes, sums: Sums, order: str) -> Sums:
    """SQLite's running checksum ("Checksum Algorithm" in the format's description)."""
    first, second = sums
    for one, other in struct.iter_unpack(f"{order}II", data):
        first = (first + one + second) & 0xFFFFFFFF
        second = (second + other + first) & 0xFFFFFFFF
    return first, second
