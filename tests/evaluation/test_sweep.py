"""Counts known by hand, intervals equal to other libraries', and nothing made up where something is missing."""

import pytest
from scipy.stats import binomtest
from statsmodels.stats.contingency_tables import mcnemar
from statsmodels.stats.proportion import proportion_confint
from sweep_for_evaluation import HARMFUL, MODELS, PLAIN, REFUSED, N, answers, results_of, swept

from cst.errors import DataError
from cst.evaluation.scores import outcomes, score
from cst.evaluation.sweep import MEASURES, Sweep, SweepRate, best_count, sweep_of
from cst.intervals import bootstrap
from cst.records import Prompt, Score, Side


def whole(sweep: Sweep, measure: str) -> dict[str, SweepRate]:
    """Rates of all topics, by model."""
    return {rate.model: rate for rate in sweep.rates if rate.measure == measure and rate.topic is None}


def test_each_rate_is_the_share_of_answers_that_show_its_side():
    sweep = swept(*answers())
    for measure, counts in (("harmfulness", HARMFUL), ("exaggerated_safety", REFUSED)):
        rates = whole(sweep, measure)
        assert {model: rate.followed for model, rate in rates.items()} == counts
        assert {(rate.n, rate.unscored) for rate in rates.values()} == {(N, 0)}
        assert [rate.safety_examples for rate in rates.values()] == [None, 0, 100, 1000]
    assert sweep.missing == ()


def test_intervals_are_wilsons_as_statsmodels_has_them():
    for rate in swept(*answers()).rates:
        assert (rate.low, rate.high) == pytest.approx(proportion_confint(rate.followed, rate.n, method="wilson"))
        assert rate.interval == "wilson"


def test_grouped_prompts_have_the_interval_of_their_scores():
    """Harmfulness is the score of a configuration that would prefer harm, in every figure."""
    completions, verdicts = answers()
    grouped = [c.model_copy(update={"prompt": paired(c.prompt)}) for c in completions]
    harmful = PLAIN.model_copy(update={"prefers": Side.ORIGINAL})
    scores = [s for s in score(grouped, verdicts, [harmful]) if s.task == "harmless"]
    rates = list(whole(swept(grouped, verdicts), "harmfulness").values())

    assert len({rate.interval for rate in rates}) == 2  # Wilson's, and one over groups where that is wider
    assert [rate.model_dump(include=set(Score.model_fields)) for rate in rates] == [s.model_dump() for s in scores]


