"""The journal: a SQLite file in which every call is written down before it is sent, and its answer before it is seen.

WAL, synchronous=FULL, values in JSON with a checksum over the whole row, no pickle. One thread writes: it commits all
that has gathered while it committed before, and callers wait for the commit that holds theirs. Only one process at a
time can open it. A damaged page, a damaged row and a missing row are noticed at opening. Damage to the write-ahead log
that a killed process left is not noticed: SQLite keeps the commits before the damaged place, and later calls are made
again. This file knows neither models nor what an answer looks like.
"""

import hashlib
import json
import sqlite3
import threading
from collections.abc import Generator, Sequence
from itertools import chain
from pathlib import Path
from queue import SimpleQueue
from typing import Any, TypeAlias, final

from cst.chat.budget import Budget, Ledger
from cst.errors import RunFolderError
from cst.records import Record, Text
from cst.store import canonical_json, parse_record, replaced, writing

LOG_BYTES = 4 << 20
"""Once the write-ahead log is longer, it is moved into the database, whose damage is noticed; the log's is not."""

MOST_ROWS = 4096
"""Of one statement: SQLite takes 32,766 values, and a row has five."""

OPENING = (
    "PRAGMA locking_mode=EXCLUSIVE",
    "PRAGMA journal_mode=WAL",
    "PRAGMA synchronous=FULL",
    "PRAGMA wal_autocheckpoint=0",
    "PRAGMA cache_spill=OFF",  # the log holds whole transactions
    "BEGIN EXCLUSIVE",
    "CREATE TABLE IF NOT EXISTS calls"
    " (number INTEGER PRIMARY KEY, key TEXT NOT NULL, call TEXT NOT NULL, answer TEXT, checksum BLOB NOT NULL)",
    "CREATE INDEX IF NOT EXISTS answers ON calls (key) WHERE answer IS NOT NULL",
    "COMMIT",
    "PRAGMA wal_checkpoint(TRUNCATE)",
)

FIND = (
    "SELECT number, key, call, answer, checksum FROM calls WHERE key = ? AND answer IS NOT NULL ORDER BY number LIMIT 1"
)

PAGE = "SELECT call, answer FROM calls WHERE number >= ? AND number < ? ORDER BY number"

WHAT_TO_DO = "Restore it from a copy, or move it away together with its -wal file to start anew."

Row: TypeAlias = tuple[int, str, str, str | None, bytes]
"""Number, key, call and answer as JSON, checksum of the four."""


class Call(Record):
    """One call of a model: `key` is its answer's, `what` names its requests for a reader.

    `outcome` is `sent` until the call has ended, then `answered`, or the kind of its failure. `cost` is in billionths
    of the currency's unit; until it is known, it is the most that the call may cost.
    """

    key: Text
    what: Text
    model: Text
    cost: int
    outcome: Text = "sent"
    status: int | None = None
    seconds: float | None = None
    prompt_tokens: int | None = None
    completion_tokens: int | None = None


