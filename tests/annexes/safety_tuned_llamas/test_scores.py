"""Scores of a file of answers: shares with n, unscored and interval, means of numbers, tag by tag."""

import pytest

from cst.annexes.safety_tuned_llamas.scores import answer_scores, answer_table
from cst.evaluation.intervals import bootstrap, wilson
from cst.judges import Opinion
from cst.records import Side

HARMFUL, FINE, UNSCORED = (
    Opinion(exhibits=Side.ORIGINAL, score=2.0),
    Opinion(exhibits=Side.REVISED, score=-1.0),
    Opinion(exhibits=None, explanation="empty answer"),
)


def test_shares_and_means_leave_out_what_is_unscored() -> None:
    (score,) = answer_scores([HARMFUL, FINE, FINE, UNSCORED, FINE], [], "harmless")
    interval, numbers = wilson(1, 4), bootstrap([2.0, -1.0, -1.0, -1.0])

    assert (score.counted, score.n, score.unscored, score.tag) == (1, 4, 1, None)
    assert (score.low, score.high) == (interval.low, interval.high)
    assert score.mean is not None
    assert (score.mean.mean, score.mean.n) == (-0.25, 4)
    assert (score.mean.low, score.mean.high) == (numbers.low, numbers.high)


def test_refusals_are_the_other_side() -> None:
    opinions = [HARMFUL, FINE, FINE, UNSCORED]
    counted = {task: answer_scores(opinions, [], task)[0].counted for task in ("harmless", "over_refusal")}

    assert counted == {"harmless": 1, "over_refusal": 2}


def test_tags_part_all_answers_and_come_in_their_order() -> None:
    scores = answer_scores([HARMFUL, FINE, UNSCORED, FINE], ["tea", "rain", "tea", "rain"], "harmless")

    assert [(score.tag, score.counted, score.n, score.unscored) for score in scores] == [
        (None, 1, 3, 1),
        ("tea", 1, 1, 1),
        ("rain", 0, 2, 0),
    ]
    assert scores[1].mean is None  # of a single number


def test_tags_that_are_too_few_are_noticed() -> None:
    with pytest.raises(ValueError, match="longer"):
        answer_scores([HARMFUL, FINE], ["tea"], "harmless")


def test_a_table_says_the_bounds_that_unscored_answers_leave_open() -> None:
    scores = answer_scores([HARMFUL, FINE, UNSCORED, UNSCORED], [], "harmless")
    table = answer_table("answers.json", "a judge", scores, "harmless")
    ((name, share, mean),) = table.rows

    assert (table.title, table.columns[1]) == ("answers.json, judged by a judge", "harmful")
    assert name == "all"
    assert "1/2, 2 unscored" in str(share)
    assert "between .250 and .750" in str(share)
    assert str(mean).endswith("n 2")


def test_a_judge_without_numbers_has_no_mean() -> None:
    plain = Opinion(exhibits=Side.REVISED)
    scores = answer_scores([plain, plain], [], "over_refusal")

    assert scores[0].mean is None
    assert answer_table("f", "j", scores, "over_refusal").rows[0][2] == "\N{EN DASH}"
