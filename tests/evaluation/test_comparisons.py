import numpy as np
import pytest
from made_for_evaluation import CONFIGURATIONS, completion, prompt, verdicts
from scipy.stats import binom, binomtest, multinomial
from statsmodels.stats.contingency_tables import mcnemar as statsmodels_mcnemar
from statsmodels.stats.proportion import proportion_confint, samplesize_proportions_2indep_onetail

from cst.errors import DataError
from cst.evaluation.comparisons import (
    DISCORDANCE,
    POWER,
    RATE,
    binomial,
    compare,
    independent_n,
    mcnemar,
    mcnemar_power,
    power_table,
    wilson_power,
)
from cst.records import Side

REVISED, ORIGINAL = Side.REVISED, Side.ORIGINAL


def paired(a: list[Side | None], b: list[Side | None], groups: list[dict[str, str]] | None = None):
    prompts = [prompt(f"p{i}", groups=groups[i] if groups else {}) for i in range(len(a))]
    answers = [completion(p, model=model) for model in ("cst", "dpo") for p in prompts]
    # the verdicts arrive in another order: pairing is by prompt, not by position
    return compare(
        answers[len(a) :] + answers[: len(a)], verdicts(answers, [*a, *b]), CONFIGURATIONS, model_a="cst", model_b="dpo"
    )


def test_mcnemar_by_hand() -> None:
    assert mcnemar(0, 0) == 1.0
    assert mcnemar(5, 0) == pytest.approx(2 / 32)
    assert mcnemar(1, 5) == pytest.approx(2 * (1 + 6) / 64)
    assert mcnemar(3, 3) == 1.0
    assert mcnemar(121, 59) == pytest.approx(binomtest(59, 180).pvalue)


@pytest.mark.parametrize(("only_a", "only_b"), [(5, 0), (1, 5), (3, 3), (121, 59), (12, 2)])
def test_mcnemar_is_statsmodels(only_a: int, only_b: int) -> None:
    oracle = statsmodels_mcnemar([[7, only_a], [only_b, 9]], exact=True)
    assert mcnemar(only_a, only_b) == pytest.approx(oracle.pvalue, abs=1e-12)


def test_mcnemar_gives_the_published_example() -> None:
    # Fagerland, Lydersen and Laake 2013, BMC Med. Res. Methodol. 13, 91, table 1: 1 and 7 discordant pairs: .0703
    assert mcnemar(1, 7) == pytest.approx(0.0703, abs=5e-5)


def test_pairs_are_counted_by_prompt() -> None:
    a = [REVISED] * 6 + [ORIGINAL] * 2
    b = [REVISED] * 1 + [ORIGINAL] * 5 + [REVISED] + [ORIGINAL]
    [test] = paired(a, b)
    assert (test.n, test.only_a, test.only_b, test.difference) == (8, 5, 1, 0.5)
    assert test.p_value == pytest.approx(2 * (1 + 6) / 64)
    assert -1 <= test.low <= test.difference <= test.high <= 1


def test_a_prompt_without_both_verdicts_is_left_out_and_counted() -> None:
    [test] = paired([REVISED, None, REVISED, None], [ORIGINAL, ORIGINAL, None, None])
    assert (test.n, test.unscored, test.only_a) == (1, 3, 1)


def test_nothing_scored_has_no_difference() -> None:
    [test] = paired([None], [REVISED])
    assert (test.n, test.difference, test.p_value, test.low, test.high) == (0, None, 1.0, -1.0, 1.0)


def test_where_groups_decide_the_difference_they_widen_it() -> None:
    groups = [{"frame": str(i % 10)} for i in range(200)]
    a, b = [REVISED] * 200, [REVISED if i % 2 else ORIGINAL for i in range(200)]
    [together] = paired(a, b, groups)
    [apart] = paired(a, b)
    assert together.interval == "grouped_newcombe"
    assert apart.interval == "newcombe"
    assert together.high - together.low > 2 * (apart.high - apart.low)


def test_models_asked_different_prompts_are_not_paired() -> None:
    answers = [completion(prompt("a"), model="cst"), completion(prompt("b"), model="dpo")]
    with pytest.raises(DataError, match="different prompts"):
        compare(answers, verdicts(answers, [REVISED] * 2), CONFIGURATIONS, model_a="cst", model_b="dpo")


