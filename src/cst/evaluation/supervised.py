"""The report's parts on supervised tuning: what safety examples do, and how the training went.

This file knows what a run folder holds and how it is shown; the arithmetic is in `sweep`.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

from matplotlib.figure import Figure

from cst.evaluation import sweep_tables
from cst.evaluation.evidence import Evidence, TrainingStep
from cst.evaluation.figures import Drawing, drawing
from cst.evaluation.section import Section
from cst.evaluation.svg import FIFTH, FOURTH
from cst.evaluation.sweep_figure import mean_curves, sweep_curves
from cst.evaluation.tables import NOT_MEASURED, Row, Table
from cst.records import Demonstration

PANELS_A_LINE = 4
"""Of the figure of losses."""


def sweep_sections(evidence: Evidence) -> list[Section]:
    """What safety examples do, where a run has models with several numbers of them; none elsewhere."""
    sweep, judges = evidence.sweep, evidence.judges
    if sweep is None:
        return []
    tables = (
        sweep_tables.rates_table(sweep),
        sweep_tables.changes_table(sweep),
        sweep_tables.topics_table(sweep),
        sweep_tables.means_table(sweep, judges),
    )
    drawings = sweep_curves(sweep), mean_curves(sweep, judges)
    return [
        Section(
            "Safety examples",
            " ".join([sweep_tables.best_sentence(sweep), *sweep.missing]),
            "answers to held-out prompts of the tasks harmless and over_refusal",
            tuple(table for table in tables if table),
            tuple(figure for figure in drawings if figure),
        )
    ]


def training_section(evidence: Evidence) -> Section:
    """Rows and losses of every model."""
    metrics = {model: evidence.metrics[model] for model in evidence.models if evidence.metrics[model]}
    table, figure = losses_table(metrics, evidence.demonstrations), losses_along_training(metrics)
    return Section(
        "Training",
        "Supervised tuning on demonstrations: the mean negative log-likelihood of a token, in nats.",
        "models/*/metrics.jsonl",
        (table,) if table else (),
        (figure,) if figure else (),
    )


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
    losses = _validation(steps)
    if not losses:
        return NOT_MEASURED
    lowest = min(losses, key=lambda loss: loss.value)
    return f"{lowest.value:.4f} at step {lowest.step}, {lowest.rows} rows"


class _Validation(NamedTuple):
    """The loss of so many validation rows after a step."""

    step: int
    value: float
    rows: int | None


def _validation(steps: Sequence[TrainingStep]) -> list[_Validation]:
    """Where there was an evaluation, and rows for it."""
    found = ((each.step, each.evaluation) for each in steps if each.evaluation is not None)
    return [_Validation(step, it.loss, it.rows) for step, it in found if it.loss is not None]


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
        axes.plot([loss.step for loss in losses], [loss.value for loss in losses], "o", color=FIFTH, markersize=3.5)
    axes.set(xlabel="optimizer steps", ylim=(0, None))
    axes.grid(visible=True, axis="y")
