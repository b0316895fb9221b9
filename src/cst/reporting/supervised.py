"""Tables and drawings of supervised tuning: the sweep over numbers of safety examples, and the losses of the training.

This file knows the records of a sweep and of training steps. It does not know where a table or drawing is shown.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

from matplotlib.figure import Figure

from cst.evaluation.comparisons import PairedTest
from cst.evaluation.sweep import MEASURES, Measure, Sweep
from cst.records import Demonstration
from cst.reporting.evidence import TrainingStep
from cst.reporting.figures import FIFTH, FOURTH, TICKS, Drawing, counts_of, drawing, with_grid
from cst.reporting.tables import (
    NOT_MEASURED,
    Counts,
    Difference,
    Heading,
    Rate,
    Row,
    Table,
    TableCell,
    p_value,
    rate_of,
)

_WHAT = (
    "N: how many safety examples were among the rows of training. Harmfulness: the share of answers to hazardous "
    "requests that show the original side, which does what was asked. Exaggerated safety: the share of answers to "
    "harmless look-alikes that show the revised side, which refuses. Counted are the answers that show that side; "
    "lower is better in both."
)

START = "start model"


def n_label(safety_examples: int | None) -> str:
    """N as a column and a text have it; the start model has none."""
    return START if safety_examples is None else f"N = {safety_examples}"


def rates_table(sweep: Sweep) -> Table | None:
    """One row an N, one column a measure."""
    rates = [rate for rate in sweep.rates if rate.topic is None]
    if not rates:
        return None
    cells = {(rate.safety_examples, rate.measure): rate_of(rate) for rate in rates}
    return Table("Safety examples", ("N", *(measure.label for measure in MEASURES)), tuple(_by_n(cells)), _WHAT)


def _by_n(cells: dict[tuple[int | None, Measure], TableCell]) -> Iterable[Row]:
    for n in dict.fromkeys(n for n, _ in cells):
        yield (START if n is None else str(n), *(cells.get((n, measure), NOT_MEASURED) for measure in MEASURES))


def topics_table(sweep: Sweep) -> Table | None:
    """One row a topic, one column an N, under a heading for each measure."""
    rates = [rate for rate in sweep.rates if rate.topic is not None]
    if not rates:
        return None
    columns = list(dict.fromkeys(rate.safety_examples for rate in rates))
    cells = {(rate.measure, rate.topic, rate.safety_examples): rate for rate in rates}
    rows: list[Row] = []
    for measure in dict.fromkeys(rate.measure for rate in rates):
        rows.append(Heading(measure.label))
        for topic in dict.fromkeys(rate.topic for rate in rates if rate.measure == measure):
            rows.append((topic or "", *(rate_of(cells.get((measure, topic, n))) for n in columns)))
    return Table("Safety examples by topic", ("topic", *map(n_label, columns)), tuple(rows))


def changes_table(sweep: Sweep) -> Table | None:
    """One row an N, each less N = 0 on the same prompts, one column a measure."""
    if not sweep.tests:
        return None
    counts = {rate.model: rate.safety_examples for rate in sweep.rates}
    of_task = {shown.task: measure for measure, shown in MEASURES.items()}
    cells = {(counts[test.model_a], of_task[test.task]): _change(test) for test in sweep.tests}
    return Table(
        "Against no safety examples",
        ("N", *(f"change of {measure.label}" for measure in MEASURES)),
        tuple(_by_n(cells)),
        "Each model less that of N = 0 on the same prompts: exact two-sided McNemar test, Newcombe's 95 % interval for "
        "pairs, wider where prompts hang together in groups (\N{DAGGER}). p-values aren't corrected for their number.",
    )


def _change(test: PairedTest) -> TableCell:
    count = f"{test.only_a} more, {test.only_b} less of {test.n}, {test.unscored} unscored"
    counts = Counts(n=test.n, unscored=test.unscored)
    remark = f"p {p_value(test.p_value)}"
    return Difference(test.difference, test.low, test.high, count, remark, test.interval, counts)


def means_table(sweep: Sweep, judges: Sequence[str]) -> Table | None:
    """One row an N, one column a measure; `judges` say whose numbers they are."""
    if not sweep.means:
        return None
    cells: dict[tuple[int | None, Measure], TableCell] = {}
    for m in sweep.means:
        count, counts = f"n {m.n}, {m.unscored} unscored", Counts(n=m.n, unscored=m.unscored)
        cells[m.safety_examples, m.measure] = Rate(m.mean, m.low, m.high, count, method=m.interval, counts=counts)
    return Table(
        "Safety examples, the judge's numbers",
        ("N", *(f"mean number, {measure.label}" for measure in MEASURES)),
        tuple(_by_n(cells)),
        f"Means of the numbers from which {', '.join(judges) or 'the judge'} read its verdicts, on its own scale, with "
        "a 95 % percentile bootstrap, which takes the answers for independent. Answers without a number are unscored.",
    )


def best_sentence(sweep: Sweep) -> str:
    """Which N is best, by which rule, with its rates and those of N = 0."""
    if sweep.best is None:
        return "No best N is named: that takes both measures."
    beside = "" if sweep.best == 0 else f" At N = 0: {_rates_at(sweep, 0) or 'not measured'}."
    return (
        f"Best N: {sweep.best}, with the lowest sum of both measures ({_rates_at(sweep, sweep.best)}). Both count the "
        "same (Youden's index), of equal sums the smaller N is taken, and it is picked by the answers that are shown: "
        f"its rates flatter it a little.{beside}"
    )


def _rates_at(sweep: Sweep, n: int) -> str:
    found = [rate for rate in sweep.rates if rate.safety_examples == n and rate.topic is None]
    return ", ".join(f"{rate.measure.label} {rate_of(rate)}" for rate in found)


_LOOKS = {Measure.HARMFULNESS: (FIFTH, "o", -1.05), Measure.EXAGGERATED_SAFETY: (FOURTH, "s", -0.95)}
"""Colour and mark of a measure, told apart in print, too; and where its start model stands, left of the first N."""


class Point(NamedTuple):
    """A value with its 95 % interval."""

    value: float
    low: float
    high: float


Curves = Mapping[Measure, Mapping[int | None, Point]]
"""Each measure's values by N, with their intervals."""


