import numpy as np
import pytest
import scipy.stats
import statsmodels.api as sm
from scipy.stats import binomtest, norm
from statsmodels.stats.proportion import proportion_confint

import interval_coverage
from cst.evaluation.intervals import (
    Interval,
    PairedCounts,
    bootstrap,
    newcombe,
    over_groups,
    quantile,
    widest,
    wilson,
)


@pytest.mark.parametrize(("followed", "n"), [(0, 1), (1, 1), (0, 26), (26, 26), (3, 26), (195, 200), (283, 1000)])
def test_wilson_is_scipys(followed: int, n: int) -> None:
    expected = binomtest(followed, n).proportion_ci(0.95, method="wilson")
    interval = wilson(followed, n)
    assert interval.low == pytest.approx(expected.low, abs=1e-12)
    assert interval.high == pytest.approx(expected.high, abs=1e-12)
    assert interval.low <= followed / n <= interval.high


@pytest.mark.parametrize(("followed", "n"), [(0, 26), (26, 26), (3, 26), (195, 200)])
def test_wilson_is_statsmodels(followed: int, n: int) -> None:
    interval = wilson(followed, n)
    assert (interval.low, interval.high) == pytest.approx(proportion_confint(followed, n, method="wilson"), abs=1e-9)


@pytest.mark.parametrize(
    ("followed", "n", "low", "high"), [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0, 0.1611)]
)
def test_wilson_gives_the_published_examples(followed: int, n: int, low: float, high: float) -> None:
    # Newcombe 1998, Stat. Med. 17, 857, table I, method 3
    interval = wilson(followed, n)
    assert (interval.low, interval.high) == (pytest.approx(low, abs=5e-5), pytest.approx(high, abs=5e-5))


def test_the_quantile_is_scipys_to_the_last_bit() -> None:
    assert quantile() == float(norm.ppf(0.975))


def test_nothing_scored_says_nothing() -> None:
    assert wilson(0, 0) == Interval(0.0, 1.0, "wilson")
    assert newcombe(PairedCounts(0, 0, 0, 0)) == Interval(-1.0, 1.0, "newcombe")


@pytest.mark.parametrize(("followed", "n"), [(-1, 3), (4, 3)])
def test_an_impossible_count_is_refused(followed: int, n: int) -> None:
    with pytest.raises(ValueError, match="is no count"):
        wilson(followed, n)


def test_the_papers_26_of_26() -> None:
    assert wilson(26, 26).low == pytest.approx(0.871, abs=5e-4)


def test_newcombe_gives_the_published_example() -> None:
    # Newcombe 1998, Stat. Med. 17, 2635, the pairs 36, 12, 2, 0 under method 10
    interval = newcombe(PairedCounts(both=36, only_a=12, only_b=2, neither=0))
    assert (interval.low, interval.high) == (pytest.approx(0.0569, abs=5e-5), pytest.approx(0.3404, abs=5e-5))


def test_newcombe_turns_with_its_sides() -> None:
    forth, back = newcombe(PairedCounts(30, 9, 4, 7)), newcombe(PairedCounts(30, 4, 9, 7))
    assert (forth.low, forth.high) == (pytest.approx(-back.high), pytest.approx(-back.low))


def test_newcombe_keeps_a_width_when_every_pair_is_discordant() -> None:
    interval = newcombe(PairedCounts(0, 200, 0, 0))
    assert 0.9 < interval.low < interval.high == 1.0


def test_bootstrap_of_independent_values_is_the_normal_interval() -> None:
    values = [float(i % 4 == 0) for i in range(2000)]
    interval = bootstrap(values)
    half = quantile() * float(np.std(values)) / len(values) ** 0.5
    assert interval.low == pytest.approx(0.25 - half, abs=2e-3)
    assert interval.high == pytest.approx(0.25 + half, abs=2e-3)


