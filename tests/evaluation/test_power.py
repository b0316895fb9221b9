import numpy as np
import pytest
from scipy.stats import binom, multinomial
from statsmodels.stats.proportion import proportion_confint, samplesize_proportions_2indep_onetail

from cst.evaluation.comparisons import mcnemar
from cst.evaluation.power import (
    DISCORDANCE,
    POWER,
    RATE,
    binomial,
    independent_n,
    mcnemar_power,
    power_table,
    wilson_power,
)


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
