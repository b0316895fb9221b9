from pathlib import Path

from cst.evaluation import further_tables
from cst.evaluation.evidence import TaskSynthesis, read_evidence
from cst.evaluation.panel_agreement import PairAgreement, PanelAgreement
from cst.evaluation.tables import NOT_MEASURED, Difference, Heading, Rate
from cst.intervals import Kappa


def test_table_iii_has_sets_averages_and_changes(run: Path) -> None:
    table = further_tables.table_iii(read_evidence(run).capability)
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
    table = further_tables.table_iii(scores)
    assert table is not None
    row = table.rows[1]
    assert not isinstance(row, Heading)
    values = [cell.value for cell in row[1:] if isinstance(cell, Rate)]
    arc, mmlu, truthful, average, without = [value for value in values if value is not None]
    assert abs(average - (arc + mmlu + truthful) / 3) < 1e-12
    assert abs(without - (arc + mmlu) / 2) < 1e-12


def test_the_change_of_an_average_is_the_average_of_the_changes(run: Path) -> None:
    scores = read_evidence(run).capability
    table = further_tables.table_iii(scores)
    assert table is not None
    changes = [row for row in table.rows if not isinstance(row, Heading) and isinstance(row[1], Difference)]
    assert [row[0] for row in changes] == ["DPO", "CST"]
    for row in changes:
        arc, mmlu, truthful, average, without = (cell.value or 0 for cell in row[1:] if isinstance(cell, Difference))
        assert abs(average - (arc + mmlu + truthful) / 3) < 1e-12
        assert abs(without - (arc + mmlu) / 2) < 1e-12


def test_a_share_has_no_items_gained_and_lost(run: Path) -> None:
    table = further_tables.table_iii(read_evidence(run).capability)
    assert table is not None
    last = table.rows[-1]
    assert not isinstance(last, Heading)
    assert "gained" in str(last[1])
    assert "gained" not in str(last[3])


def test_the_papers_averages_are_the_averages_of_its_columns() -> None:
    for row in further_tables.table_iii_of_the_paper().rows:
        if not isinstance(row, Heading):
            arc, hellaswag, mmlu, truthful, average, without = (float(str(cell)) for cell in row[1:])
            assert abs(average - (arc + hellaswag + mmlu + truthful) / 4) < 0.051
            assert abs(without - (arc + hellaswag + mmlu) / 3) < 0.051


def test_paired_tests_first_wordings_first(run: Path) -> None:
    tests = read_evidence(run).tests
    short, full = further_tables.paired_tests(tests), further_tables.paired_tests(tests, first_only=False)
    assert short is not None
    assert full is not None
    assert len(full.rows) == len(tests) + 3
    assert len(short.rows) < len(full.rows)
    assert [row.text for row in short.rows if isinstance(row, Heading)] == [
        *("DPO against base", "CST against base", "CST against DPO"),
    ]
    assert further_tables.paired_tests([]) is None


def test_every_drop_is_counted_by_its_reason() -> None:
    table = further_tables.synthesis([TaskSynthesis(task="t", prompts=9, pairs=7, drops={"original_empty": 2})])
    assert table is not None
    assert table.text_rows() == [["task t", ""], ["prompts", "9"], ["pairs", "7"], ["dropped: original empty", "2"]]


def test_fingerprints_are_flattened() -> None:
    table = further_tables.fingerprints({"model": "ab", "versions": {"torch": "2"}, "files": ["x"], "none": None})
    assert table is not None
    assert table.rows == (("model", "ab"), ("versions.torch", "2"), ("files.0", "x"))
    assert further_tables.fingerprints(None) is None


def test_agreement_shows_each_two_judges_and_all_of_them() -> None:
    kappa = Kappa(value=0.6, low=0.5, high=0.7, n=90, standard_error=0.05)
    pairs = [PairAgreement(first=a, second=b, agree=80, kappa=kappa) for a, b in ("ab", "ac", "bc")]
    task = PanelAgreement(task="harmless", judges=("a", "b", "c"), n=85, left_out=5, fleiss=0.58, pairs=tuple(pairs))
    table = further_tables.agreement([task])

    assert table is not None
    assert [str(cell) for cell in table.rows[1]] == ["a and b", ".600 [.500, .700] n 90", "80/90"]
    assert [str(cell) for cell in table.rows[-1]] == ["all 3 (Fleiss)", ".580", "n 85, 5 left out"]
    assert len(table.rows) == 5
    assert further_tables.agreement([]) is None


def test_agreement_that_is_not_defined_is_a_dash_and_two_judges_need_no_third_row() -> None:
    kappa = Kappa(value=None, low=-1, high=1, n=0, standard_error=None)
    pair = PairAgreement(first="a", second="b", agree=0, kappa=kappa)
    table = further_tables.agreement(
        [PanelAgreement(task="harmless", judges=("a", "b"), n=0, left_out=4, fleiss=None, pairs=(pair,))]
    )

    assert table is not None
    assert len(table.rows) == 2
    assert str(table.rows[1][1]).startswith(NOT_MEASURED)