def grouped(groups: int, size: int) -> tuple[list[float], list[str]]:
    """Answers at .9 that hang together within their group, and the group's name of each."""
    values = interval_coverage.draw(np.random.default_rng(4), groups, size, 0.9, 0.3)
    return values, [str(i // size) for i in range(groups * size)]


def test_the_cluster_bootstrap_is_scipys_over_whole_groups() -> None:
    values, names = grouped(groups=60, size=8)
    sums = np.reshape(values, (60, 8)).sum(1)
    found = bootstrap(values, names)
    oracle = scipy.stats.bootstrap((sums / 8,), np.mean, method="percentile", n_resamples=20_000, rng=0)

    assert found.low == pytest.approx(oracle.confidence_interval.low, abs=0.01)
    assert found.high == pytest.approx(oracle.confidence_interval.high, abs=0.01)


def test_the_cluster_bootstrap_is_as_wide_as_statsmodels_clustered_error() -> None:
    values, names = grouped(groups=200, size=8)
    groups = {"groups": np.array([int(name) for name in names])}
    fitted = sm.OLS(values, np.ones(len(values))).fit(cov_type="cluster", cov_kwds=groups)

    assert bootstrap(values, names).width == pytest.approx(2 * quantile() * float(fitted.bse[0]), rel=0.06)
    assert wilson(int(sum(values)), len(values)).width < 0.8 * bootstrap(values, names).width  # the control


def test_clusters_may_be_names_or_numbers() -> None:
    values, names = grouped(groups=30, size=5)
    assert bootstrap(values, names) == bootstrap(values, np.array([int(name) for name in names]))


def test_wilson_holds_the_rate_as_often_as_it_says_on_average_over_p() -> None:
    """And not for each p: at n = 50 and p = .99 it does in 91 %, at p = .9 in 97 % (Brown, Cai and DasGupta 2001)."""
    grid = [k / 200 for k in range(1, 200)]
    for n in (26, 100, 200):
        assert np.mean(interval_coverage.wilson_coverage(n, grid)) == pytest.approx(0.95, abs=0.01)
    assert interval_coverage.wilson_coverage(50, [0.99, 0.9]) == pytest.approx([0.9106, 0.9703], abs=1e-4)


@pytest.mark.parametrize(("only_a", "only_b"), [(0.2, 0.1), (0.3, 0.3)])
def test_newcombe_holds_the_difference_as_often_as_it_says(only_a: float, only_b: float) -> None:
    assert interval_coverage.newcombe_coverage(40, only_a, only_b) == pytest.approx(0.95, abs=0.01)


def test_newcombe_is_never_too_short_where_few_pairs_differ() -> None:
    assert interval_coverage.newcombe_coverage(26, 0.02, 0.02) > 0.98


def test_grouped_answers_need_the_bootstrap_and_few_groups_are_too_few_for_it() -> None:
    """A small form of benchmarks/interval_coverage.py: 300 runs; with 20 groups the bootstrap holds the rate in .89."""
    many = interval_coverage.grouped_coverage(200, 10, 0.9, 0.3, runs=300, seed=1)
    few = interval_coverage.grouped_coverage(20, 10, 0.9, 0.3, runs=300, seed=1)

    assert many["score"] == pytest.approx(0.94, abs=0.03)
    assert many["wilson"] < 0.8
    assert few["wilson"] < few["score"] < 0.94


def test_bootstrap_repeats_itself_and_leaves_the_global_generator_alone() -> None:
    values = [float(i % 3 == 0) for i in range(90)]
    clusters = [str(i // 4) for i in range(90)]
    state = np.random.get_state()[1].tolist()
    assert bootstrap(values, clusters) == bootstrap(values, clusters)
    assert bootstrap(values, clusters, seed=1) != bootstrap(values, clusters)
    assert np.random.get_state()[1].tolist() == state


def test_clusters_that_decide_the_outcome_widen_the_interval() -> None:
    names = [str(i % 20) for i in range(200)]
    decided = [float(int(name) % 2) for name in names]
    clustered = bootstrap(decided, names)
    assert clustered.width > 2 * wilson(int(sum(decided)), 200).width
    # twenty clusters of equal answers hold as much news as twenty answers
    assert clustered.width == pytest.approx(bootstrap(decided[:20]).width, abs=0.02)


def test_clusters_that_decide_nothing_leave_it_alone() -> None:
    rng = np.random.default_rng(3)
    values = rng.integers(0, 2, 4000).astype(float).tolist()
    names = [str(i % 400) for i in range(4000)]
    assert bootstrap(values, names).width == pytest.approx(bootstrap(values).width, rel=0.12)


def test_grouping_that_puts_nothing_together_or_everything_is_no_grouping() -> None:
    values = [0.0, 1.0, 1.0, 0.0]
    assert over_groups(values, [{"id": str(i), "world": "one"} for i in range(4)]) == []
    assert over_groups(values, [{"frame": "a"}, {"frame": "a"}, {}, {}])[0].method == "cluster_bootstrap"


def test_the_widest_is_shown_and_a_tie_goes_to_the_first() -> None:
    narrow, wide = Interval(0.4, 0.5, "wilson"), Interval(0.3, 0.6, "cluster_bootstrap")
    assert widest(narrow, wide) is wide
    assert widest(wide, narrow) is wide
    assert widest(narrow, Interval(0.4, 0.5, "bootstrap")) is narrow


def test_nothing_to_resample_is_an_error() -> None:
    with pytest.raises(ValueError, match="no values"):
        bootstrap([])