def test_a_model_that_said_nothing_is_named() -> None:
    answers = [completion(prompt("a"), model="cst")]
    with pytest.raises(DataError, match=r"'dpo'.*none of cst"):
        compare(answers, verdicts(answers, [REVISED]), CONFIGURATIONS, model_a="cst", model_b="dpo")


@pytest.mark.parametrize(("n", "p"), [(1, 0.5), (26, 0.9), (500, 0.03), (1000, 0.5), (7, 0.0), (7, 1.0), (0, 0.3)])
def test_binomial_probabilities_are_scipys(n: int, p: float) -> None:
    assert binomial(n, p) == pytest.approx(binom.pmf(np.arange(n + 1), n, p), abs=1e-12)


def test_telling_90_from_96_takes_283_prompts_an_arm() -> None:
    assert independent_n(0.90, 0.96) == independent_n(0.96, 0.90) == 283


@pytest.mark.parametrize(("first", "second"), [(0.96, 0.90), (0.5, 0.6), (0.8, 0.7)])
def test_independent_arms_are_statsmodels(first: float, second: float) -> None:
    exact = samplesize_proportions_2indep_onetail(first - second, second, 0.8, alpha=0.05, alternative="two-sided")
    assert independent_n(first, second) == pytest.approx(exact, abs=1.5)


def test_equal_rates_are_never_told_apart() -> None:
    with pytest.raises(ValueError, match="no number of prompts"):
        independent_n(0.9, 0.9)


@pytest.mark.parametrize(("n", "difference", "discordance"), [(20, 0.3, 0.5), (30, 0.2, 0.2), (12, 0.0, 0.6)])
def test_mcnemars_power_is_the_sum_over_every_table(n: int, difference: float, discordance: float) -> None:
    shares = [(discordance + difference) / 2, (discordance - difference) / 2, 1 - discordance]
    told = sum(
        float(multinomial.pmf([a, b, n - a - b], n, shares))
        for a in range(n + 1)
        for b in range(n + 1 - a)
        if mcnemar(a, b) <= 0.05
    )

    assert mcnemar_power(n, difference=difference, discordance=discordance) == pytest.approx(told, abs=1e-9)


@pytest.mark.parametrize("n", [26, 100, 400])
def test_without_a_difference_the_exact_test_is_wrong_in_no_more_than_5_percent(n: int) -> None:
    assert mcnemar_power(n, difference=0.0, discordance=0.2) <= 0.05


@pytest.mark.parametrize(("difference", "discordance"), [(0.3, 0.2), (-0.3, 0.2), (0.1, 1.2)])
def test_an_impossible_discordance_is_refused(difference: float, discordance: float) -> None:
    with pytest.raises(ValueError, match="needs a discordance"):
        mcnemar_power(100, difference=difference, discordance=discordance)


@pytest.mark.parametrize(("n", "rate"), [(26, 0.7), (100, 0.85), (200, 0.9)])
def test_wilsons_power_is_the_sum_over_every_count(n: int, rate: float) -> None:
    counts = np.arange(n + 1)
    low, high = proportion_confint(counts, n, method="wilson")
    told = binom.pmf(counts, n, rate)[(low > 0.9) | (high < 0.9)].sum()

    assert wilson_power(n, rate, against=0.9) == pytest.approx(told, abs=1e-12)


def test_the_table_holds_the_smallest_differences_that_reach_the_power() -> None:
    (row,) = power_table({"harmless": 200, "unasked": 0})
    assert row.drop is not None
    assert row.paired is not None
    assert row.independent is not None

    assert wilson_power(200, RATE - row.drop, against=RATE) >= POWER
    assert wilson_power(200, RATE - row.drop + 0.005, against=RATE) < POWER
    assert mcnemar_power(200, difference=row.paired, discordance=DISCORDANCE) >= POWER
    assert mcnemar_power(200, difference=row.paired - 0.005, discordance=DISCORDANCE) < POWER
    assert independent_n(RATE, RATE - row.independent) <= 200 < independent_n(RATE, RATE - row.independent + 0.005)


def test_the_papers_26_prompts_tell_no_two_models_apart_that_differ_on_a_tenth() -> None:
    (row,) = power_table({"harmless": 26})
    assert row.paired is None
    assert row.half_width > 0.1


def test_more_prompts_tell_smaller_differences() -> None:
    small, large = power_table({"a": 100, "b": 400})
    assert (large.drop or 0) < (small.drop or 0)
    assert large.half_width < small.half_width
