from pathlib import Path

import pytest

from cst.records import Score
from cst.reporting import score_tables
from cst.reporting.evidence import read_evidence
from cst.reporting.tables import Difference, Heading, Rate, Table


@pytest.fixture(scope="module")
def scores(run: Path) -> list[Score]:
    return read_evidence(run).scores


def names(table: Table | None) -> list[str]:
    assert table is not None
    return [row.text if isinstance(row, Heading) else str(row[0]) for row in table.rows]


def test_table_i_stands_beside_the_papers(scores) -> None:
    table = score_tables.table_i(scores)
    assert table is not None
    assert table.columns == ("model", "S1 (harmless)", "S0 (uncensored)")
    assert names(table)[:4] == ["this run", "base", "DPO", "CST"]
    assert ("CST", "1.00", "1.00") in table.rows
    assert ("DPO", ".96", ".12") in table.rows


def test_table_i_is_greedy_and_canonical(scores) -> None:
    table = score_tables.table_i(scores)
    assert table is not None
    expected = next(
        s
        for s in scores
        if (s.model, s.task, s.configuration, s.wordings, s.temperature)
        == ("cst", "harmless", "uncensored", "canonical", 0.0)
    )
    cell = table.rows[3][2]  # pyright: ignore[reportIndexIssue]
    assert isinstance(cell, Rate)
    assert (cell.value, cell.low, cell.high) == (expected.rate, expected.low, expected.high)


def test_table_ii_has_the_four_measures_and_their_average(scores) -> None:
    table = score_tables.table_ii(scores)
    assert table is not None
    assert [column.split()[0] for column in table.columns] == ["model", "S1", "S0", "S_RP", "S_A", "average"]
    assert all(isinstance(row, Heading) or len(row) == 6 for row in table.rows)


def test_tables_that_this_run_lacks_are_none(scores) -> None:
    no_persona = [s for s in scores if s.configuration != "persona"]
    assert score_tables.table_ii(no_persona) is None
    assert score_tables.table_i(no_persona) is not None
    assert score_tables.table_i([]) is None
    assert score_tables.wordings([]) is None
    assert score_tables.temperatures([]) is None
    assert score_tables.fallbacks([]) is None
    assert score_tables.over_refusal([]) is None


def test_other_configurations_have_a_table_of_their_own(scores) -> None:
    assert score_tables.other_configurations(scores) is None
    renamed = [s.model_copy(update={"configuration": "strict"}) for s in scores if s.configuration == "harmless"]
    table = score_tables.other_configurations(renamed)
    assert table is not None
    assert table.columns == ("model", "harmless, strict")


def test_harmless_requests_under_every_configuration_and_none(scores) -> None:
    table = score_tables.over_refusal(scores)
    assert table is not None
    assert table.columns == ("model", "harmless", "uncensored", "no system prompt", "neutral system prompt")


def test_wordings_are_apart(scores) -> None:
    assert names(score_tables.wordings(scores)) == [
        *("S1: harmless (task harmless)", "canonical", "held out of tuning", "seen nowhere"),
        *("S0: uncensored (task harmless)", "canonical", "held out of tuning", "seen nowhere"),
    ]


def test_temperatures_are_apart(scores) -> None:
    listed = names(score_tables.temperatures(scores))
    assert listed[:3] == ["S1: harmless (task harmless)", "greedy", "T = 1"]


def test_without_a_configuration_the_note_says_what_counts(scores) -> None:
    table = score_tables.fallbacks(scores)
    assert table is not None
    assert "safe fallback" in table.note
    assert names(table)[:3] == ["task harmless", "no system prompt", "neutral system prompt"]


def test_no_score_is_left_out_of_the_full_list(scores) -> None:
    assert len(score_tables.every_score(scores).rows) == len(scores)


def test_table_iii_has_sets_averages_and_changes(run: Path) -> None:
    table = score_tables.table_iii(read_evidence(run).capability)
    assert table is not None
    assert table.columns == (
        *("model", "arc_challenge", "mmlu", "truthfulqa_mc2", "average", "average without truthfulqa_mc2"),
    )
    kinds = [row.text if isinstance(row, Heading) else type(row[1]) for row in table.rows]
    assert kinds == ["this run", Rate, Rate, Rate, "change against the start model, same items", Difference, Difference]
    assert "arc_challenge, mmlu, truthfulqa_mc2: acc, 0 worked examples. The mean" in table.note
    assert "through the chat template" in table.note


def test_the_average_without_truthfulness_leaves_just_that_out(run: Path) -> None:
    scores = [score for score in read_evidence(run).capability if score.model == "base"]
    table = score_tables.table_iii(scores)
    assert table is not None
    row = table.rows[1]
    assert not isinstance(row, Heading)
    values = [cell.value for cell in row[1:] if isinstance(cell, Rate)]
    arc, mmlu, truthful, average, without = [value for value in values if value is not None]
    assert abs(average - (arc + mmlu + truthful) / 3) < 1e-12
    assert abs(without - (arc + mmlu) / 2) < 1e-12


def test_the_change_of_an_average_is_the_average_of_the_changes(run: Path) -> None:
    scores = read_evidence(run).capability
    table = score_tables.table_iii(scores)
    assert table is not None
    changes = [row for row in table.rows if not isinstance(row, Heading) and isinstance(row[1], Difference)]
    assert [row[0] for row in changes] == ["DPO", "CST"]
    for row in changes:
        arc, mmlu, truthful, average, without = (cell.value or 0 for cell in row[1:] if isinstance(cell, Difference))
        assert abs(average - (arc + mmlu + truthful) / 3) < 1e-12
        assert abs(without - (arc + mmlu) / 2) < 1e-12


def test_a_share_has_no_items_gained_and_lost(run: Path) -> None:
    table = score_tables.table_iii(read_evidence(run).capability)
    assert table is not None
    last = table.rows[-1]
    assert not isinstance(last, Heading)
    assert "gained" in str(last[1])
    assert "gained" not in str(last[3])


def test_the_papers_averages_are_the_averages_of_its_columns() -> None:
    for row in score_tables.table_iii_of_the_paper().rows:
        if not isinstance(row, Heading):
            arc, hellaswag, mmlu, truthful, average, without = (float(str(cell)) for cell in row[1:])
            assert abs(average - (arc + hellaswag + mmlu + truthful) / 4) < 0.051
            assert abs(without - (arc + hellaswag + mmlu) / 3) < 0.051


def test_paired_tests_first_wordings_first(run: Path) -> None:
    tests = read_evidence(run).tests
    short, full = score_tables.paired_tests(tests), score_tables.paired_tests(tests, first_only=False)
    assert short is not None
    assert full is not None
    assert len(full.rows) == len(tests) + 3
    assert len(short.rows) < len(full.rows)
    assert [row.text for row in short.rows if isinstance(row, Heading)] == [
        *("DPO against base", "CST against base", "CST against DPO"),
    ]
    assert score_tables.paired_tests([]) is None
