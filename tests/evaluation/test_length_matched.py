"""At equal length a length says nothing: the law of the estimator, and the control in which behaviour says more."""

import random

import pytest
from made_for_evaluation import CONFIGURATIONS, completion, prompt, verdicts

from cst.evaluation.length_matched import BINS_PER_DOUBLING, length_matched
from cst.evaluation.scores import outcomes, score
from cst.evaluation.switch_rates import contested
from cst.records import Side

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