@final
class Journal:
    """All calls in the order of their sending, and the answers that were paid for, by key. Threads may share it.

    Opening it reads and checks every row. What `begin` and `end` have returned from is on disk.

    Raises:
        RunFolderError: The file is damaged, is no journal, or another process has it open.
    """

    def __init__(self, path: Path, *, budget: Budget | None = None) -> None:
        self.path = path
        self.ledger = Ledger(budget or Budget())
        self._calls = 0
        self._reserved: dict[int, int] = {}
        self._answered: set[int] = set()  # beginnings of keys: most that is looked for isn't there
        self._numbering = threading.Lock()
        self._connection = self._opened()
        self._reading = threading.Lock()  # nobody reads between a write and its commit
        self._waiting: SimpleQueue[tuple[Row, threading.Lock] | None] = SimpleQueue()
        self._failure: RunFolderError | None = None
        self._writer = threading.Thread(target=self._write_all, name="journal", daemon=True)
        self._writer.start()

    def get(self, key: str) -> Any | None:  # noqa: ANN401 - JSON is any value
        """The first answer of a key, or None.

        Raises:
            RunFolderError: The answer doesn't match its checksum.
        """
        if _beginning(key) not in self._answered:
            return None
        with self._reading:
            row = self._connection.execute(FIND, (key,)).fetchone()
        if row is None:
            return None
        self._reject_damaged(row)
        return json.loads(row[3])

    def begin(self, call: Call) -> int:
        """Write down a call before it is sent; its number.

        Raises:
            BudgetError: The call might pass the budget; it is not written down.
        """
        self.ledger.reserve(call.cost)
        with self._numbering:  # rows wait in the order of their numbers, so that no kill leaves a gap
            self._calls += 1
            number = self._calls
            committed = self._queued(_row(number, call, None))
        self._reserved[number] = call.cost
        self._wait(committed)
        return number

    def end(self, number: int, call: Call, answer: object = None) -> None:
        """Write down how a call ended, and its answer if it has one."""
        text = None if answer is None else canonical_json(answer)
        self._wait(self._queued(_row(number, call, text)))
        self.ledger.correct(self._reserved.pop(number), call.cost)
        if answer is not None:
            self._answered.add(_beginning(call.key))

    def each_call(self) -> Generator[Call]:
        """All calls, in the order of their sending; a page of them is held at once."""
        for page in self._pages():
            for call, _ in page:
                yield parse_record(call, Call, str(self.path))

    def add_all(self, other: "Journal") -> None:
        """Write down all calls of another journal behind those that are here; they count for the budget as well."""
        for page in other._pages():
            committed: list[threading.Lock] = []
            for text, answer in page:
                call = parse_record(text, Call, str(other.path))
                self.ledger.enter(call.cost)
                self._calls += 1
                committed.append(self._queued(_row(self._calls, call, answer)))
                if answer is not None:
                    self._answered.add(_beginning(call.key))
            for each in committed:
                self._wait(each)

    def _pages(self) -> Generator[list[tuple[str, str | None]]]:
        """Call and answer of each row as JSON, `MOST_ROWS` rows at a time."""
        for first in range(1, self._calls + 1, MOST_ROWS):
            with self._reading:
                page = self._connection.execute(PAGE, (first, first + MOST_ROWS)).fetchall()
            yield page

    def calls(self) -> list[Call]:
        """All calls, in the order of their sending."""
        with self._reading:
            rows = self._connection.execute("SELECT call FROM calls ORDER BY number").fetchall()
        return [parse_record(call, Call, str(self.path)) for (call,) in rows]

    def close(self) -> None:
        """Close the file, once all that was asked for is committed."""
        self._waiting.put(None)
        self._writer.join()
        self._connection.close()

    def __enter__(self) -> "Journal":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _queued(self, row: Row) -> threading.Lock:
        """A lock that the writer releases once the row is committed, or can't be."""
        committed = threading.Lock()
        committed.acquire()
        self._waiting.put((row, committed))
        return committed

    def _wait(self, committed: threading.Lock) -> None:
        committed.acquire()
        if self._failure:
            raise self._failure

    def _write_all(self) -> None:
        """The writer's thread: commit what waits, group by group; None says that the journal is closed."""
        is_open = True
        while is_open:
            gathered = [self._waiting.get()]
            while not self._waiting.empty() and len(gathered) < MOST_ROWS:
                gathered.append(self._waiting.get())
            is_open = None not in gathered
            group = [waiting for waiting in gathered if waiting is not None]
            self._commit([row for row, _ in group])
            for _, committed in group:
                committed.release()

    def _commit(self, rows: list[Row]) -> None:
        """All rows in one transaction; after a failure nothing more is written, nor believed to be.

        It is one statement because each gives up the interpreter's lock, which busy threads are slow to return.
        """
        if self._failure or not rows:
            return
        places = ", ".join(["(?, ?, ?, ?, ?)"] * len(rows))
        try:
            with self._reading:
                self._connection.execute(f"INSERT OR REPLACE INTO calls VALUES {places}", list(chain(*rows)))
                if self._log.stat().st_size > LOG_BYTES:
                    self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        except (sqlite3.Error, OSError) as error:
            self._failure = RunFolderError(f"{self.path} can't be written: {error}. Make room, and run again.")

    @property
    def _log(self) -> Path:
        return self.path.with_name(f"{self.path.name}-wal")

    def _opened(self) -> sqlite3.Connection:
        """The file opened, its log emptied into it, and every row checked."""
        with writing(self.path):
            self.path.parent.mkdir(parents=True, exist_ok=True)
        self._reject_lone_log()
        connection = sqlite3.connect(self.path, timeout=0, isolation_level=None, check_same_thread=False)
        try:
            for statement in OPENING:
                connection.execute(statement)
            self._check(connection)
        except (RunFolderError, sqlite3.DatabaseError) as error:
            connection.close()
            raise error if isinstance(error, RunFolderError) else self._refusal(error) from error
        return connection

    def _reject_lone_log(self) -> None:
        """SQLite would silently delete a log whose database is gone."""
        if not self._log.exists() or not self._log.stat().st_size:
            return
        with self.path.open("rb") as file:
            head = file.read(20)
        if not (head.startswith(b"SQLite format 3\0") and head[18:] == b"\2\2"):  # 2: with a write-ahead log
            raise RunFolderError(f"{self._log} is damaged: {self.path.name} is not its database. {WHAT_TO_DO}")

    def _check(self, connection: sqlite3.Connection) -> None:
        """Every page and every row; calls go into the ledger."""
        found = connection.execute("PRAGMA integrity_check(1)").fetchone()[0]
        if found != "ok":
            raise RunFolderError(f"{self.path} is damaged: {found.splitlines()[-1]}. {WHAT_TO_DO}")
        for row in connection.execute("SELECT number, key, call, answer, checksum FROM calls ORDER BY number"):
            self._calls += 1
            self._reject_damaged(row)
            if row[0] != self._calls:
                raise RunFolderError(f"{self.path} is damaged: call {self._calls} is missing. {WHAT_TO_DO}")
            self.ledger.enter(parse_record(row[2], Call, f"{self.path}, call {row[0]}").cost)
            if row[3] is not None:
                self._answered.add(_beginning(row[1]))

    def _reject_damaged(self, row: Row) -> None:
        if _checksum(*row[:4]) != row[4]:
            raise RunFolderError(f"{self.path} is damaged: the checksum of call {row[0]} differs. {WHAT_TO_DO}")

    def _refusal(self, error: sqlite3.DatabaseError) -> RunFolderError:
        if "locked" in str(error):
            return RunFolderError(
                f"{self.path} is in use by another process. Wait until it has ended, or name another folder."
            )
        return RunFolderError(f"{self.path} can't be opened as a journal: {error}. {WHAT_TO_DO}")


