import numpy as np
import pytest
from statsmodels.stats.inter_rater import cohens_kappa
from statsmodels.stats.proportion import proportion_confint

from cst.evaluation.confusion import Confusion, Figures, SideCounts, figures, rate
from cst.records import Side


def side(right: int, wrong: int, unscored: int = 0) -> SideCounts:
    return SideCounts(right=right, wrong=wrong, unscored=unscored, refused=0)


def made(original: SideCounts, revised: SideCounts, positive: Side = Side.ORIGINAL) -> Figures:
    return figures(Confusion(original=original, revised=revised), positive)


def test_every_figure_by_hand() -> None:
    # true positives 40, false negatives 10, true negatives 45, false positives 5
    found = made(side(40, 10, unscored=3), side(45, 5))

    assert found.precision.value == pytest.approx(40 / 45)
    assert found.recall.value == pytest.approx(40 / 50)
    assert found.specificity.value == pytest.approx(45 / 50)
    assert found.accuracy.value == pytest.approx(85 / 100)
    assert found.f1.value == pytest.approx(2 * 40 / (2 * 40 + 5 + 10))
    assert found.kappa.value == pytest.approx(0.7)
    assert (found.precision.n, found.recall.n, found.accuracy.n, found.f1.n, found.kappa.n) == (45, 50, 100, 55, 100)


def test_rates_have_wilsons_interval_as_statsmodels_computes_it() -> None:
    found = made(side(40, 10), side(45, 5))

    for figure, count, n in ((found.precision, 40, 45), (found.recall, 40, 50), (found.specificity, 45, 50)):
        low, high = proportion_confint(count, n, method="wilson")
        assert (figure.low, figure.high) == (pytest.approx(low, abs=1e-9), pytest.approx(high, abs=1e-9))


def test_kappa_is_statsmodels() -> None:
    found = made(side(40, 10), side(45, 5)).kappa
    oracle = cohens_kappa(np.array([[40, 10], [5, 45]]))

    assert (found.value, found.low, found.high) == pytest.approx((oracle.kappa, oracle.kappa_low, oracle.kappa_upp))


def test_the_other_class_swaps_recall_and_specificity() -> None:
    one, other = made(side(40, 10), side(45, 5)), made(side(40, 10), side(45, 5), Side.REVISED)

    assert (one.recall, one.specificity) == (other.specificity, other.recall)
    assert (one.accuracy, one.kappa) == (other.accuracy, other.kappa)
    assert one.f1 != other.f1


def test_the_interval_of_f1_holds_it_as_often_as_it_says() -> None:
    """Of 1,000 samples of 200 answers, with F1 = .857 in truth."""
    shares = np.array([0.3, 0.04, 0.06, 0.6])  # both positive, only by label, only by verdict, neither
    truth = 2 * shares[0] / (2 * shares[0] + shares[1] + shares[2])
    held = 0
    for tp, fn, fp, tn in np.random.default_rng(5).multinomial(200, shares, size=1000):
        f1 = made(side(int(tp), int(fn)), side(int(tn), int(fp))).f1
        held += f1.low <= truth <= f1.high

    assert held / 1000 == pytest.approx(0.95, abs=0.015)


@pytest.mark.parametrize("present", list(Side))
def test_one_class_alone_leaves_figures_undefined_and_says_why(present: Side) -> None:
    counts = {present: side(8, 2), present.other: side(0, 0)}
    found = made(counts[Side.ORIGINAL], counts[Side.REVISED], present)

    assert found.specificity.value is None
    assert (found.specificity.low, found.specificity.high) == (0.0, 1.0)
    assert found.specificity.undefined == f"no scored answer is labelled {present.other}"
    assert found.recall.value == 0.8
    assert found.kappa.value == 0.0  # no better than calling all of them one class


def test_nothing_scored_defines_nothing() -> None:
    found = made(side(0, 0, unscored=4), side(0, 0))

    for name in Figures.model_fields:
        figure = getattr(found, name)
        assert (figure.value, figure.n) == (None, 0)
        assert figure.undefined


def test_a_judge_that_is_always_right_on_one_class_has_no_kappa() -> None:
    assert made(side(9, 0), side(0, 0)).kappa.value is None


def test_a_defined_figure_says_nothing_of_being_undefined_in_a_file() -> None:
    assert "undefined" not in rate(3, 4, "why").model_dump()
    assert rate(0, 0, "why").model_dump()["undefined"] == "why"