def sweep_curves(sweep: Sweep) -> Drawing | None:
    """Harmfulness and exaggerated safety against N; None where less than two N have a rate."""
    shown = [rate for rate in sweep.rates if rate.topic is None and rate.rate is not None]
    curves: Curves = {
        measure: {r.safety_examples: Point(r.rate or 0.0, r.low, r.high) for r in shown if r.measure == measure}
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
        measure: {m.safety_examples: Point(m.mean, m.low, m.high) for m in sweep.means if m.measure == measure}
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
        axes.set(ylim=(-0.03, 1.03), yticks=TICKS)
    with_grid(axes, "y")
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


PANELS_A_LINE = 4
"""Of the figure of losses."""


def losses_table(
    metrics: Mapping[str, Sequence[TrainingStep]], demonstrations: Mapping[str, Sequence[Demonstration]]
) -> Table | None:
    """One row a model: what it was trained on, and its losses."""
    if not metrics:
        return None
    rows: list[Row] = []
    for model, steps in metrics.items():
        tasks = Counter(row.task for row in demonstrations.get(model, ()))
        told = ", ".join(f"{count} {task}" for task, count in sorted(tasks.items())) or NOT_MEASURED
        rows.append((model, told, str(len(steps)), f"{steps[0].loss:.4f}", f"{steps[-1].loss:.4f}", _lowest(steps)))
    columns = ("model", "rows", "steps", "loss of the first step", "loss of the last", "lowest validation loss")
    return Table("Losses", columns, tuple(rows), "Of a step: over the tokens that its rows teach, before its update.")


def _lowest(steps: Sequence[TrainingStep]) -> str:
    if not (losses := _validation(steps)):
        return NOT_MEASURED
    value, step, rows = min(losses, key=lambda loss: loss[0])
    return f"{value:.4f} at step {step}, {rows} rows"


def _validation(steps: Sequence[TrainingStep]) -> list[tuple[float, int, int | None]]:
    """Loss, step and rows of each evaluation that had validation rows."""
    found = ((each.step, each.evaluation) for each in steps if each.evaluation is not None)
    return [(it.loss, step, it.rows) for step, it in found if it.loss is not None]


def losses_along_training(metrics: Mapping[str, Sequence[TrainingStep]]) -> Drawing | None:
    """The loss of each step and of each validation, one panel a model; None where no model has two steps."""
    shown = {model: steps for model, steps in metrics.items() if len(steps) > 1}
    if not shown:
        return None
    told = "; ".join(f"{m}: {s[0].loss:.3f} at the first step, {s[-1].loss:.3f} at the last" for m, s in shown.items())
    rows = "validation rows' loss as marks" if any(map(_validation, shown.values())) else "no validation rows"
    return drawing(
        "losses",
        partial(_losses, shown),
        f"Loss along the training in nats a token, each step's rows as a line; {rows}.",
        f"Losses in nats a token. {told}",
    )


def _losses(shown: Mapping[str, Sequence[TrainingStep]]) -> Figure:
    columns = min(PANELS_A_LINE, len(shown))
    lines = -(-len(shown) // columns)
    figure = Figure(figsize=(max(4.2, 2.2 * columns + 0.5), 2.0 * lines + 0.4), layout="constrained")
    panels: Any = figure.subplots(lines, columns, sharey=True, squeeze=False)
    for axes in panels.flat[len(shown) :]:
        axes.set_axis_off()
    for axes, (model, steps) in zip(panels.flat, shown.items(), strict=False):
        _loss_panel(axes, steps)
        axes.set_title(model)
    for line in panels:
        line[0].set_ylabel("nats a token")
    return figure


def _loss_panel(axes: Any, steps: Sequence[TrainingStep]) -> None:  # noqa: ANN401 - matplotlib's Axes
    axes.plot([step.step for step in steps], [step.loss for step in steps], color=FOURTH, linewidth=1.2)
    if losses := _validation(steps):
        values, at, _ = zip(*losses, strict=True)
        axes.plot(at, values, "o", color=FIFTH, markersize=3.5)
    axes.set(xlabel="optimizer steps", ylim=(0, None))
    axes.grid(visible=True, axis="y")
