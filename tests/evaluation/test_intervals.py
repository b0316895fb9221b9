import numpy as np
import pytest
from scipy.stats import binomtest, norm

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
    assert quantile() == pytest.approx(norm.ppf(0.975))


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
