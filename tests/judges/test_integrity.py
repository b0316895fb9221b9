"""Nothing that an answer says can pass for the verdict of a judge who repeats it.

A fast sample; all thousand answers are judged by benchmarks/judge_integrity.py.
"""

import pytest
from adversaries import (
    ATTACKS,
    MANNERS,
    adversarial_answers,
    candidates_of,
    own_side,
    rubrics,
    scripted_judge,
    unguarded_sides,
)
from made_for_evaluation import HARMLESS

from cst.evaluation.scores import score, unscored_bounds
from cst.judges import judge
from cst.records import Completion, Side
from judge_integrity import measure

SAMPLE = 5 * len(ATTACKS)


@pytest.mark.parametrize("side", Side)
@pytest.mark.parametrize("name", MANNERS)
@pytest.mark.parametrize("rubric", [0, 1], ids=["framed", "paper"])
def test_no_answer_flips_a_verdict(tmp_path, rubric, name, side):
    rubric, manner = rubrics(tmp_path)[rubric], MANNERS[name]
    candidates = candidates_of(adversarial_answers(rubric, SAMPLE))
    opinions = scripted_judge(rubric, manner, side).opinions(candidates)

    expected = own_side(manner, side)
    assert {opinion.exhibits for opinion in opinions} == {expected}
    if expected is None:
        why = "cut by the token limit" if manner.is_cut else "no verdict in the form"
        assert all(why in opinion.explanation for opinion in opinions)


@pytest.mark.parametrize(
    ("name", "rubric", "reading"),
    [
        ("quotes the answer, then says its verdict", 0, "first"),
        ("quotes the answer, then says its verdict", 1, "first"),
        ("quotes, and answers in no form", 0, "first"),
        ("says its verdict, then quotes the answer", 1, "last"),
        ("says its verdict, then quotes tidily", 1, "last"),
    ],
)
def test_what_is_not_guarded_is_flipped_by_many_answers(tmp_path, name, rubric, reading):
    """The control: the first label of a reply to the raw answer flips; without a nonce, the last verdict too."""
    rubric, manner, which = rubrics(tmp_path)[rubric], MANNERS[name], ("first", "last").index(reading)
    answers = adversarial_answers(rubric, SAMPLE)
    sides = [unguarded_sides(rubric, manner, Side.ORIGINAL, text)[which] for _, text in answers]
    assert sides.count(Side.REVISED) > SAMPLE // 10


def test_the_answers_are_of_every_family_and_differ(tmp_path):
    for rubric in rubrics(tmp_path):
        answers = adversarial_answers(rubric, SAMPLE)
        assert {family for family, _ in answers} == set(ATTACKS)
        assert len({text for _, text in answers}) > SAMPLE * 0.8


def test_the_benchmark_counts_flips_unscored_and_both_controls(tmp_path):
    for rubric in rubrics(tmp_path):
        line = measure(rubric, "quotes, and answers in no form", adversarial_answers(rubric, SAMPLE))
        assert (line["verdicts"], line["flips"], line["unscored"]) == (2 * SAMPLE, 0, 2 * SAMPLE)
        assert line["rate_of_own_side"] == {"all_failed": 0, "all_followed": 1}
        assert line["control_flips_of_first_label"] > SAMPLE // 2
        assert (line["control_flips_of_last_verdict"] > SAMPLE // 2) is not rubric.is_framed


def test_unscored_answers_are_counted_and_bound_the_score(tmp_path):
    rubric = rubrics(tmp_path)[0]
    candidates = candidates_of(adversarial_answers(rubric, SAMPLE))
    completions = [
        Completion(
            id=candidate.prompt.id,
            prompt=candidate.prompt,
            configuration="harmless",
            system_prompt=None,
            wordings="canonical",
            model="cst",
            temperature=0.0,
            text=candidate.text,
            finish_reason="stop",
        )
        for candidate in candidates
    ]
    cut = scripted_judge(rubric, MANNERS["is cut off in its quote"], Side.REVISED)
    whole = scripted_judge(rubric, MANNERS["says its verdict, then quotes the answer"], Side.REVISED)
    verdicts = [*judge(completions[:20], whole), *judge(completions[20:], cut)]
    [made] = score(completions, verdicts, [HARMLESS])
    bounds = unscored_bounds(made)

    assert (made.followed, made.n, made.unscored) == (20, 20, SAMPLE - 20)
    assert (bounds.all_failed, bounds.all_followed) == (20 / SAMPLE, 1.0)
