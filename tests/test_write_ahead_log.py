"""Every flipped byte of a write-ahead log's whole frames is seen; one that a kill cut short is no damage."""

import random
import sqlite3
from pathlib import Path

import pytest

from cst.write_ahead_log import FRAME_HEADER_BYTES, HEADER_BYTES, damage_of


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A log as SQLite wrote it: five commits."""
    path = tmp_path_factory.mktemp("log") / "x.sqlite"
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("CREATE TABLE t (x)")
    for number in range(4):
        connection.execute("INSERT INTO t VALUES (?)", ("x" * 3000 * number,))
    content = Path(f"{path}-wal").read_bytes()
    connection.close()
    return content


def test_what_sqlite_wrote_is_whole(log):
    assert len(log) > 5 * 4096
    assert damage_of(log) is None
    assert damage_of(b"") is None


def test_a_log_that_a_kill_cut_short_is_not_damaged(log):
    draw = random.Random(1)

    assert {damage_of(log[: draw.randrange(len(log))]) for _ in range(300)} == {None}


def test_every_flipped_byte_is_seen(log):
    draw = random.Random(2)
    places = [*range(HEADER_BYTES + FRAME_HEADER_BYTES), *(draw.randrange(len(log)) for _ in range(300))]
    for place in places:
        flipped = bytearray(log)
        flipped[place] ^= draw.randrange(1, 256)
        assert damage_of(bytes(flipped)) is not None, place


def test_frames_that_changed_places_are_seen(log):
    size = FRAME_HEADER_BYTES + 4096
    first, second = log[HEADER_BYTES : HEADER_BYTES + size], log[HEADER_BYTES + size : HEADER_BYTES + 2 * size]

    assert damage_of(log[:HEADER_BYTES] + second + first + log[HEADER_BYTES + 2 * size :]) == "its frame 0 is damaged"
