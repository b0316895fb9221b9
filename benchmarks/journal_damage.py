"""Flip single bytes of a journal and of its write-ahead log; and time the opening of a large one.

    python benchmarks/journal_damage.py [--flips 2000] [--rows 1000000]

Half of the flips go into the database, half into the log of a process that was killed. A flip is `refused` if opening
raises, `harmless` if all calls and answers read as before (the byte was one that nobody reads), and else `missed`.
Prints one JSON line; exit code 1 if any was missed.
"""

import argparse
import json
import random
import resource
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from cst.errors import RunFolderError
from cst.journal import Call, Journal
from cst.store import fingerprint
from provenance import provenance

TEXT = "Knead the dough for ten minutes, let it rest, and bake it until it sounds hollow. " * 8

FILL_AND_DIE = """
import os, signal, sys
from pathlib import Path
sys.path.append(sys.argv[3])
from journal_damage import fill
from cst.journal import Journal
journal = Journal(Path(sys.argv[1]))
fill(journal, int(sys.argv[2]))
os.kill(os.getpid(), signal.SIGKILL)
"""


def fill(journal: Journal, n: int) -> None:
    """Calls, of which every fifth failed."""

    def one(number: int) -> None:
        call = Call(key=fingerprint(number), what=f"r{number}", model="m", cost=10)
        row = journal.begin(call)
        if number % 5:
            journal.end(row, call.model_copy(update={"outcome": "answered"}), [{"text": f"{TEXT}{number}"}])
        else:
            journal.end(row, call.model_copy(update={"outcome": "server_error", "status": 500}))

    with ThreadPoolExecutor(256) as pool:
        for start in range(0, n, 10_000):
            list(pool.map(one, range(start, min(start + 10_000, n))))


def content(path: Path, n: int) -> tuple[list[Call], list[object]]:
    """All that a journal holds."""
    with Journal(path) as journal:
        return journal.calls(), [journal.get(fingerprint(number)) for number in range(n)]


def flips(folder: Path, n: int, seed: int) -> Iterator[tuple[str, str]]:
    """The file of each flip, and what came of it."""
    rows, draw = 300, random.Random(seed)
    killed = folder / "killed.sqlite"
    words = [sys.executable, "-c", FILL_AND_DIE, str(killed), str(rows), str(Path(__file__).parent)]
    assert subprocess.run(words, check=False).returncode == -signal.SIGKILL
    log = Path(f"{killed}-wal").read_bytes()
    before = killed.read_bytes()
    expected = content(killed, rows)  # opening it moves the log into the database
    after = killed.read_bytes()
    tried = folder / "tried.sqlite"
    for number in range(n):
        name = "log" if number % 2 else "database"
        data = bytearray(log if name == "log" else after)
        data[draw.randrange(len(data))] ^= draw.randrange(1, 256)
        tried.write_bytes(before if name == "log" else data)
        Path(f"{tried}-wal").write_bytes(data if name == "log" else b"")
        try:
            yield name, "harmless" if content(tried, rows) == expected else "missed"
        except RunFolderError:
            yield name, "refused"


def large(folder: Path, rows: int) -> dict[str, float]:
    """How long it takes to write and to open a journal of so many rows, and how large it is."""
    path = folder / "large.sqlite"
    started = time.perf_counter()
    with Journal(path) as journal:
        fill(journal, rows)
    written = time.perf_counter()
    Journal(path).close()
    opened = time.perf_counter()
    return {
        "rows": rows,
        "write_seconds": round(written - started, 1),
        "open_seconds": round(opened - written, 1),
        "file_mb": round(path.stat().st_size / 1e6),
        "peak_memory_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024),
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--flips", type=int, default=2000)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        found = Counter(flips(Path(scratch), asked.flips, asked.seed))
        opening = large(Path(scratch), asked.rows) if asked.rows else {}
    results = ("refused", "harmless", "missed")
    counts = {name: {what: found[name, what] for what in results} for name in ("database", "log")}
    print(json.dumps({"benchmark": "journal_damage", "flips": counts, "large": opening, **provenance("cpu", 1)}))
    return 1 if any(count["missed"] for count in counts.values()) else 0


if __name__ == "__main__":
    sys.exit(main())
