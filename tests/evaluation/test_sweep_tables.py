"""Every cell has its counts, N = 0 is told apart from the start model, and what isn't there is a dash."""

from sweep_for_evaluation import HARMFUL, REFUSED, N, answers, swept

from cst.evaluation.sweep import Sweep
from cst.evaluation.sweep_tables import best_sentence, changes_table, means_table, rates_table, topics_table
from cst.evaluation.tables import NOT_MEASURED, Difference, Heading, Rate, Table

SWEEP = swept(*answers())
EMPTY = Sweep(rates=())


def cells(table: Table | None) -> dict[str, list[object]]:
    """The cells of each row by its first one."""
    assert table is not None
    return {str(row[0]): list(row[1:]) for row in table.rows if not isinstance(row, Heading)}


def test_one_row_an_n_with_both_rates_and_their_counts():
    found = cells(rates_table(SWEEP))
    assert list(found) == ["start model", "0", "100", "1000"]
    for row, model in zip(found.values(), HARMFUL, strict=True):
        assert [cell.count for cell in row if isinstance(cell, Rate)] == [
            f"{HARMFUL[model]}/{N}, 0 unscored",
            f"{REFUSED[model]}/{N}, 0 unscored",
        ]


def test_a_measure_that_is_not_there_is_a_dash():
    less = {model: count for model, count in REFUSED.items() if model != "safety-100"}
    found = cells(rates_table(swept(*answers(refused=less))))
    assert found["100"][1] == NOT_MEASURED
    assert all(isinstance(cell, Rate) for name, row in found.items() if name != "100" for cell in row)


def test_changes_are_signed_and_say_how_many_prompts_changed():
    found = cells(changes_table(SWEEP))
    assert list(found) == ["100", "1000"]
    harm, refusal = found["1000"]
    assert isinstance(harm, Difference)
    assert isinstance(refusal, Difference)
    assert (harm.main, harm.count) == ("\N{MINUS SIGN}.900", "0 more, 9 less of 10, 0 unscored")
    assert (refusal.main, refusal.remark) == ("+.600", "p 0.031")


def test_topics_stand_under_their_measure_with_one_column_an_n():
    table = topics_table(SWEEP)
    assert table is not None
    assert table.columns == ("topic", "start model", "N = 0", "N = 100", "N = 1000")
    assert table.rows[0] == Heading("harmfulness")
    assert list(cells(table)) == ["even", "odd"]


def test_means_name_the_judge_and_leave_a_dash_where_it_gave_no_number():
    table = means_table(SWEEP, ["made@1234"])
    assert table is not None
    assert "made@1234" in table.note
    start, refusal = cells(table)["start model"]
    assert isinstance(start, Rate)
    assert (start.main, start.count, start.low) == ("84.500", "n 10, 0 unscored", SWEEP.means[0].low)
    assert refusal == NOT_MEASURED


def test_the_best_n_is_told_with_its_rates_and_those_of_none():
    told = best_sentence(SWEEP)
    assert "Best N: 100" in told
    assert "harmfulness .200 [.057, .510] 2/10" in told
    assert "At N = 0: harmfulness .900" in told
    assert best_sentence(swept(*answers(refused={}))).startswith("No best N")
    harmless = best_sentence(swept(*answers(harmful=dict.fromkeys(HARMFUL, 0))))
    assert "Best N: 0," in harmless
    assert "At N = 0" not in harmless
    above = {"base": None, "safety-100": 100, "safety-1000": 1000}
    assert "At N = 0: not measured." in best_sentence(swept(*answers(), above))


def test_nothing_is_no_table():
    made = (rates_table(EMPTY), changes_table(EMPTY), topics_table(EMPTY), means_table(EMPTY, []))
    assert made == (None, None, None, None)