def _row(number: int, call: Call, answer: str | None) -> Row:
    text = canonical_json(call)
    return number, call.key, text, answer, _checksum(number, call.key, text, answer)


def _checksum(*values: object) -> bytes:
    """SHA-256 of a row's values; JSON has no line breaks, so that no two rows spell the same."""
    return hashlib.sha256("\n".join(map(str, values)).encode()).digest()


def _beginning(key: str) -> int:
    """The first 60 bits of a fingerprint: small in memory, and very rarely those of two."""
    return int(key[:15], 16)


def merge_journals(path: Path, sources: Sequence[Path]) -> None:
    """Make a journal of all calls of others, one journal after the other; it is there when all of it is, or not at all.

    A call that stands in several of them counts as often as it was paid for; its answer is the first one's.

    Raises:
        RunFolderError: There is a journal at `path`, or a source is missing, damaged or in use.
    """
    if path.exists():
        raise RunFolderError(f"{path} is there already. Name another folder to merge into, or go on without merging.")
    for source in sources:
        if not source.exists():
            raise RunFolderError(f"There is no journal {source}. Correct the path, or run that shard first.")
    with replaced(path) as neighbour:
        for left_behind in (neighbour, neighbour.with_name(f"{neighbour.name}-wal")):
            left_behind.unlink(missing_ok=True)
        with Journal(neighbour) as merged:
            for source in sources:
                with Journal(source) as other:
                    merged.add_all(other)
