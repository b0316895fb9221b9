"""A merged journal has every call of its sources, and is whole or not there."""

import pytest

from cst.budget import Budget
from cst.errors import BudgetError, RunFolderError
from cst.journal import Call, Journal
from cst.journal_merging import merge_journals


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
