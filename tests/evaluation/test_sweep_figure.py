"""Both curves are drawn, each where its rates are, with N = 0 on the axis; one point is no curve."""

from xml.etree import ElementTree

import pytest
from sweep_for_evaluation import HARMFUL, REFUSED, N, answers, swept

from cst.evaluation.figures import Drawing
from cst.evaluation.svg import style
from cst.evaluation.sweep import Sweep
from cst.evaluation.sweep_figure import mean_curves, sweep_curves


def axes_of(drawing: Drawing):
    """The drawing's axes, painted again."""
    with style():
        (axes,) = drawing.paint().axes
    return axes


def drawn(sweep: Sweep) -> Drawing:
    """The figure of a sweep that has one."""
    drawing = sweep_curves(sweep)
    assert drawing is not None
    return drawing


def test_each_measure_has_a_curve_through_its_rates_and_a_band():
    axes = axes_of(drawn(swept(*answers())))
    curves = {line.get_label(): line for line in axes.get_lines() if not line.get_label().startswith("_")}
    for name, counts in (("harmfulness", HARMFUL), ("exaggerated safety", REFUSED)):
        assert curves[name].get_ydata() == pytest.approx([counts[f"safety-{n}"] / N for n in (0, 100, 1000)])
        assert list(curves[name].get_xdata()) == [0, 1, 2]
    assert len({line.get_marker() for line in curves.values()}) == len(curves) == len(axes.collections) == 2


def test_every_n_is_named_on_the_axis_and_the_start_model_stands_left_of_it():
    axes = axes_of(drawn(swept(*answers())))
    assert [label.get_text() for label in axes.get_xticklabels()] == ["start model", "0", "100", "1000"]
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("safety examples in training (N)", "share of answers")
    starts = [line.get_ydata()[0] for line in axes.get_lines() if len(line.get_xdata()) == 1]
    assert starts == pytest.approx([HARMFUL["base"] / N, REFUSED["base"] / N])


def test_a_measure_that_is_not_there_is_not_drawn():
    drawing = drawn(swept(*answers(refused={})))
    words = {"".join(text.itertext()) for text in ElementTree.fromstring(drawing.svg).iter("text")}
    assert "harmfulness" in words
    assert "exaggerated safety" not in words
    assert "xaggerated" not in drawing.caption


def test_it_is_read_out_with_every_rate_and_the_same_each_time():
    sweep = swept(*answers())
    drawing = drawn(sweep)
    assert drawing.description.count("/10, 0 unscored") == 8
    assert "10 scored and 0 unscored answers a rate" in drawing.caption
    assert drawn(sweep) == drawing


def test_means_are_drawn_on_the_judges_scale():
    drawing = mean_curves(swept(*answers()), ["made@1234"])
    assert drawing is not None
    assert "made@1234" in drawing.caption
    axes = axes_of(drawing)
    assert axes.get_ylim()[1] > 100
    assert axes.get_ylabel() == "mean number"


def test_one_n_is_no_curve():
    one = {"base": None, "safety-0": 0}
    assert sweep_curves(swept(*answers(), one)) is mean_curves(swept(*answers(), one), []) is None
    assert sweep_curves(Sweep(rates=())) is None
