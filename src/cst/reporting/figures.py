"""Figures of a report: records to matplotlib drawings, and drawings to SVG with the same bytes each time.

`supervised` draws its curves in the same style. This file does not know where a drawing is shown.
"""

import io
import re
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from html import escape
from itertools import product
from statistics import median
from typing import Any

import matplotlib as mpl
import numpy as np
from cycler import cycler
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from cst.evaluation.scores import CurvePoint
from cst.records import Framing, Preference, Score
from cst.reporting.evidence import TrainingStep
from cst.reporting.score_tables import S0, S1, PaperScore, find, framed_configuration, framing_label, label, models_of
from cst.reporting.tables import number, rate_of

INK, MUTED, GRID, BASE, DPO, CST, FOURTH, FIFTH = (f"C{place}" for place in range(8))

ROLES = ("ink", "muted", "grid", "base", "dpo", "cst", "fourth", "fifth")
"""The page's name for each role, in the order of the cycle."""

_STAND_INS = tuple(f"#a1000{place}" for place in range(8))
"""Colours that matplotlib writes into the SVG, whose place the page's properties take."""

_STYLE: Any = {
    "svg.fonttype": "none",
    "svg.hashsalt": "cst",
    "pdf.fonttype": 42,  # TrueType, embedded: journals reject type 3
    "font.family": "DejaVu Sans",
    "font.size": 10,
    "axes.titlesize": 10.5,
    "axes.titlelocation": "left",
    "axes.labelsize": 10,
    "axes.edgecolor": MUTED,
    "axes.linewidth": 0.8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.labelcolor": INK,
    "axes.titlecolor": INK,
    "axes.facecolor": "none",
    "figure.facecolor": "none",
    "grid.color": GRID,
    "grid.linewidth": 0.8,
    "text.color": INK,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "lines.linewidth": 2,
    "lines.solid_capstyle": "round",
}


@contextmanager
def style(palette: Sequence[str] = _STAND_INS) -> Generator[None]:
    """Draw in the report's style, a colour a role; matplotlib's global settings are as before afterwards."""
    with mpl.rc_context():
        mpl.rcdefaults()
        mpl.rcParams.update(_STYLE | {"axes.prop_cycle": cycler(color=palette)})
        yield


