"""The figure of user-turn overrides: what each model keeps, family by family. It knows scores, no files and no page."""

from collections.abc import Sequence
from functools import partial
from typing import Any

from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from cst.evaluation.figures import Drawing, colours_of, counts_of, drawing
from cst.evaluation.score_tables import framed_configuration, framing_label, label, models_of
from cst.evaluation.tables import number
from cst.records import Framing, Score

_APART = 0.24
"""Between two models' marks on one line, in lines."""


def kept_by_family(scores: Sequence[Score]) -> Drawing | None:
    """One panel a configuration, one line a family, one mark with its 95 % interval a model."""
    shown = [score for score in scores if score.n]
    if not shown:
        return None
    return drawing(
        "overrides",
        partial(_figure, shown),
        "What is kept of the system prompt's configuration where the user's turns speak for another one: rates with "
        f"95 % intervals, {counts_of(shown)}. The first line is the control.",
        _description(shown, list(dict.fromkeys(framed_configuration(score) for score in shown))),
    )


def _figure(shown: Sequence[Score]) -> Figure:
    panels = list(dict.fromkeys(framed_configuration(score) for score in shown))
    families: list[Framing] = list(dict.fromkeys(score.framing for score in shown if score.framing))
    models = models_of(shown)
    figure = Figure(figsize=(2.0 + 2.7 * len(panels), 1.1 + 0.34 * len(families)), layout="constrained")
    grid: Any = figure.subplots(1, len(panels), sharey=True, squeeze=False)
    for axes, name in zip(grid[0], panels, strict=True):
        _panel(axes, [score for score in shown if framed_configuration(score) == name], families, models)
        axes.set_title(name)
    grid[0][0].set_yticks(range(len(families)), [framing_label(family) for family in families])
    grid[0][0].set_ylim(len(families) - 0.5, -0.5)
    marks = [Line2D([], [], marker="o", linestyle="", color=colours_of(models)[m], label=label(m)) for m in models]
    figure.legend(handles=marks, loc="outside upper left", ncols=len(models), frameon=False)
    return figure


def _panel(axes: Any, scores: Sequence[Score], families: Sequence[Framing], models: Sequence[str]) -> None:  # noqa: ANN401 - matplotlib's Axes
    colours = colours_of(models)
    for score in scores:
        place = models.index(score.model) - (len(models) - 1) / 2
        y = families.index(score.framing) + _APART * place if score.framing else 0.0
        colour = colours[score.model]
        axes.plot([score.low, score.high], [y, y], color=colour, linewidth=1.4, alpha=0.7, clip_on=False)
        axes.plot([score.rate], [y], "o", color=colour, markersize=4.5, clip_on=False)
    axes.set(xlim=(-0.03, 1.03), xticks=(0, 0.5, 1), xlabel="kept")
    axes.grid(visible=True, axis="x")
    axes.set_axisbelow(True)


def _description(scores: Sequence[Score], panels: Sequence[str]) -> str:
    """The lowest rate of each model under each configuration, in words."""
    parts: list[str] = []
    for name in panels:
        for model in models_of(scores):
            here = [s for s in scores if s.model == model and framed_configuration(s) == name]
            if here:
                worst = min(here, key=lambda score: score.rate or 0.0)
                parts.append(
                    f"{label(model)} under {name} keeps least against {framing_label(worst.framing or '')}, "
                    f"{number(worst.rate or 0.0)}"
                )
    return "What is kept against a user's words. " + "; ".join(parts)
