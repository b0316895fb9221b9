"""At equal length a length says nothing: the law of the estimator, and the control in which behaviour says more."""

import random

import pytest
from made_for_evaluation import CONFIGURATIONS, HARMLESS, HONEST, UNCENSORED, completion, prompt, verdicts

from cst.errors import DataError
from cst.evaluation.intervals import wilson
from cst.evaluation.robustness import BINS_PER_DOUBLING, compare_switches, contested, length_matched, switch_rates
from cst.evaluation.scores import CurvePoint, at_step, outcomes, preferred_side, score, unscored_bounds
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


def asked(sides: dict[str, tuple[Side | None, Side | None]], model: str = "cst"):
    """Prompts by id, with the sides shown under `harmless` and `uncensored`."""
    answers = [completion(prompt(id), name, model=model) for id in sides for name in ("harmless", "uncensored")]
    return answers, verdicts(answers, [side for pair in sides.values() for side in pair])


def groups_of(*asked_of_models):
    answers = [answer for made, _ in asked_of_models for answer in made]
    judged = [verdict for _, made in asked_of_models for verdict in made]
    return contested(outcomes(answers, judged, CONFIGURATIONS), CONFIGURATIONS)


BOTH, SAFE, FREE, UNTOLD = (REVISED, ORIGINAL), (REVISED, REVISED), (ORIGINAL, ORIGINAL), (None, ORIGINAL)


def test_a_prompt_switches_where_every_configuration_is_followed():
    (made,) = switch_rates(groups_of(asked({"a": BOTH, "b": SAFE, "c": FREE, "d": BOTH, "e": UNTOLD})))

    assert (made.task, made.configuration) == ("harmless", "harmless + uncensored")
    assert (made.followed, made.n, made.unscored) == (2, 4, 1)
    assert made.low < 0.5 < made.high


def test_equal_scores_can_hide_different_switching():
    """The reason for the measure: S1 = S0 = .5 in both, and half or none of the prompts switch."""
    one = switch_rates(groups_of(asked({"a": BOTH, "b": (ORIGINAL, REVISED)})))
    other = switch_rates(groups_of(asked({"a": SAFE, "b": FREE})))

    assert (one[0].rate, other[0].rate) == (0.5, 0.0)


@pytest.mark.parametrize(
    "left_out",
    [
        [completion(prompt("b", "over_refusal", topic="benign"), name) for name in ("harmless", "uncensored")],
        [completion(prompt("b"), "harmless")],
        [completion(prompt("b"), name, wordings="unseen") for name in ("harmless", "uncensored")],
        [completion(prompt("b"), name, temperature=1.0) for name in ("harmless", "uncensored")],
        [completion(prompt("b"), name).model_copy(update={"framing": "suffix"}) for name in ("harmless", "uncensored")],
        [completion(prompt("b"), "none", wordings="none")],
    ],
    ids=["one side wanted", "one asked", "other wordings", "sampled", "framed", "no configuration"],
)
def test_what_can_not_switch_is_left_out(left_out):
    plain = asked({"a": BOTH})
    (made,) = switch_rates(groups_of(plain, (left_out, verdicts(left_out, [ORIGINAL] * len(left_out)))))

    assert (made.followed, made.n, made.unscored) == (1, 1, 0)


def test_later_models_are_tested_against_earlier_ones():
    base = asked({f"p{i}": SAFE for i in range(6)}, model="base")
    cst = asked({f"p{i}": BOTH for i in range(6)}, model="cst")
    (test,) = compare_switches(groups_of(base, cst))

    assert (test.model_a, test.model_b, test.only_a, test.only_b) == ("cst", "base", 6, 0)
    assert test.p_value == pytest.approx(2 / 2**6)


def test_where_nothing_can_switch_there_is_nothing():
    assert switch_rates(groups_of()) == compare_switches(groups_of()) == []


NAMES = ("harmless", "uncensored")
WANTED = {"harmless": Side.REVISED, "uncensored": Side.ORIGINAL}


def matched(answers, sides):
    judged = verdicts(answers, sides)
    return length_matched(contested(outcomes(answers, judged, CONFIGURATIONS), CONFIGURATIONS))


def answers_of(lengths: dict[str, list[int]]):
    return [
        completion(prompt(f"p{i}"), name, text="x" * length) for name in NAMES for i, length in enumerate(lengths[name])
    ]


def drawn(seed: int) -> dict[str, list[int]]:
    """Short under `harmless`, long under `uncensored`, with a few of each the other way."""
    rng = random.Random(seed)
    short, long = [rng.randint(60, 140) for _ in range(60)], [rng.randint(120, 320) for _ in range(60)]
    swapped = [rng.random() < 0.1 for _ in range(60)]
    return {
        "harmless": [b if swap else a for a, b, swap in zip(short, long, swapped, strict=True)],
        "uncensored": [a if swap else b for a, b, swap in zip(short, long, swapped, strict=True)],
    }


@pytest.mark.parametrize("seed", range(5))
def test_where_length_decides_the_side_two_rates_add_up_to_one(seed):
    answers = answers_of(drawn(seed))
    edge = 2 ** (28 / BINS_PER_DOUBLING)
    sides = [Side.REVISED if len(answer.text) < edge else Side.ORIGINAL for answer in answers]
    one, other = matched(answers, sides)
    before = score(answers, verdicts(answers, sides), CONFIGURATIONS)

    assert one.n == other.n > 0
    assert one.followed + other.followed == one.n
    assert all((whole.rate or 0) > 0.6 for whole in before)


@pytest.mark.parametrize("seed", range(5))
def test_where_the_configuration_decides_the_side_rates_stay(seed):
    answers = answers_of(drawn(seed))

    assert [made.rate for made in matched(answers, [WANTED[answer.configuration] for answer in answers])] == [1.0, 1.0]


def test_each_configuration_keeps_as_many_answers_of_a_length_as_the_one_with_the_fewest():
    answers = answers_of({"harmless": [100] * 5 + [400], "uncensored": [101] * 2 + [800] * 4})
    one, other = matched(answers, [WANTED[answer.configuration] for answer in answers])

    assert [(made.n, made.left_out) for made in (one, other)] == [(2, 4), (2, 4)]
    assert (one.median_characters, other.median_characters) == (100, 800)


def test_lengths_that_are_nowhere_comparable_give_no_rate():
    answers = answers_of({"harmless": [10, 11], "uncensored": [1000, 0]})
    made = matched(answers, [WANTED[answer.configuration] for answer in answers])

    assert [(s.n, s.rate, s.left_out) for s in made] == [(0, None, 2)] * 2


def test_unscored_answers_are_matched_and_counted_as_unscored():
    answers = answers_of({"harmless": [100, 100], "uncensored": [100, 100]})
    one, _ = matched(answers, [Side.REVISED, None, Side.ORIGINAL, Side.ORIGINAL])

    assert (one.followed, one.n, one.unscored, one.left_out) == (1, 1, 1, 0)
