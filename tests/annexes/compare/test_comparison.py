import re
from pathlib import Path

import pytest
from run_for_evaluation import write_run

from cst.annexes.compare import (
    Comparison,
    capabilities_table,
    capability_differences_table,
    compare_runs,
    differences_table,
    different,
    differing,
    runs_table,
    side_by_side,
)
from cst.annexes.compare.runs import (
    CapableRun,
    ComparedRun,
    capability_differences,
    differences,
    independent,
    read_runs,
)
from cst.evaluation.capability import CapabilityAnswer, capability_scores
from cst.reporting.evidence import read_evidence
from cst.reporting.tables import NOT_MEASURED, Difference, Heading, Rate, Table
from cst.store import write_records
from evaluation.test_capability import answer


@pytest.fixture(scope="module")
def runs(run: Path) -> tuple[ComparedRun, ComparedRun]:
    """A run, and the same one without its answers."""
    (whole,) = read_runs([run]).runs
    return whole, ComparedRun("scores alone", whole.scores, {}, read_evidence(run), run)


def rates(table: Table | None) -> list[Rate]:
    assert table is not None
    return [cell for row in table.rows if not isinstance(row, Heading) for cell in row if isinstance(cell, Rate)]


def test_every_score_of_every_run_stands_in_the_whole_table(runs):
    found = rates(side_by_side(runs, first_only=False))
    assert len(found) == sum(len(run.scores) for run in runs)
    assert sum(rate.counts.n or 0 for rate in found) == sum(score.n for run in runs for score in run.scores)


def test_the_first_table_has_greedy_answers_of_first_wordings_alone(runs):
    table = side_by_side(runs)
    firsts = [s for s in runs[0].scores if s.temperature == 0 and s.wordings == "canonical"]
    assert len(rates(table)) == 2 * len(firsts)
    assert table is not None
    assert table.columns[1:] == tuple(run.label for run in runs)


def test_a_score_that_one_run_lacks_is_a_dash(runs):
    whole, _ = runs
    table = side_by_side([whole, ComparedRun("less", whole.scores[1:], {}, whole.evidence, whole.folder)])
    assert table is not None
    assert next(row for row in table.rows if not isinstance(row, Heading))[2] == NOT_MEASURED


def test_a_difference_says_whether_it_is_paired_and_how_many_it_stands_on(runs):
    whole, alone = runs
    for paired, found in ((True, differences(whole, whole)), (False, differences(alone, whole))):
        table = differences_table(found, first_only=False)
        assert len(rates(table)) == len(found)
        for rate, each in zip(rates(table), found, strict=True):
            assert isinstance(rate, Difference)
            assert ("independent samples" in str(rate)) is not paired
            assert str(each.pairs.n if each.pairs else each.score_against.n) in rate.count
            assert "unscored" in rate.count
    assert differences_table([]) is None


def test_only_what_differs_is_shown():
    values = {"a": {"x": 1, "same": [1, 2]}, "b": {"x": 2, "same": [1, 2], "new": True}, "c": None}
    assert different({"a": values["a"], "b": values["b"]}) == {
        "x": {"a": "1", "b": "2"},
        "new": {"a": NOT_MEASURED, "b": "True"},
    }
    assert set(different(values)) == {"x", "same.0", "same.1", "new"}
    assert differing("Keys", {"a": values["a"], "b": values["a"]}) is None


def test_a_run_is_told_by_its_recipe_judge_and_counts(runs):
    first, second = (row for row in runs_table(runs).rows if not isinstance(row, Heading))
    assert first[1:5] == ("made", NOT_MEASURED, "0", "made")
    assert first[5] == str(len(runs[0].evidence.completions))
    assert second[0] == "scores alone"


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


@pytest.fixture(scope="module")
def folders(tmp_path_factory) -> list[Path]:
    """Runs on different prompts, one of whose names is markup."""
    home = tmp_path_factory.mktemp("runs")
    return [write_run(home / name, n=n) for name, n in (("one", 10), ("two", 12), ("<b>*three*", 10))]


@pytest.fixture(scope="module")
def made(folders, tmp_path_factory) -> Comparison:
    return compare_runs(folders, tmp_path_factory.mktemp("out"))


def test_the_page_asks_for_nothing_and_what_users_wrote_is_inert(made):
    html, markdown = made.html.read_text(encoding="utf-8"), made.markdown.read_text(encoding="utf-8")
    assert "<b>*three*" not in html
    assert "&lt;b&gt;*three*" in html
    assert "<b>" not in markdown
    assert not re.search(r"<(script|link|img|iframe)|://|url\(", html)
    links = set(re.findall(r'href="#([^"]+)"', html))
    assert links
    assert links <= set(re.findall(r' id="([^"]+)"', html))


def test_both_pages_hold_every_table_and_caution(made):
    html, markdown = made.html.read_text(encoding="utf-8"), made.markdown.read_text(encoding="utf-8")
    assert html.count("<table") == len(made.tables) == len(re.findall(r"^\*\*[^*|]+\*\*$", markdown, re.MULTILINE))
    assert html.count("<li>") - html.count("<li><a") == len(made.cautions) == markdown.count("\n- ") > 0


def test_every_rate_has_its_counts_and_interval(made):
    rates = [cell for t in made.tables for row in t.rows if not isinstance(row, Heading) for cell in row]
    found = [cell for cell in rates if isinstance(cell, Rate)]
    assert len(found) > 300
    for rate in found:
        assert "unscored" in rate.count
        assert re.search(r"\[\S+, \S+\]", rate.interval)


def test_all_are_held_against_the_first_and_paired_where_the_prompts_are_the_same(made):
    assert {(each.run, each.against) for each in made.differences} == {("two", "one"), ("<b>*three*", "one")}
    assert {each.pairs is None for each in made.differences if each.run == "two"} == {True}
    assert {each.pairs is None for each in made.differences if each.run == "<b>*three*"} == {False}


def test_the_same_runs_give_the_same_bytes(made, folders, tmp_path):
    again = compare_runs(folders, tmp_path)
    assert again.html.read_bytes() == made.html.read_bytes()
    assert again.markdown.read_bytes() == made.markdown.read_bytes()


def test_runs_are_only_read(folders, tmp_path):
    before = {path: path.stat().st_mtime_ns for folder in folders for path in folder.rglob("*")}
    compare_runs(folders, tmp_path)
    assert {path: path.stat().st_mtime_ns for folder in folders for path in folder.rglob("*")} == before
