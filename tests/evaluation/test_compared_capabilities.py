from pathlib import Path

import pytest

from cst.evaluation.capability import CapabilityAnswer, capability_scores
from cst.evaluation.compared_capabilities import (
    CapableRun,
    capabilities_table,
    capability_differences,
    capability_differences_table,
)
from cst.evaluation.run_differences import independent
from cst.evaluation.tables import NOT_MEASURED, Difference, Heading, Rate
from cst.store import write_records
from evaluation.test_capability import answer


def run_of(folder: Path, answers: list[CapabilityAnswer], *, kept: bool = True) -> CapableRun:
    if kept:
        write_records(folder / "capabilities" / "base" / "s.jsonl", answers)
    return CapableRun(folder.name, folder, list(capability_scores([answers], base="base")))


def right(n: int, *, of: int = 100, first: int = 0, hash: str = "h") -> list[CapabilityAnswer]:
    """Answers to `of` items, of which n are right, from item `first` on."""
    return [answer("base", i, float(first <= i < first + n), hash=hash) for i in range(of)]


def test_the_same_items_are_paired(tmp_path: Path) -> None:
    one, two = run_of(tmp_path / "one", right(60)), run_of(tmp_path / "two", right(61, first=3))
    (found,) = capability_differences(two, one)
    assert found.paired and found.change is not None
    assert (found.change.only_model, found.change.only_against, found.change.against) == (4, 3, "one")
    assert found.change.difference == pytest.approx(0.01)


@pytest.mark.parametrize("other", [right(61, hash="another"), right(61, of=90)], ids=["hash", "number"])
def test_other_items_are_independent_samples(tmp_path: Path, other: list[CapabilityAnswer]) -> None:
    one, two = run_of(tmp_path / "one", right(60)), run_of(tmp_path / "two", other)
    (found,) = capability_differences(two, one)
    expected = independent(two.scores[0], one.scores[0])
    assert not found.paired and found.change is not None and found.change.p_value is None
    assert (found.change.low, found.change.high) == (expected.low, expected.high)


def test_items_that_a_folder_does_not_hold_or_that_were_asked_otherwise_are_not_paired(tmp_path: Path) -> None:
    one = run_of(tmp_path / "one", right(60))
    (bare,) = capability_differences(run_of(tmp_path / "bare", right(61), kept=False), one)
    shots = [each.model_copy(update={"num_fewshot": 5}) for each in right(61)]
    (asked,) = capability_differences(run_of(tmp_path / "shots", shots), one)
    (control,) = capability_differences(run_of(tmp_path / "control", right(61)), one)
    assert (bare.paired, asked.paired, control.paired) == (False, False, True)


def test_tables_have_a_column_a_run_and_a_row_a_cell(tmp_path: Path) -> None:
    one, two = run_of(tmp_path / "one", right(60)), run_of(tmp_path / "two", right(61))
    empty = CapableRun("empty", tmp_path, [])
    side, moved = capabilities_table([one, two, empty]), capability_differences_table(capability_differences(two, one))
    assert side is not None and moved is not None
    assert side.columns == ("model", "one", "two", "empty")
    heading, row = side.rows
    assert isinstance(heading, Heading) and not isinstance(row, Heading)
    assert isinstance(row[1], Rate) and row[1].count == "n 100, 0 unscored" and row[3] == NOT_MEASURED
    assert isinstance(moved.rows[1], tuple) and isinstance(moved.rows[1][1], Difference)


def test_nothing_measured_makes_no_table(tmp_path: Path) -> None:
    empty = CapableRun("empty", tmp_path, [])
    assert capabilities_table([empty]) is None
    assert capability_differences(empty, empty) == []
    assert capability_differences_table([]) is None
