"""What the journal has acknowledged it keeps, whatever happens; what was damaged it doesn't give out."""

import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import threading
from contextlib import closing
from pathlib import Path

import pytest

from cst.budget import Budget
from cst.errors import BudgetError, RunFolderError
from cst.journal import LOG_BYTES, Call, Journal
from cst.store import fingerprint

WRITE_AND_DIE = """
import os, signal, sys
from pathlib import Path
from cst.journal import Call, Journal
from cst.store import fingerprint
journal = Journal(Path(sys.argv[1]))
for number in range(int(sys.argv[2])):
    call = Call(key=fingerprint(number), what=f"r{number}", model="m", cost=10)
    row = journal.begin(call)
    if number % 3:
        journal.end(row, call.model_copy(update={"outcome": "answered", "cost": 4}), [{"text": "yes " * number}])
    print(number, flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""


def call(number: int, **fields: object) -> Call:
    return Call.model_validate({"key": fingerprint(number), "what": f"r{number}", "model": "m", "cost": 10, **fields})


def answer(journal: Journal, number: int, value: object) -> None:
    row = journal.begin(call(number))
    journal.end(row, call(number, outcome="answered", cost=4), value)


def killed(path: Path, calls: int = 30) -> Path:
    """A journal whose process died with its log unmerged: of each three calls one was sent and never ended."""
    died = subprocess.run(
        [sys.executable, "-c", WRITE_AND_DIE, str(path), str(calls)], capture_output=True, text=True, check=False
    )
    assert died.returncode == -signal.SIGKILL, died.stderr
    assert died.stdout.splitlines()[-1] == str(calls - 1)
    return path


def content(path: Path) -> tuple[list[Call], list[object]]:
    with Journal(path) as journal:
        return journal.calls(), [journal.get(fingerprint(number)) for number in range(30)]


def test_an_answer_is_given_back_also_after_reopening(tmp_path):
    value = [{"a": [None, 1.5, "é\n"]}]
    with Journal(tmp_path / "new" / "journal.sqlite") as journal:
        assert journal.get(fingerprint(1)) is None
        answer(journal, 1, value)
        assert journal.get(fingerprint(1)) == value
    with Journal(tmp_path / "new" / "journal.sqlite") as journal:
        assert journal.get(fingerprint(1)) == value
        assert journal.get(fingerprint(2)) is None


def test_the_first_answer_of_a_key_stays(tmp_path):
    with Journal(tmp_path / "journal.sqlite") as journal:
        answer(journal, 1, "first")
        answer(journal, 1, "second")

        assert journal.get(fingerprint(1)) == "first"


def test_calls_are_listed_in_their_order_with_what_became_of_them(tmp_path):
    with Journal(tmp_path / "journal.sqlite") as journal:
        answer(journal, 1, "yes")
        journal.end(journal.begin(call(2)), call(2, outcome="server_error", status=500, cost=0))
        journal.begin(call(3))

        assert [(c.what, c.outcome, c.status, c.cost) for c in journal.calls()] == [
            ("r1", "answered", None, 4),
            ("r2", "server_error", 500, 0),
            ("r3", "sent", None, 10),
        ]


def test_all_that_was_acknowledged_is_there_after_a_kill(tmp_path):
    path = killed(tmp_path / "journal.sqlite")
    assert Path(f"{path}-wal").stat().st_size > 0
    calls, answers = content(path)

    assert [c.outcome for c in calls] == ["answered" if number % 3 else "sent" for number in range(30)]
    assert answers == [[{"text": "yes " * number}] if number % 3 else None for number in range(30)]


def test_threads_share_a_journal_and_its_commits(tmp_path):
    with Journal(tmp_path / "journal.sqlite") as journal:

        def write(first: int) -> None:
            for number in range(first, first + 20):
                answer(journal, number, number)

        threads = [threading.Thread(target=write, args=(20 * thread,)) for thread in range(16)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

        assert [journal.get(fingerprint(number)) for number in range(320)] == list(range(320))
        assert (journal.ledger.calls, journal.ledger.cost) == (320, 320 * 4)


def test_the_log_is_moved_into_the_database_before_it_is_long(tmp_path):
    with Journal(tmp_path / "journal.sqlite") as journal:
        for number in range(30):
            answer(journal, number, "x" * 300_000)

        assert Path(f"{journal.path}-wal").stat().st_size < LOG_BYTES
    assert len(content(tmp_path / "journal.sqlite")[0]) == 30


def test_a_second_process_is_refused_and_the_first_goes_on(tmp_path):
    with Journal(tmp_path / "journal.sqlite") as journal:
        answer(journal, 1, "first")
        with pytest.raises(RunFolderError, match=r"journal\.sqlite is in use by another process\. Wait"):
            Journal(tmp_path / "journal.sqlite")
        answer(journal, 2, "second")

        assert journal.get(fingerprint(2)) == "second"


def test_a_budget_counts_what_was_spent_before_and_calls_that_never_ended(tmp_path):
    path = killed(tmp_path / "journal.sqlite", 6)  # 4 answered at 4 each, 2 that may have cost 10
    with Journal(path, budget=Budget(max_calls=8, max_cost=56e-9)) as journal:
        assert (journal.ledger.calls, journal.ledger.cost) == (6, 4 * 4 + 2 * 10)
        answer(journal, 7, "a")
        answer(journal, 8, "b")
        with pytest.raises(BudgetError, match="would be number 9"):
            answer(journal, 9, "c")
    with (
        Journal(path, budget=Budget(max_cost=50e-9)) as journal,
        pytest.raises(BudgetError, match=r"may cost 0\.000000"),
    ):
        answer(journal, 9, "c")
    assert len(content(path)[0]) == 8


def test_a_file_that_is_no_journal_is_refused(tmp_path):
    path = tmp_path / "journal.sqlite"
    path.write_bytes(b"no database at all" * 100)

    with pytest.raises(RunFolderError, match=r"can't be opened as a journal: .*move it away"):
        Journal(path)


@pytest.mark.parametrize(
    "damage",
    [
        "UPDATE calls SET answer = replace(answer, 'yes', 'no') WHERE number = 5",
        "UPDATE calls SET key = 'other' WHERE number = 5",
        "UPDATE calls SET call = replace(call, '\"cost\":4', '\"cost\":3') WHERE number = 5",
        "UPDATE calls SET number = 50 WHERE number = 5",
        "DELETE FROM calls WHERE number = 5",
    ],
)
def test_a_row_that_was_changed_moved_or_taken_out_is_noticed(tmp_path, damage):
    path = killed(tmp_path / "journal.sqlite")
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute(damage)

    with pytest.raises(RunFolderError, match=r"journal\.sqlite is damaged: .*(call 5|call 50|call 6)"):
        Journal(path)


@pytest.mark.parametrize("suffix", ["", "-wal"])
def test_no_flipped_byte_changes_what_is_read(tmp_path, suffix):
    """Either the journal is refused, or the byte was one that nobody reads."""
    original = killed(tmp_path / "journal.sqlite", 30)
    if not suffix:
        content(original)  # the log goes into the database
    names = [original.name, f"{original.name}-wal"]
    kept = {name: (tmp_path / name).read_bytes() for name in names if (tmp_path / name).exists()}
    expected = content(original)
    draw = random.Random(3)
    refused = 0
    for number in range(60):
        folder = tmp_path / str(number)
        folder.mkdir()
        for name, data in kept.items():
            (folder / name).write_bytes(data)
        damaged = folder / f"{original.name}{suffix}"
        data = bytearray(damaged.read_bytes())
        data[draw.randrange(len(data))] ^= draw.randrange(1, 256)
        damaged.write_bytes(data)
        try:
            assert content(folder / original.name) == expected
        except RunFolderError:
            refused += 1
        shutil.rmtree(folder)

    assert refused == 60 if suffix else refused > 20


def test_a_log_without_its_database_is_refused(tmp_path):
    path = killed(tmp_path / "journal.sqlite")
    path.write_bytes(b"")

    with pytest.raises(RunFolderError, match=r"journal\.sqlite-wal is damaged: .* is not a database"):
        Journal(path)


def test_the_journal_writes_ahead(tmp_path):
    killed(tmp_path / "journal.sqlite")
    with closing(sqlite3.connect(tmp_path / "journal.sqlite")) as connection:
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
