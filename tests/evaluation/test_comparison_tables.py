from pathlib import Path

import pytest

from cst.evaluation.compared_runs import ComparedRun, read_runs
from cst.evaluation.comparison_tables import differences_table, different, differing, runs_table, side_by_side
from cst.evaluation.evidence import read_evidence
from cst.evaluation.run_differences import differences
from cst.evaluation.tables import NOT_MEASURED, Difference, Heading, Rate, Table


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
