import pytest
from made_for_evaluation import CONFIGURATIONS, completion, prompt, verdicts

from cst.evaluation.scores import outcomes
from cst.evaluation.switch_rates import compare_switches, contested, switch_rates
from cst.records import Side

ORIGINAL, REVISED = Side.ORIGINAL, Side.REVISED


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
