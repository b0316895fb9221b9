from published_stand_ins import stand_in

from cst.evaluation.published import SIDES, agreement
from cst.evaluation.published_score_tables import agreement_table


def test_agreement_and_kappa_carry_their_counts_and_intervals():
    rows = stand_in("hermes_DPO")
    sides = [SIDES[row.score_response] for row in rows]
    share, kappa = agreement_table(agreement("j", rows, [None, *sides[1:]])).rows
    assert str(share[1]) == "1.000 [.930, 1.000] 51/51, 1 unscored"
    assert str(kappa[1]).startswith("1.000 [")
    assert str(kappa[1]).endswith("n 51")


def test_without_kappa_it_is_said_why():
    rows = [row for row in stand_in("solar_DPO") if row.score_response == 1]
    table = agreement_table(agreement("j", rows, [SIDES[row.score_response] for row in rows]))
    assert "all ratings are alike" in table.note
    assert "between" not in str(table.rows[1][1])
