"""What the journal has acknowledged it keeps, whatever happens; what was damaged it does not give out."""

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

from cst.chat.budget import Budget
from cst.chat.journal import LOG_BYTES, Call, Journal, merge_journals
from cst.errors import BudgetError, RunFolderError
from cst.store import fingerprint

WRITE_AND_DIE = """
import os, signal, sys
from pathlib import Path
from cst.chat.journal import Call, Journal
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


def damaged(original: Path, suffix: str, scratch: Path, number: int, draw: random.Random) -> Path:
    """A copy of a journal and its log, with one byte of one of them flipped."""
    folder = scratch / str(number)
    folder.mkdir()
    for name in (original.name, f"{original.name}-wal"):
        if (original.parent / name).exists():
            shutil.copyfile(original.parent / name, folder / name)
    hit = folder / f"{original.name}{suffix}"
    data = bytearray(hit.read_bytes())
    data[draw.randrange(len(data))] ^= draw.randrange(1, 256)
    hit.write_bytes(data)
    return folder / original.name


def test_no_flipped_byte_of_the_database_changes_what_is_read(tmp_path):
    """Either the journal is rejected, or the byte was one that nobody reads."""
    original = killed(tmp_path / "original" / "journal.sqlite", 30)
    expected = content(original)  # the log goes into the database
    draw = random.Random(3)
    rejected = 0
    for number in range(60):
        try:
            assert content(damaged(original, "", tmp_path, number, draw)) == expected
        except RunFolderError:
            rejected += 1

    assert rejected > 20


def test_a_flipped_byte_of_the_log_loses_the_calls_after_it_and_invents_none(tmp_path):
    """SQLite drops the log from the damaged place on: what is read is the journal as it was at an earlier commit."""
    original = killed(tmp_path / "original" / "journal.sqlite", 30)
    copy = tmp_path / "copy"
    shutil.copytree(original.parent, copy)
    calls, answers = content(copy / original.name)
    draw = random.Random(3)
    lost = 0
    for number in range(60):
        found, replies = content(damaged(original, "-wal", tmp_path, number, draw))
        lost += len(found) < len(calls)
        for read, written in zip(found, calls, strict=False):
            assert read in (written, call(int(written.what[1:])))
        assert all(reply in (None, answer) for reply, answer in zip(replies, answers, strict=True))

    assert lost > 20


def test_a_log_without_its_database_is_refused(tmp_path):
    path = killed(tmp_path / "journal.sqlite")
    path.write_bytes(b"")

    with pytest.raises(RunFolderError, match=r"journal\.sqlite-wal is damaged: .* is not its database"):
        Journal(path)


def test_the_journal_writes_ahead(tmp_path):
    killed(tmp_path / "journal.sqlite")
    with closing(sqlite3.connect(tmp_path / "journal.sqlite")) as connection:
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)


def made(path, calls):
    """A journal of calls: key, answer (None where it failed), cost."""
    with Journal(path) as journal:
        for key, answer, cost in calls:
            call = Call(key=key * 64, what=f"original/{key}", model="m", cost=cost)
            outcome = "answered" if answer else "timeout"
            journal.end(journal.begin(call), call.model_copy(update={"outcome": outcome}), answer)
    return path


def test_all_calls_and_answers_are_there_and_count_for_the_budget(tmp_path):
    one = made(tmp_path / "one", [("a", "1", 5), ("b", None, 7), ("b", "2", 7)])
    two = made(tmp_path / "two", [("c", "3", 11), ("a", "other", 5)])
    merge_journals(tmp_path / "all", [one, two])

    with Journal(tmp_path / "all", budget=Budget(max_calls=5)) as journal:
        assert [journal.get(key * 64) for key in "abc"] == ["1", "2", "3"]
        assert [call.what for call in journal.each_call()] == [f"original/{key}" for key in "abbca"]
        assert list(journal.each_call()) == journal.calls()
        assert journal.ledger.cost == 35
        with pytest.raises(BudgetError, match="number 6"):
            journal.begin(Call(key="d" * 64, what="original/d", model="m", cost=0))


def test_more_than_a_page_is_taken_over_in_order(tmp_path):
    with Journal(tmp_path / "one") as journal, Journal(tmp_path / "more") as more:
        for n in range(3):
            journal.begin(Call(key=f"{n:064x}", what=f"original/{n}", model="m", cost=0))
        for _ in range(9):  # each grows by the other: 3 * F(19) = 12,543 calls
            more.add_all(journal)
            journal.add_all(more)
    merge_journals(tmp_path / "all", [tmp_path / "one"])
    with Journal(tmp_path / "all") as merged, Journal(tmp_path / "one") as one:
        assert merged.calls() == one.calls()
        assert len(one.calls()) > 2 * 4096


def test_a_damaged_missing_or_busy_source_leaves_nothing_behind(tmp_path):
    good, bad = (made(tmp_path / name, [("a", "text of a answer", 5)]) for name in ("good", "bad"))
    bad.write_bytes(bad.read_bytes().replace(b"text of a answer", b"text of b answer"))
    for sources, words in [([good, bad], "checksum of call 1 differs"), ([good, tmp_path / "no"], "no journal .*no")]:
        with pytest.raises(RunFolderError, match=words):
            merge_journals(tmp_path / "all", sources)
    with Journal(good), pytest.raises(RunFolderError, match="in use by another process"):
        merge_journals(tmp_path / "all", [good])

    assert sorted(path.name for path in tmp_path.iterdir()) == ["bad", "good"]


def test_what_a_killed_merge_left_is_written_over(tmp_path):
    one = made(tmp_path / "one", [("a", "1", 5)])
    made(tmp_path / ".all.partial", [("f", "9", 5)])
    merge_journals(tmp_path / "all", [one])

    with Journal(tmp_path / "all") as journal:
        assert [call.what for call in journal.calls()] == ["original/a"]
    with pytest.raises(RunFolderError, match="is there already"):
        merge_journals(tmp_path / "all", [one])
