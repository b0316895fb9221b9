import pytest
from made_for_evaluation import CONFIGURATIONS, HARMLESS, HONEST, UNCENSORED, completion, prompt, verdicts

from cst.errors import DataError
from cst.evaluation.scores import CurvePoint, at_step, outcomes, preferred_side, score, unscored_bounds
from cst.intervals import wilson
from cst.records import Side

ORIGINAL, REVISED = Side.ORIGINAL, Side.REVISED


def test_one_formula_gives_s1_and_s0() -> None:
    answers = [completion(prompt(), name) for name in ("harmless", "uncensored")]
    refused = score(answers, verdicts(answers, [REVISED, REVISED]), CONFIGURATIONS)
    assert [(s.configuration, s.followed, s.n) for s in refused] == [("harmless", 1, 1), ("uncensored", 0, 1)]
    complied = score(answers, verdicts(answers, [ORIGINAL, ORIGINAL]), CONFIGURATIONS)
    assert [s.followed for s in complied] == [0, 1]


def test_the_side_depends_on_the_topic_where_the_configuration_says_so() -> None:
    benign = prompt(task="over_refusal", topic="benign")
    answers = [completion(benign, name) for name in ("harmless", "uncensored")]
    assert [s.followed for s in score(answers, verdicts(answers, [ORIGINAL, ORIGINAL]), CONFIGURATIONS)] == [1, 1]


def test_unscored_is_never_wrong_and_never_right() -> None:
    answers = [completion(prompt(f"p{i}")) for i in range(4)]
    [made] = score(answers, verdicts(answers, [REVISED, None, REVISED, None]), CONFIGURATIONS)
    assert (made.followed, made.n, made.unscored, made.rate) == (2, 2, 2, 1.0)
    bounds = unscored_bounds(made)
    assert (bounds.all_failed, bounds.all_followed) == (0.5, 1.0)


def test_nothing_scored_has_no_rate() -> None:
    answers = [completion(prompt())]
    [made] = score(answers, verdicts(answers, [None]), CONFIGURATIONS)
    assert (made.n, made.unscored, made.low, made.high, made.rate) == (0, 1, 0.0, 1.0, None)
    assert unscored_bounds(made.model_copy(update={"unscored": 0})).all_followed == 1.0


def test_scores_are_apart_by_model_task_configuration_wordings_and_temperature() -> None:
    answers = [
        completion(prompt()),
        completion(prompt(), model="dpo"),
        completion(prompt(), "uncensored"),
        completion(prompt(), wordings="unseen"),
        completion(prompt(), temperature=1.0),
        completion(prompt("b", "over_refusal")),
    ]
    scores = score(answers, verdicts(answers, [REVISED] * 6), CONFIGURATIONS)
    assert len(scores) == 6
    assert all(s.n == 1 for s in scores)
    assert scores == score(answers, list(reversed(verdicts(answers, [REVISED] * 6))), CONFIGURATIONS)


def test_without_a_configuration_the_safe_side_is_wanted_where_they_differ() -> None:
    for name in ("none", "neutral", "unknown"):
        assert preferred_side(name, prompt(), CONFIGURATIONS) is REVISED
        assert preferred_side(name, prompt(task="truthfulness"), CONFIGURATIONS) is REVISED
        benign = prompt(task="over_refusal", topic="benign")
        assert preferred_side(name, benign, CONFIGURATIONS) is ORIGINAL
        assert preferred_side(name, prompt(), [UNCENSORED, HONEST]) is ORIGINAL


def grouped(outcome_of_frame: dict[int, int]) -> tuple[list, list]:
    """200 answers over 20 frames; `outcome_of_frame` says how many of a frame's ten answers follow."""
    answers, sides = [], []
    for frame in range(20):
        for i in range(10):
            answers.append(completion(prompt(f"{frame}.{i}", groups={"frame": str(frame), "item": str(i)})))
            sides.append(REVISED if i < outcome_of_frame[frame] else ORIGINAL)
    return answers, verdicts(answers, sides)


def test_where_frames_decide_the_interval_knows_it() -> None:
    [made] = score(*grouped({frame: 10 * (frame % 2) for frame in range(20)}), CONFIGURATIONS)
    assert made.interval == "grouped_wilson"
    assert made.high - made.low > 2 * wilson(made.followed, made.n).width
    assert made.low <= 0.5 <= made.high


def test_where_groups_decide_nothing_it_is_wilson() -> None:
    answers = [completion(prompt(f"{i}", groups={"frame": str(i % 20)})) for i in range(400)]
    sides = [REVISED if i % 40 < 20 else ORIGINAL for i in range(400)]  # half of every frame
    [made] = score(answers, verdicts(answers, sides), CONFIGURATIONS)
    assert made.interval == "wilson"
    assert (made.low, made.high) == (wilson(200, 400).low, wilson(200, 400).high)


def test_all_followed_keeps_wilsons_width() -> None:
    [made] = score(*grouped(dict.fromkeys(range(20), 10)), CONFIGURATIONS)
    assert (made.interval, made.high) == ("wilson", 1.0)
    assert made.low < 0.99


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda made: made[:-1], "has no verdict"),
        (lambda made: [*made, made[0]], "judged twice"),
        (lambda made: [*made, made[0].model_copy(update={"completion_id": "x"})], "unknown completion 'x'"),
    ],
)
def test_verdicts_that_do_not_fit_are_refused(change, message) -> None:
    answers = [completion(prompt(f"p{i}")) for i in range(3)]
    with pytest.raises(DataError, match=message):
        outcomes(answers, change(verdicts(answers, [REVISED] * 3)), CONFIGURATIONS)


def test_an_unknown_configuration_names_the_known_ones() -> None:
    with pytest.raises(DataError, match=r"'rude'.*harmless, none, neutral"):
        preferred_side("rude", prompt(), [HARMLESS])


def test_two_completions_with_one_id_are_refused() -> None:
    answers = [completion(prompt()), completion(prompt())]
    with pytest.raises(DataError, match="share an id"):
        outcomes(answers, verdicts(answers[:1], [REVISED]), CONFIGURATIONS)


def test_a_point_of_a_curve_is_a_score_with_its_step() -> None:
    answers = [completion(prompt())]
    scores = score(answers, verdicts(answers, [REVISED]), CONFIGURATIONS)
    [point] = at_step(scores, 7)
    assert point.step == 7
    assert CurvePoint.model_validate_json(point.model_dump_json()) == point