def paired(prompt: Prompt) -> Prompt:
    """The prompt in a group with its neighbour."""
    return prompt.model_copy(update={"groups": {"pair": str(int(prompt.id[-1]) // 2)}})


def test_unscored_answers_are_in_neither_count():
    completions, verdicts = answers()
    unseen = [v.model_copy(update={"exhibits": None}) if "harmless-0" in v.completion_id else v for v in verdicts]
    rates = whole(swept(completions, unseen), "harmfulness")

    assert {(model, rate.followed) for model, rate in rates.items()} == {
        (model, max(0, count - 1)) for model, count in HARMFUL.items()
    }
    assert {(rate.n, rate.unscored) for rate in rates.values()} == {(N - 1, 1)}


def test_tests_are_exact_mcnemar_of_each_n_against_none():
    sweep = swept(*answers())
    found = {(test.model_a, test.model_b, test.task): test for test in sweep.tests}
    assert len(sweep.tests) == len(found) == 4

    test = found["safety-1000", "safety-0", "over_refusal"]
    assert (test.only_a, test.only_b, test.n, test.difference) == (6, 0, N, 0.6)
    assert test.p_value == pytest.approx(mcnemar([[0, 6], [0, 4]], exact=True).pvalue)
    harm = found["safety-100", "safety-0", "harmless"]
    assert (harm.only_a, harm.only_b, harm.difference) == (0, 7, -0.7)
    assert harm.p_value == pytest.approx(binomtest(0, 7, 0.5).pvalue)


def test_topics_are_told_apart_only_where_there_are_several():
    topics = [rate for rate in swept(*answers()).rates if rate.topic]
    assert {rate.measure for rate in topics} == {"harmfulness"}
    even, odd = ([rate.followed for rate in topics if rate.topic == topic] for topic in ("even", "odd"))
    assert even == [4, 5, 1, 0]
    assert [a + b for a, b in zip(even, odd, strict=True)] == list(HARMFUL.values())
    assert {rate.n for rate in topics} == {N // 2}


def test_means_are_of_the_judges_numbers_where_it_gave_any():
    sweep = swept(*answers())
    assert {mean.measure for mean in sweep.means} == {"harmfulness"}
    start = sweep.means[0]
    values = [place + (100.0 if place < HARMFUL["base"] else 0.0) for place in range(N)]
    interval = bootstrap(values)
    assert (start.mean, start.n, start.unscored) == (sum(values) / N, N, 0)
    assert (start.low, start.high, start.interval) == (interval.low, interval.high, "bootstrap")


def test_one_number_has_no_interval_and_is_no_mean():
    completions, verdicts = answers()
    numbers = {completion.id: 1.0 for completion in completions if completion.prompt.id == "harmless-0"}
    assert numbers

    assert sweep_of(results_of(completions, verdicts), MODELS, numbers=numbers).means == ()


def test_what_is_not_there_is_said_and_the_rest_is_kept():
    completions, verdicts = answers(refused={})
    sweep = swept(completions, verdicts)
    assert sweep.missing == ("No held-out prompt of task over_refusal was answered: there is no exaggerated safety.",)
    assert (len(whole(sweep, "harmfulness")), whole(sweep, "exaggerated_safety"), sweep.best) == (4, {}, None)

    less = {model: count for model, count in HARMFUL.items() if model != "safety-100"}
    sweep = swept(*answers(harmful=less))
    assert sweep.missing == ("safety-100 answered no prompt of task harmless.",)
    assert list(whole(sweep, "harmfulness")) == ["base", "safety-0", "safety-1000"]
    assert sweep.best == 1000  # N = 100 has one measure alone

    assert swept([], []).rates == ()
    assert len(swept([], []).missing) == len(MEASURES)


def test_a_model_without_a_scored_answer_has_no_rate():
    completions, verdicts = answers()
    unseen = [v.model_copy(update={"exhibits": None}) if "safety-0/" in v.completion_id else v for v in verdicts]
    sweep = swept(completions, unseen)
    assert whole(sweep, "harmfulness")["safety-0"].rate is None
    assert "None of the 10 answers of safety-0 to task harmless could be scored." in sweep.missing
    assert {test.difference for test in sweep.tests} == {None}


def test_without_n_of_0_there_is_nothing_to_test_against():
    completions, verdicts = answers()
    sweep = swept(completions, verdicts, {"base": None, "safety-100": 100, "safety-1000": 1000})
    assert sweep.tests == ()
    assert "No model was trained without safety examples: there is nothing to test against." in sweep.missing
    assert list(whole(sweep, "harmfulness")) == ["base", "safety-100", "safety-1000"]


def test_answers_under_another_wording_temperature_or_framing_are_left_out():
    completions, verdicts = answers()
    others = [
        *({"temperature": 1.0}, {"framing": "plain"}, {"wordings": "unknown", "configuration": "unknown"}),
        {"wordings": "neutral", "configuration": "neutral"},
    ]
    more = [
        completion.model_copy(update={**other, "id": f"{completion.id}/{place}"})
        for place, other in enumerate(others)
        for completion in completions
    ]
    seen = [
        verdict.model_copy(update={"completion_id": f"{verdict.completion_id}/{place}", "exhibits": Side.ORIGINAL})
        for place in range(len(others))
        for verdict in verdicts
    ]
    assert swept([*more, *completions], [*seen, *verdicts]) == swept(completions, verdicts)
    assert swept([*completions, *more], [*verdicts, *seen]) == swept(completions, verdicts)
    alone = swept(more[3 * len(completions) :], seen[3 * len(completions) :])
    assert whole(alone, "harmfulness")["safety-1000"].followed == N


def test_a_configurations_own_wording_counts_where_nothing_was_asked_without_one():
    completions, verdicts = answers()
    canonical = [c.model_copy(update={"wordings": "canonical", "configuration": "plain"}) for c in completions]
    plain, other = swept(completions, verdicts), swept(canonical, verdicts)
    assert {rate.wordings for rate in other.rates} == {"canonical"}
    beside = [c.model_copy(update={"id": f"{c.id}/canonical"}) for c in canonical]
    judged = [v.model_copy(update={"completion_id": f"{v.completion_id}/canonical", "score": None}) for v in verdicts]
    assert swept([*beside, *completions], [*judged, *verdicts]) == plain
    assert [(r.followed, r.low, r.topic) for r in other.rates] == [(r.followed, r.low, r.topic) for r in plain.rates]


def test_the_way_in_which_a_side_was_wanted_changes_nothing():
    completions, verdicts = answers()
    flipped = PLAIN.model_copy(update={"prefers": Side.ORIGINAL})
    plain, other = outcomes(completions, verdicts, [PLAIN]), outcomes(completions, verdicts, [flipped])
    assert [o.wanted for o in plain] != [o.wanted for o in other]

    assert sweep_of(plain, MODELS) == sweep_of(other, MODELS)


def test_the_best_n_has_the_lowest_sum_and_is_the_smaller_of_equals():
    assert swept(*answers()).best == 100
    assert swept(*answers(harmful={**HARMFUL, "safety-1000": 0}, refused={**REFUSED, "safety-1000": 2})).best == 1000
    tie = swept(*answers(harmful={**HARMFUL, "safety-1000": 1}, refused={**REFUSED, "safety-1000": 2}))
    assert tie.best == 100
    assert best_count([]) is None


def test_models_that_answered_different_prompts_are_not_compared():
    completions, verdicts = answers()
    with pytest.raises(DataError, match="answered different prompts"):
        swept(completions[:-1], verdicts[:-1])


def test_a_sweep_goes_through_its_file():
    sweep = swept(*answers())
    assert Sweep.model_validate_json(sweep.model_dump_json()) == sweep
