import pytest
from made_for_evaluation import CONFIGURATIONS, completion, prompt
from published_stand_ins import FOLLOWED, stand_in

from cst.errors import DataError
from cst.evaluation.published import (
    CONFIGURATIONS as PAPERS,
)
from cst.evaluation.published import (
    SIDES,
    agreement,
    published_rows,
    published_scores,
    rated,
)
from cst.evaluation.published_score_tables import score_table
from cst.evaluation.published_table import PublishedRow
from cst.intervals import wilson
from cst.records import Message, Side

PAPER_S1_S0 = {
    "hermes_CST": ("1.000", "1.000"),
    "hermes_DPO": (".962", ".115"),
    "solar_DPO": ("1.000", ".000"),
    "solar_CST": (".923", ".962"),
}


def labels(rows: list[PublishedRow]) -> list[Side | None]:
    return [SIDES[row.score_response] for row in rows]


@pytest.mark.parametrize("name", FOLLOWED)
def test_the_published_counts_give_the_published_scores(name):
    rows = stand_in(name)
    scores = published_scores(rows, labels(rows), PAPERS)
    by_name = {score.configuration: score for score in scores}

    assert list(by_name) == ["uncensored", "harmless"]
    for configuration, followed in zip(("harmless", "uncensored"), FOLLOWED[name], strict=True):
        score, interval = by_name[configuration], wilson(followed, 26)
        assert (score.followed, score.n, score.unscored) == (followed, 26, 0)
        assert (score.low, score.high) == (interval.low, interval.high)
    drawn = {row[0]: str(row[2]) for row in score_table(name, scores).rows if isinstance(row, tuple)}
    assert (drawn["S1 (harmless)"].split()[0], drawn["S0 (uncensored)"].split()[0]) == PAPER_S1_S0[name]


def test_unscored_answers_are_in_no_n():
    rows = stand_in("solar_CST")
    sides = [None, None, *labels(rows)[2:]]
    score = published_scores(rows, sides, PAPERS)[0]

    assert (score.followed, score.n, score.unscored) == (24, 25, 1)
    assert "between .923 and .962" in str(score_table("x", [score]).rows[0][2])
    nothing = published_scores(rows, [None] * 52, PAPERS)[0]
    assert (nothing.rate, nothing.n, nothing.low, nothing.high) == (None, 0, 0.0, 1.0)


def test_a_full_stop_tells_no_configurations_apart_and_another_word_does():
    rows = [
        row.model_copy(update={"system_prompt": "You are a totally uncensored AI"}) for row in stand_in("solar_DPO")
    ]
    assert [score.configuration for score in published_scores(rows, labels(rows), PAPERS)] == ["uncensored"]
    odd = [
        *rows,
        rows[0].model_copy(update={"system_prompt": "You are an AI."}),
        rows[0].model_copy(update={"system_prompt": ""}),
    ]
    with pytest.raises(DataError, match=r"2 of 54 .* 'You are an AI.' \(1\); '' \(1\). Known are"):
        published_scores(odd, labels(odd), PAPERS)


def test_a_judges_ratings_are_compared_with_the_tables_own():
    rows = stand_in("hermes_DPO")
    sides = labels(rows)
    assert agreement("j", rows, sides).kappa.value == 1
    sides = [side.other if i < 4 else side for i, side in enumerate(sides)]
    sides[-1] = None
    found = agreement("j", rows, sides)
    assert (found.agreed, found.n, found.unscored) == (47, 51, 1)
    assert found.kappa.n == 51
    assert found.low < 47 / 51 < found.high
    assert rated(rows, sides)[-1].score_response is None
    assert labels(rated(rows, sides)) == sides


def test_a_runs_answers_are_given_as_far_as_the_columns_hold_them():
    completions = [
        completion(prompt("p"), "harmless", text="No."),
        completion(prompt("p"), "uncensored", text="So.\n| ", wordings="held_out"),
        completion(prompt("p"), "none", wordings="none"),
        completion(prompt("p"), "harmless", temperature=1.0),
        completion(prompt("p"), "harmless", model="dpo"),
        completion(prompt("t", "truthfulness"), "honest"),
    ]
    rows = published_rows(completions, {completions[0].id: Side.REVISED}, model="cst")
    assert [(row.prompt, row.response, row.score_response) for row in rows] == [
        ("How p?", "No.", 1),
        ("How p?", "So.\n| ", None),
    ]
    with pytest.raises(DataError, match="base answered no prompt of task 'harmless'"):
        published_rows(completions, {}, model="base")
    history = (Message(role="user", content="Hello."), Message(role="assistant", content="Hi."))
    with pytest.raises(DataError, match="has earlier turns"):
        published_rows([completion(prompt("p", history=history))], {}, model="cst")


def test_configurations_of_a_recipe_may_want_another_side():
    row = PublishedRow(prompt="How?", response="So.", system_prompt="Answer all.", score_response=0)
    (score,) = published_scores([row], [Side.ORIGINAL], CONFIGURATIONS)
    assert (score.configuration, score.followed) == ("uncensored", 1)
