from itertools import pairwise

import numpy as np
import pytest
import scipy.stats
import statsmodels.api as sm
from scipy.stats import binomtest, norm, t
from statsmodels.stats.inter_rater import cohens_kappa
from statsmodels.stats.inter_rater import fleiss_kappa as statsmodels_fleiss_kappa
from statsmodels.stats.proportion import proportion_confint

import grouped_answers
import interval_coverage
from cst.intervals import (
    Interval,
    Kappa,
    PairedCounts,
    bootstrap,
    cohen_kappa,
    effective_n,
    fleiss_kappa,
    newcombe,
    of_clusters,
    quantile,
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


def grouped(kind: str, groups: int, *, rate: float = 0.9) -> tuple[list[float], list[dict[str, str]]]:
    """Answers that hang together within their group, by .3, and the group of each."""
    design = grouped_answers.Design(grouped_answers.sizes(kind, groups), 0.3)
    [counts] = grouped_answers.draw(np.random.default_rng(4), design, (rate, 1 - rate), 1)
    values = np.repeat(np.tile([1.0, 0.0], groups), counts.ravel()).tolist()
    return values, [{"group": str(cluster)} for cluster in design.clusters]


def test_four_groups_of_four_worked_by_hand() -> None:
    """3, 1, 4 and 0 of 4: with a group left out the mean moves by 1, 1, 2 and 2 twelfths.

    The variance over groups is 3/4 x 10/144 = 5/96, that of 16 independent answers 1/60: a design effect of 3.125.
    Tables give the 97.5 % quantile of t as 2.131 with 15 degrees of freedom and 3.182 with 3.
    """
    values = [float(i < followed) for followed in (3, 1, 4, 0) for i in range(4)]
    groups = [{"frame": str(i // 4)} for i in range(16)]

    worth = effective_n(values, groups)

    assert worth == pytest.approx(16 / 3.125 * (2.131 / 3.182) ** 2, rel=1e-3)
    assert wilson(8, 16, worth).method == "grouped_wilson"


def test_the_variance_of_groups_of_one_size_is_statsmodels_clustered_error() -> None:
    values, groups = grouped("equal", 60, rate=0.5)
    names = {"groups": np.array([int(group["group"]) for group in groups])}
    error = float(sm.OLS(values, np.ones(600)).fit(cov_type="cluster", cov_kwds=names).bse[0])
    alone = float(sm.OLS(values, np.ones(600)).fit().bse[0])

    expected = 600 * (alone / error * t.ppf(0.975, 599) / t.ppf(0.975, 59)) ** 2

    assert effective_n(values, groups) == pytest.approx(expected, rel=1e-9)
    assert expected < 400  # the control: these groups matter


def test_the_variance_of_groups_of_many_sizes_is_that_of_leaving_each_out() -> None:
    values, groups = grouped("zipf", 12)
    array, names = np.array(values), np.array([group["group"] for group in groups])
    left = np.array([array[names != name].mean() for name in np.unique(names)])
    sizes = np.unique(names, return_counts=True)[1]
    of_groups = 11 / 12 * ((left - array.mean()) ** 2).sum()
    quantiles = t.ppf(0.975, len(array) - 1) / t.ppf(0.975, sizes.sum() ** 2 / (sizes**2).sum() - 1)

    expected = array.var() / (len(array) - 1) / of_groups * len(array) * quantiles**2

    assert effective_n(values, groups) == pytest.approx(expected, rel=1e-9)


def test_failures_that_one_group_brings_are_worth_less_than_failures_of_all() -> None:
    """Of 20 groups of ten: six failures in one of them, or two in each of three."""
    in_one = [float(not (i // 10 == 0 and i % 10 < 6)) for i in range(200)]
    spread = [float(not (i // 10 < 3 and i % 10 < 2)) for i in range(200)]
    groups = [{"frame": str(i // 10)} for i in range(200)]
    assert 1 < 2 * effective_n(in_one, groups) < effective_n(spread, groups) < 200


def test_over_many_groups_it_is_as_wide_as_scipys_bootstrap_of_whole_groups() -> None:
    values, groups = grouped("equal", 300, rate=0.6)
    interval = wilson(int(sum(values)), 3000, effective_n(values, groups))
    shares = np.reshape(values, (300, 10)).mean(axis=1)
    oracle = scipy.stats.bootstrap((shares,), np.mean, method="percentile", n_resamples=20_000, rng=0)

    assert interval.width == pytest.approx(np.ptp(oracle.confidence_interval), rel=0.03)
    assert wilson(int(sum(values)), 3000).width < 0.6 * interval.width  # the control


def test_groups_of_one_lose_nothing() -> None:
    for failures in (1, 3, 30):
        values = np.repeat([1.0, 0.0], [60 - failures, failures])
        assert of_clusters(values, np.arange(60)) == pytest.approx(60, rel=1e-12)
        assert effective_n(values.tolist(), [{"id": str(i)} for i in range(60)]) == 60


def test_one_group_and_no_group_are_no_grouping() -> None:
    values = [0.0, 1.0, 1.0, 0.0]
    assert effective_n(values, [{"world": "one"}] * 4) == effective_n(values, [{}] * 4) == effective_n(values, []) == 4
    assert effective_n(values, [{"frame": "a"}, {"frame": "b"}, {"frame": "b"}, {"frame": "a"}]) < 4


@pytest.mark.parametrize("value", [0.0, 1.0])
def test_answers_that_are_all_alike_keep_wilsons_interval(value: float) -> None:
    worth = effective_n([value] * 30, [{"frame": str(i % 3)} for i in range(30)])
    assert wilson(int(30 * value), 30, worth) == wilson(int(30 * value), 30)


def test_groups_that_agree_more_than_chance_would_let_them_never_narrow_an_interval() -> None:
    values = [float(i % 2) for i in range(40)]
    assert effective_n(values, [{"frame": str(i // 4)} for i in range(40)]) == 40


def test_groups_that_decide_everything_are_worth_less_than_one_answer_each() -> None:
    names = [i % 20 for i in range(200)]
    worth = effective_n([float(name % 2) for name in names], [{"frame": str(name)} for name in names])
    assert 10 < worth < 20


def test_the_fewest_over_the_ways_of_grouping_count_and_a_value_without_a_group_stands_alone() -> None:
    values, coarse = grouped("equal", 20)
    fine = [{"pair": str(i // 2)} for i in range(200)]
    both = [a | b for a, b in zip(coarse, fine, strict=True)]
    assert effective_n(values, both) == min(effective_n(values, coarse), effective_n(values, fine))
    alone = [group if i < 100 else {"group": f"alone {i}"} for i, group in enumerate(coarse)]
    assert effective_n(values, [*coarse[:100], *[{}] * 100]) == pytest.approx(effective_n(values, alone))


def test_neither_the_order_nor_the_side_that_counts_matters() -> None:
    values, groups = grouped("unequal", 20)
    back = effective_n([1 - value for value in values[::-1]], groups[::-1])
    assert effective_n(values, groups) == pytest.approx(back, rel=1e-9)


def test_fewer_answers_of_the_same_rate_are_wilsons_and_newcombes_own() -> None:
    halved, wilsons = wilson(150, 200, 100.0), wilson(75, 100)
    assert (halved.low, halved.high) == pytest.approx((wilsons.low, wilsons.high), abs=1e-12)
    of_half, newcombes = newcombe(PairedCounts(60, 18, 8, 14), 50.0), newcombe(PairedCounts(30, 9, 4, 7))
    assert (of_half.low, of_half.high) == pytest.approx((newcombes.low, newcombes.high), abs=1e-12)
    assert (of_half.method, newcombes.method) == ("grouped_newcombe", "newcombe")


@pytest.mark.parametrize("followed", [1, 60, 100, 199])
def test_an_interval_of_fewer_answers_holds_that_of_more(followed: int) -> None:
    intervals = [wilson(followed, 200, worth) for worth in (0.5, 3.0, 40.0, 199.0, 200.0)]
    for outer, inner in pairwise(intervals):
        assert outer.low < inner.low < inner.high < outer.high


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


@pytest.mark.parametrize(("kind", "groups", "rate"), [("equal", 20, 0.8), ("unequal", 50, 0.8), ("zipf", 20, 0.5)])
def test_intervals_of_grouped_answers_hold_the_rate_as_often_as_they_say(kind: str, groups: int, rate: float) -> None:
    """A small form of benchmarks/interval_coverage.py, 2,000 runs; whoever takes the answers for independent fails."""
    design = grouped_answers.Design(grouped_answers.sizes(kind, groups), 0.3)
    held = grouped_answers.rate_coverage(np.random.default_rng(1), design, rate, 2000)
    assert held["score"] == pytest.approx(0.95, abs=0.015)
    assert held["wilson"] < 0.75


def test_a_bootstrap_of_whole_groups_is_too_short_where_they_are_few() -> None:
    design = grouped_answers.Design(grouped_answers.sizes("equal", 10), 0.3)
    rng = np.random.default_rng(1)
    assert grouped_answers.bootstrap_coverage(rng, design, 0.8, 500) < 0.92
    assert grouped_answers.rate_coverage(rng, design, 0.8, 500)["score"] > 0.92


def test_intervals_of_grouped_pairs_are_not_too_short() -> None:
    design = grouped_answers.Design(grouped_answers.sizes("unequal", 10), 0.3)
    held = grouped_answers.pair_coverage(np.random.default_rng(1), design, (0.56, 0.2, 0.1, 0.14), 1000)
    assert held["paired"] > 0.94
    assert held["newcombe"] < 0.7


def test_drawn_answers_correlate_as_much_as_they_should() -> None:
    """In groups of two: the share of unlike pairs is 2 p (1 - p) (1 - correlation)."""
    for correlation in (0.0, 0.3, 1.0):
        design = grouped_answers.Design(np.full(50_000, 2), correlation)
        [counts] = grouped_answers.draw(np.random.default_rng(2), design, (0.8, 0.2), 1)
        assert np.mean(counts[:, 0] == 1) == pytest.approx(0.32 * (1 - correlation), abs=0.008)


def test_bootstrap_repeats_itself_and_leaves_the_global_generator_alone() -> None:
    values = [float(i % 3 == 0) for i in range(90)]
    state = np.random.get_state()[1].tolist()
    assert bootstrap(values) == bootstrap(values)
    assert bootstrap(values, seed=1) != bootstrap(values)
    assert np.random.get_state()[1].tolist() == state


def test_nothing_to_resample_is_an_error() -> None:
    with pytest.raises(ValueError, match="no values"):
        bootstrap([])


LABELS = "abc"


def pairs_of(table: list[list[int]]) -> list[tuple[str, str]]:
    return [(LABELS[i], LABELS[j]) for i, row in enumerate(table) for j, n in enumerate(row) for _ in range(n)]


@pytest.mark.parametrize(
    "table",
    [
        [[20, 5], [10, 15]],
        [[45, 15], [25, 15]],
        [[25, 35], [5, 35]],
        [[1, 9], [8, 2]],
        [[88, 14, 18], [10, 40, 10], [2, 6, 12]],
        [[50, 3, 0], [2, 40, 1], [0, 0, 0]],
    ],
)
def test_cohens_kappa_and_its_error_are_statsmodels(table: list[list[int]]) -> None:
    kappa, oracle = cohen_kappa(pairs_of(table)), cohens_kappa(np.array(table))

    assert kappa.value == pytest.approx(oracle.kappa, abs=1e-12)
    assert kappa.standard_error == pytest.approx(oracle.std_kappa, abs=1e-12)
    assert kappa.low == pytest.approx(max(oracle.kappa_low, -1), abs=1e-12)
    assert kappa.high == pytest.approx(min(oracle.kappa_upp, 1), abs=1e-12)
    assert kappa.n == sum(map(sum, table))


def test_the_published_example_of_the_standard_error() -> None:
    # Fleiss, Cohen and Everitt 1969, table 1: n = 200: kappa .429, standard error .054
    kappa = cohen_kappa(pairs_of([[106, 10, 4], [22, 28, 10], [2, 12, 6]]))

    assert kappa.value == pytest.approx(0.429, abs=5e-4)
    assert kappa.standard_error == pytest.approx(0.054, abs=5e-4)


def test_judges_that_always_agree_are_not_known_to_agree_always() -> None:
    kappa = cohen_kappa(pairs_of([[12, 0], [0, 14]]))

    assert (kappa.value, kappa.standard_error, kappa.high) == (1.0, 0.0, 1.0)
    chance = (12 / 26) ** 2 + (14 / 26) ** 2
    assert kappa.low == pytest.approx((wilson(26, 26).low - chance) / (1 - chance))
    assert kappa.low < 0.8


def test_judges_that_never_agree_keep_a_width_too() -> None:
    kappa = cohen_kappa(pairs_of([[0, 5], [5, 0]]))

    assert kappa.value == -1.0
    assert kappa.low == -1.0 < kappa.high < 0


@pytest.mark.parametrize("table", [[], [[7]]])
def test_where_chance_agrees_always_nothing_is_said(table: list[list[int]]) -> None:
    pairs = pairs_of(table)

    assert cohen_kappa(pairs) == Kappa(value=None, low=-1.0, high=1.0, n=len(pairs), standard_error=None)


def test_the_interval_covers_the_truth() -> None:
    """Two judges that agree with kappa .6 in truth, 400 answers: the share of intervals that hold it, of 2,000."""
    shares = [0.4, 0.1, 0.1, 0.4]
    generator, names = np.random.default_rng(7), [("a", "a"), ("a", "b"), ("b", "a"), ("b", "b")]
    drawn = [
        cohen_kappa([pair for pair, n in zip(names, generator.multinomial(400, shares), strict=True) for _ in range(n)])
        for _ in range(2000)
    ]

    assert np.mean([kappa.low <= 0.6 <= kappa.high for kappa in drawn]) == pytest.approx(0.95, abs=0.015)


@pytest.mark.parametrize(
    "table",
    [
        [[3, 0], [2, 1], [0, 3], [1, 2], [3, 0]],
        np.random.default_rng(3).multinomial(5, [0.5, 0.3, 0.2], size=40),
    ],
)
def test_fleiss_kappa_is_statsmodels(table) -> None:
    assert fleiss_kappa(table) == pytest.approx(statsmodels_fleiss_kappa(np.array(table)), abs=1e-12)


def test_the_published_example_of_fleiss_kappa() -> None:
    """Fourteen raters, ten subjects, five categories, kappa .210: the worked example of Wikipedia's "Fleiss' kappa"."""
    table = [
        [0, 0, 0, 0, 14],
        [0, 2, 6, 4, 2],
        [0, 0, 3, 5, 6],
        [0, 3, 9, 2, 0],
        [2, 2, 8, 1, 1],
        [7, 7, 0, 0, 0],
        [3, 2, 6, 3, 0],
        [2, 5, 3, 2, 2],
        [6, 5, 2, 1, 0],
        [0, 2, 2, 3, 7],
    ]

    assert fleiss_kappa(table) == pytest.approx(0.210, abs=5e-4)


def test_fleiss_kappa_says_nothing_of_one_label_and_of_no_answer() -> None:
    assert fleiss_kappa([[2, 0], [2, 0]]) is None
    assert fleiss_kappa([]) is None


@pytest.mark.parametrize("table", [[[2, 0], [2, 1]], [[1, 0], [0, 1]]])
def test_answers_with_different_numbers_of_labels_are_refused(table: list[list[int]]) -> None:
    with pytest.raises(ValueError, match="can't be compared"):
        fleiss_kappa(table)
