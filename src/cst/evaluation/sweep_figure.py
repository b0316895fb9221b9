"""The figures of a sweep: both measures against N, and the judge's own numbers. It knows no files and no page."""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

from matplotlib.figure import Figure

from cst.evaluation.figures import Drawing, counts_of, drawing
from cst.evaluation.svg import FIFTH, FOURTH
from cst.evaluation.sweep import MEASURES, Measure, Sweep
from cst.evaluation.sweep_tables import START, n_label
from cst.evaluation.tables import rate_of


class Look(NamedTuple):
    """Colour and mark of a measure, told apart in print, too; and where its start model stands, left of the first N."""

    colour: str
    mark: str
    start: float


_LOOKS: dict[Measure, Look] = {
    Measure.HARMFULNESS: Look(FIFTH, "o", -1.05),
    Measure.EXAGGERATED_SAFETY: Look(FOURTH, "s", -0.95),
}

_TICKS = (0, 0.25, 0.5, 0.75, 1)


class Point(NamedTuple):
    """A value with its 95 % interval."""

    value: float
    low: float
    high: float


Curves = Mapping[Measure, Mapping[int | None, Point]]
"""Points of each measure by N."""


def sweep_curves(sweep: Sweep) -> Drawing | None:
    """Harmfulness and exaggerated safety against N; None where less than two N have a rate."""
    shown = [rate for rate in sweep.rates if rate.topic is None and rate.rate is not None]
    curves: Curves = {
        measure: {
            rate.safety_examples: Point(rate.rate or 0.0, rate.low, rate.high)
            for rate in shown
            if rate.measure == measure
        }
        for measure in MEASURES
    }
    if len(_counts(curves)) < 2:
        return None
    told = [f"{r.measure.label}, {n_label(r.safety_examples)}: {rate_of(r)}" for r in shown]
    return drawing(
        "sweep",
        partial(_figure, curves, "share of answers", is_share=True),
        f"{_words(curves)} against N, the number of safety examples in training: rates with 95 % intervals, "
        f"{counts_of(shown)}. N isn't drawn to scale; the start model stands apart.",
        f"Safety examples. {'; '.join(told)}",
    )


def mean_curves(sweep: Sweep, judges: Sequence[str]) -> Drawing | None:
    """Means of the judge's numbers against N; None where less than two N have one."""
    curves: Curves = {
        measure: {
            mean.safety_examples: Point(mean.mean, mean.low, mean.high)
            for mean in sweep.means
            if mean.measure == measure
        }
        for measure in MEASURES
    }
    if len(_counts(curves)) < 2:
        return None
    told = [
        f"{m.measure.label}, {n_label(m.safety_examples)}: {m.mean:.3f} [{m.low:.3f}, {m.high:.3f}], "
        f"n {m.n}, {m.unscored} unscored"
        for m in sweep.means
    ]
    return drawing(
        "sweep-numbers",
        partial(_figure, curves, "mean number", is_share=False),
        f"Means of the numbers that {', '.join(judges) or 'the judge'} gave the answers that {_words(curves).lower()} "
        "is read from, against N, with 95 % intervals. N isn't drawn to scale.",
        f"The judge's numbers. {'; '.join(told)}",
    )


def _words(curves: Curves) -> str:
    return " and ".join(measure.label for measure, points in curves.items() if points).capitalize()


def _counts(curves: Curves) -> list[int]:
    """Every N that has a point, in order."""
    return sorted({n for points in curves.values() for n in points if n is not None})


def _figure(curves: Curves, label: str, *, is_share: bool) -> Figure:
    counts = _counts(curves)
    has_start = any(None in points for points in curves.values())
    figure = Figure(figsize=(max(4.6, 1.6 + 0.62 * len(counts)), 3.3), layout="constrained")
    axes: Any = figure.add_subplot()
    for measure, points in curves.items():
        if points:
            _draw(axes, measure, points, counts)
    names = {-1.0: START} if has_start else {}
    names |= {float(place): str(n) for place, n in enumerate(counts)}
    axes.set_xticks(list(names), list(names.values()))
    axes.set(xlabel="safety examples in training (N)", ylabel=label)
    if is_share:
        axes.set(ylim=(-0.03, 1.03), yticks=_TICKS)
    axes.grid(visible=True, axis="y")
    axes.set_axisbelow(True)
    figure.legend(loc="outside upper left", ncols=len(curves), frameon=False)
    return figure


def _draw(axes: Any, measure: Measure, points: Mapping[int | None, Point], counts: Sequence[int]) -> None:  # noqa: ANN401 - matplotlib's Axes
    """A curve with its band over the places of N; the start model's point left of it, with a bar."""
    colour, mark, at = _LOOKS[measure]
    along = [(place, points[n]) for place, n in enumerate(counts) if n in points]
    places = [place for place, _ in along]
    lows, highs = [point.low for _, point in along], [point.high for _, point in along]
    axes.fill_between(places, lows, highs, color=colour, alpha=0.16, linewidth=0)
    values = [point.value for _, point in along]
    axes.plot(places, values, f"{mark}-", color=colour, markersize=5, label=measure.label, clip_on=False)
    if start := points.get(None):
        axes.plot([at, at], [start.low, start.high], color=colour, linewidth=1.4, alpha=0.7, clip_on=False)
        axes.plot([at], [start.value], mark, color=colour, markersize=5, clip_on=False)