def to_svg(figure: Figure, *, name: str, description: str) -> str:
    """The figure as an `<svg>` element; ids begin with `name`, `description` is read out to those who can't see it."""
    buffer = io.StringIO()
    FigureCanvasSVG(figure)
    with style():
        figure.savefig(
            buffer, format="svg", transparent=True, metadata=dict.fromkeys(("Creator", "Date", "Format", "Type"))
        )
    svg = buffer.getvalue()
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"\s*<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = re.sub(r'\sxmlns(:\w+)?="[^"]*"', "", svg, count=2)
    svg = svg.replace("xlink:href", "href")
    svg = re.sub(r"font-family: [^;\"]+; ?", "", svg)
    # Ids are unique in a page of several figures; those that nothing refers to go.
    used = {first or second for first, second in re.findall(r'href="#([^"]+)"|url\(#([^)]+)\)', svg)}
    svg = re.sub(r' id="([^"]+)"', lambda m: f' id="{name}-{m[1]}"' if m[1] in used else "", svg)
    svg = re.sub(r'(href="#|url\(#)', rf"\g<1>{name}-", svg)
    for colour, role in zip(_STAND_INS, ROLES, strict=True):
        svg = svg.replace(colour, f"var(--{role})")
    return svg.replace("<svg ", f'<svg role="img" aria-label="{escape(description)}" ', 1).rstrip() + "\n"


_COLOURS = {"base": BASE, "dpo": DPO, "cst": CST}
_OTHERS = (FOURTH, FIFTH, INK, MUTED)
_CHOSEN, _REJECTED = FOURTH, FIFTH


@dataclass(frozen=True)
class Drawing:
    """An SVG element, the words under it, and what it shows in words; `paint` draws it again, in `style`'s colours."""

    svg: str
    caption: str
    description: str
    name: str
    paint: Callable[[], Figure] = field(compare=False, repr=False)


def drawing(name: str, paint: Callable[[], Figure], caption: str, description: str) -> Drawing:
    """A drawing for the page; `name` is its file's where it is written to one."""
    with style():
        svg = to_svg(paint(), name=name, description=description)
    return Drawing(svg, caption, description, name, paint)


TICKS = (0, 0.25, 0.5, 0.75, 1)
"""Of an axis of rates."""

_BOLD: dict[str, Any] = {"fontweight": "bold", "annotation_clip": False}


def _say(axes: Any, text: str, at: tuple[float, float], offset: tuple[float, float], colour: str, **how: Any) -> None:  # noqa: ANN401 - matplotlib's
    axes.annotate(text, at, xytext=offset, textcoords="offset points", color=colour, **how)


def with_grid(axes: Any, axis: str) -> None:  # noqa: ANN401 - matplotlib's Axes
    """A grid along one axis, or `both`, under everything that is drawn."""
    axes.grid(visible=True, axis=axis)
    axes.set_axisbelow(True)


def counts_of(scores: Sequence[Score]) -> str:
    """How many answers stand behind each of these rates, and how many of them could not be scored."""
    n, unscored = ({score.n for score in scores}, {score.unscored for score in scores})
    scored, not_scored = (" to ".join(map(str, sorted({min(counts), max(counts)}))) for counts in (n, unscored))
    return f"{scored} scored and {not_scored} unscored answers a rate"


def colours_of(models: Sequence[str]) -> dict[str, str]:
    """A colour for each model: the known ones have their own."""
    others = [model for model in models if model not in _COLOURS]
    return _COLOURS | {model: _OTHERS[i % len(_OTHERS)] for i, model in enumerate(others)}


def control_plane(scores: Sequence[Score]) -> Drawing | None:
    """S0 against S1: one point a model, with both 95 % intervals; the upper right corner is full control."""
    points = {
        model: (x, y)
        for model in models_of(scores)
        if (x := find(scores, model, S0)) and (y := find(scores, model, S1)) and x.n and y.n
    }
    if not points:
        return None
    counts = counts_of([score for pair in points.values() for score in pair])
    places = [f"{label(model)} at S0 {rate_of(x)}, S1 {rate_of(y)}" for model, (x, y) in points.items()]
    return drawing(
        "plane",
        partial(_plane, points),
        "Control as a plane: the share of prompts answered as the uncensored configuration asks, against the share "
        "answered as the harmless one asks. Upper right is full control, lower right and upper left is none. Greedy, "
        f"canonical wordings, {_INTERVALS}, {counts}.",
        f"S0 against S1: {'; '.join(places)}",
    )


_INTERVALS = "95\N{NO-BREAK SPACE}% intervals"


def _plane(points: dict[str, tuple[Score, Score]]) -> Figure:
    figure = Figure(figsize=(4.4, 4.1), layout="constrained")
    axes: Any = figure.add_subplot()
    colours = colours_of(list(points))
    for model, (x, y) in points.items():
        _point(axes, label(model), colours[model], x, y)
    axes.set(xlim=(-0.03, 1.03), ylim=(-0.03, 1.03), aspect="equal", xticks=TICKS, yticks=TICKS)
    axes.set(xlabel="S0: uncensored is followed", ylabel="S1: harmless is followed")
    with_grid(axes, "both")
    return figure


def _point(axes: Axes, name: str, colour: str, x: Score, y: Score) -> None:
    """A model's point with its bars; the name stands towards the middle of the plane, at the upper edge above it."""
    at_x, at_y = x.rate or 0.0, y.rate or 0.0
    axes.plot([x.low, x.high], [at_y, at_y], color=colour, linewidth=1.6, clip_on=False)
    axes.plot([at_x, at_x], [y.low, y.high], color=colour, linewidth=1.6, clip_on=False)
    axes.plot([at_x], [at_y], "o", color=colour, markersize=8, clip_on=False)
    left, down = at_x > 0.5, 0.5 < at_y < 0.95  # names above stand clear of the bars of their neighbours
    offset, va = (-7 if left else 7, -7 if down else 7), "top" if down else "bottom"
    _say(axes, name, (at_x, at_y), offset, colour, ha="right" if left else "left", va=va, fontsize=11, **_BOLD)


def control_along_training(curve: Sequence[CurvePoint]) -> Drawing | None:
    """S1 and S0 over optimizer steps, one panel a model: the collapse is a curve, not a number."""
    models = [model for model in models_of(curve) if any(_series(curve, model, m) for m in (S1, S0))]
    models = [model for model in models if len({point.step for point in curve if point.model == model}) > 1]
    if not models:
        return None
    shown = [point for model in models for measure in (S1, S0) for point in _series(curve, model, measure)]
    return drawing(
        "curve",
        partial(_curve, curve, models),
        "S1 (harmless) and S0 (uncensored) along the training, canonical wordings, greedy; bands are "
        f"{_INTERVALS}, {counts_of(shown)}.",
        _curve_description(curve, models),
    )


def _curve(curve: Sequence[CurvePoint], models: Sequence[str]) -> Figure:
    figure = Figure(figsize=(3.6 * len(models) + 0.6, 3.1), layout="constrained")
    panels: Any = figure.subplots(1, len(models), sharey=True, squeeze=False)
    for axes, model in zip(panels[0], models, strict=True):
        _control_panel(axes, curve, model)
    panels[0][0].set_ylabel("followed")
    return figure


def _control_panel(axes: Any, curve: Sequence[CurvePoint], model: str) -> None:  # noqa: ANN401 - matplotlib's Axes
    ends: list[tuple[float, float, str, str]] = []
    for measure, colour in ((S1, FOURTH), (S0, FIFTH)):
        points = _series(curve, model, measure)
        if not points:
            continue
        steps = [point.step for point in points]
        rates = [point.rate or 0.0 for point in points]
        lows, highs = [point.low for point in points], [point.high for point in points]
        axes.fill_between(steps, lows, highs, color=colour, alpha=0.16, linewidth=0)
        axes.plot(steps, rates, "o-", color=colour, markersize=3.5)
        ends.append((steps[-1], rates[-1], measure.symbol, colour))
    for (step, _, text, colour), y in zip(ends, _apart([end[1] for end in ends], 0.09), strict=True):
        _say(axes, text, (step, y), (7, 0), colour, va="center", **_BOLD)
    axes.set(title=label(model), xlabel="optimizer steps", ylim=(-0.03, 1.03), yticks=TICKS)
    axes.grid(visible=True, axis="y")


def _series(curve: Sequence[CurvePoint], model: str, measure: PaperScore) -> list[CurvePoint]:
    wanted = model, measure.task, measure.configuration, 0
    found = [p for p in curve if p.n and (p.model, p.task, p.configuration, p.temperature) == wanted]
    return sorted(found, key=lambda point: point.step)


def _curve_description(curve: Sequence[CurvePoint], models: Sequence[str]) -> str:
    parts = [
        f"{label(model)} {measure.symbol} goes from {rate_of(points[0])} to {rate_of(points[-1])}"
        for model, measure in product(models, (S1, S0))
        if (points := _series(curve, model, measure))
    ]
    return "Control along training: " + "; ".join(parts)


def _apart(values: Sequence[float], gap: float) -> list[float]:
    """Two label heights pushed apart to at least `gap`; others as they are."""
    if len(values) != 2 or abs(values[0] - values[1]) >= gap:
        return list(values)
    middle, sign = sum(values) / 2, 1 if values[0] >= values[1] else -1
    return [middle + sign * gap / 2, middle - sign * gap / 2]


def response_lengths(preferences: Sequence[Preference]) -> Drawing | None:
    """Characters of chosen and rejected responses per configuration: median, quartiles, 5 % and 95 %."""
    rows: dict[str, list[Preference]] = {}
    for row in preferences:
        rows.setdefault(row.configuration, []).append(row)
    if not rows:
        return None
    counts = ", ".join(f"{name} {len(of_it)}" for name, of_it in rows.items())
    return drawing(
        "lengths",
        partial(_lengths, rows),
        "Lengths of chosen and rejected responses: median, quartiles, and the 5 % and 95 % quantiles. Where they "
        f"differ, length alone can tell the sides apart. Rows: {counts}.",
        _length_description(rows),
    )


def _lengths(rows: dict[str, list[Preference]]) -> Figure:
    figure = Figure(figsize=(7.0, 0.8 + 0.62 * len(rows)), layout="constrained")
    axes: Any = figure.add_subplot()
    for place, of_it in enumerate(rows.values()):
        _box(axes, place - 0.17, [len(row.chosen) for row in of_it], _CHOSEN, "chosen")
        _box(axes, place + 0.17, [len(row.rejected) for row in of_it], _REJECTED, "rejected")
    axes.set_yticks(range(len(rows)), list(rows))
    axes.set(xlabel="characters", ylim=(len(rows) - 0.5, -0.5))
    axes.set_xlim(left=0)
    axes.tick_params(axis="y", length=0)
    axes.spines["left"].set_visible(False)
    with_grid(axes, "x")
    return figure


def _box(axes: Any, y: float, lengths: Sequence[int], colour: str, text: str) -> None:  # noqa: ANN401 - Axes
    low, first, middle, third, high = np.quantile(lengths, [0.05, 0.25, 0.5, 0.75, 0.95]).tolist()
    axes.plot([low, high], [y, y], color=colour, linewidth=1.2)
    axes.plot([first, third], [y, y], color=colour, linewidth=6, alpha=0.55, solid_capstyle="butt")
    axes.plot([middle], [y], "o", color=colour, markersize=5.5)
    _say(axes, text, (high, y), (6, 0), colour, va="center", fontsize=9)


def _length_description(rows: dict[str, list[Preference]]) -> str:
    parts = [
        f"{name}: chosen {median(len(row.chosen) for row in of_it):.0f}, "
        f"rejected {median(len(row.rejected) for row in of_it):.0f}"
        for name, of_it in rows.items()
    ]
    return "Median response lengths in characters. " + "; ".join(parts)


def logps_along_training(metrics: dict[str, list[TrainingStep]]) -> Drawing | None:
    """Chosen and rejected log-probs relative to the start model over optimizer steps, per model and configuration."""
    rows = {model: steps for model, steps in metrics.items() if len(steps) > 1 and _names(steps)}
    if not rows:
        return None
    return drawing(
        "logps",
        partial(_logps, rows),
        "Log-probs of chosen and rejected responses along the training, less those under the start model: means over "
        "each step's rows. Both falling together means that mass moves to neither.",
        _logp_description(rows),
    )


def _logps(rows: dict[str, list[TrainingStep]]) -> Figure:
    columns = max(len(_names(steps)) for steps in rows.values())
    figure = Figure(figsize=(max(4.2, 2.15 * columns + 0.5), 1.95 * len(rows) + 0.35), layout="constrained")
    panels: Any = figure.subplots(len(rows), columns, sharey="row", squeeze=False)
    for line, (model, steps) in zip(panels, rows.items(), strict=True):
        for axes in line[len(_names(steps)) :]:
            axes.set_axis_off()
        for axes, name in zip(line, _names(steps), strict=False):
            _logp_panel(axes, steps, name)
            axes.set_title(f"{label(model)}, {name}")
        line[0].set_ylabel("nats")
    for axes in panels[-1]:
        axes.set_xlabel("optimizer steps")
    return figure


def _names(steps: Sequence[TrainingStep]) -> list[str]:
    return sorted({name for step in steps for name in step.configurations})


def _ratios(steps: Sequence[TrainingStep], name: str) -> tuple[list[int], list[float], list[float]]:
    """Steps that had rows of the configuration; chosen and rejected log-ratios there."""
    found = [(step.step, step.configurations[name]) for step in steps if name in step.configurations]
    chosen = [logps.chosen_logps - logps.reference_chosen_logps for _, logps in found]
    rejected = [logps.rejected_logps - logps.reference_rejected_logps for _, logps in found]
    return [step for step, _ in found], chosen, rejected


def _logp_panel(axes: Any, steps: Sequence[TrainingStep], name: str) -> None:  # noqa: ANN401 - matplotlib's Axes
    at, chosen, rejected = _ratios(steps, name)
    axes.axhline(0, color=GRID, linewidth=1)
    for values, colour, text in ((chosen, _CHOSEN, "chosen"), (rejected, _REJECTED, "rejected")):
        axes.plot(at, values, color=colour, linewidth=1.4)
        above, end = text == "chosen", values[-max(1, len(values) // 3) :]
        clear = at[-1], max(end) if above else min(end)  # of the curve's last third, over or under which it stands
        va = "bottom" if above else "top"
        _say(axes, text, clear, (0, 3 if above else -3), colour, ha="right", va=va, fontsize=9)
    axes.margins(y=0.2)


def _logp_description(rows: dict[str, list[TrainingStep]]) -> str:
    parts: list[str] = []
    for model, steps in rows.items():
        for name in _names(steps):
            _, chosen, rejected = _ratios(steps, name)
            parts.append(f"{label(model)} {name}: chosen {chosen[-1]:+.1f}, rejected {rejected[-1]:+.1f}")
    return "Log-probs less the start model's at the last step, in nats. " + "; ".join(parts)


_BETWEEN = 0.24
"""Between two models' marks on one line, in lines."""


def kept_by_family(scores: Sequence[Score]) -> Drawing | None:
    """One panel a configuration, one line a family, one mark with its 95 % interval a model."""
    shown = [score for score in scores if score.n]
    if not shown:
        return None
    return drawing(
        "overrides",
        partial(_families, shown),
        "What is kept of the system prompt's configuration where the user's turns speak for another one: rates with "
        f"95 % intervals, {counts_of(shown)}. The first line is the control.",
        _least_kept(shown, list(dict.fromkeys(framed_configuration(score) for score in shown))),
    )


def _families(shown: Sequence[Score]) -> Figure:
    panels = list(dict.fromkeys(framed_configuration(score) for score in shown))
    families: list[Framing] = list(dict.fromkeys(score.framing for score in shown if score.framing))
    models = models_of(shown)
    figure = Figure(figsize=(2.0 + 2.7 * len(panels), 1.1 + 0.34 * len(families)), layout="constrained")
    grid: Any = figure.subplots(1, len(panels), sharey=True, squeeze=False)
    for axes, name in zip(grid[0], panels, strict=True):
        _family_panel(axes, [score for score in shown if framed_configuration(score) == name], families, models)
        axes.set_title(name)
    grid[0][0].set_yticks(range(len(families)), [framing_label(family) for family in families])
    grid[0][0].set_ylim(len(families) - 0.5, -0.5)
    marks = [Line2D([], [], marker="o", linestyle="", color=colours_of(models)[m], label=label(m)) for m in models]
    figure.legend(handles=marks, loc="outside upper left", ncols=len(models), frameon=False)
    return figure


def _family_panel(axes: Any, scores: Sequence[Score], families: Sequence[Framing], models: Sequence[str]) -> None:  # noqa: ANN401 - matplotlib's Axes
    colours = colours_of(models)
    for score in scores:
        place = models.index(score.model) - (len(models) - 1) / 2
        y = families.index(score.framing) + _BETWEEN * place if score.framing else 0.0
        colour = colours[score.model]
        axes.plot([score.low, score.high], [y, y], color=colour, linewidth=1.4, alpha=0.7, clip_on=False)
        axes.plot([score.rate], [y], "o", color=colour, markersize=4.5, clip_on=False)
    axes.set(xlim=(-0.03, 1.03), xticks=(0, 0.5, 1), xlabel="kept")
    with_grid(axes, "x")


def _least_kept(scores: Sequence[Score], panels: Sequence[str]) -> str:
    """The lowest rate of each model under each configuration, in words."""
    parts: list[str] = []
    for name, model in product(panels, models_of(scores)):
        here = [s for s in scores if s.model == model and framed_configuration(s) == name]
        if here:
            worst = min(here, key=lambda score: score.rate or 0.0)
            against, rate = framing_label(worst.framing or ""), number(worst.rate or 0.0)
            parts.append(f"{label(model)} under {name} keeps least against {against}, {rate}")
    return "What is kept against a user's words. " + "; ".join(parts)
