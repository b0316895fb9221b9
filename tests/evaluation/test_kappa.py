import numpy as np
import pytest
from statsmodels.stats.inter_rater import cohens_kappa
from statsmodels.stats.inter_rater import fleiss_kappa as statsmodels_fleiss_kappa

from cst.evaluation.intervals import wilson
from cst.evaluation.kappa import Kappa, cohen_kappa, fleiss_kappa

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
