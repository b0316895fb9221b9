"""The report's sections beyond the paper: overrides, several turns, switching, length."""

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from cst.evaluation.framings import EXCHANGES, FAMILIES
from cst.evaluation.robustness import JOINED, LengthMatchedScore
from cst.records import Framing, Score
from cst.reporting import further_tables, score_tables
from cst.reporting.evidence import Evidence
from cst.reporting.figures import Drawing, colours_of, counts_of, drawing
from cst.reporting.score_tables import framed_configuration, framing_label, label, models_of
from cst.reporting.sections import Section
from cst.reporting.tables import Heading, Row, Table, number, rate_of

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


def robustness_sections(evidence: Evidence) -> list[Section]:
    """In the report's order; a part whose answers were not asked for is there and empty."""
    return [_overrides(evidence), _several_turns(evidence), _switching(evidence), _matched_lengths(evidence)]


def _overrides(evidence: Evidence) -> Section:
    scores = [score for score in evidence.framed if score.framing in FAMILIES]
    table = score_tables.framings("Kept under user-turn overrides", "family", scores)
    return Section(
        "User-turn overrides",
        "The deployer's system prompt stands as ever, and the user's turns speak for a configuration that prefers the "
        "other side. Followed still means the side of the system prompt: its rate is what is kept. `plain` is the "
        "control, the same prompts without such words.",
        "scores.json, with an arm of the framings `overrides`",
        (replace(table, note=_note_on_families(evidence.boundary)),) if table else (),
        tuple(filter(None, (kept_by_family(scores),))),
    )


_BOUNDARIES = {
    "strong": "Control tokens part this template's turns, so that a user's role headers are text like any other.",
    "weak": "Plain text parts this template's turns (a weak boundary): a role header that a user writes can be real.",
    None: "How this template parts its turns was not recorded.",
}


def _note_on_families(boundary: str | None) -> str:
    """What a user's control tokens and role headers are to the run's template, and how to read what was kept."""
    return (
        "No control token that a user writes becomes one: the renderer makes it plain text, or refuses it. "
        f"{_BOUNDARIES[boundary]} Other families are words, against which no renderer helps. Where a model can't read "
        "a family (an encoding, a language), a high rate says that it wasn't tried, and many unscored answers that the "
        "model was thrown off."
    )


def _several_turns(evidence: Evidence) -> Section:
    scores = [score for score in evidence.framed if score.framing in EXCHANGES]
    return Section(
        "Several turns",
        "The same prompts after benign exchanges between the user and the assistant, under the same system prompt.",
        "scores.json, with an arm of the framings `exchanges`",
        tuple(filter(None, (score_tables.framings("After earlier exchanges", "before the prompt", scores),))),
    )


def _switching(evidence: Evidence) -> Section:
    rates = score_tables.by_row("Switch rates", "configurations", evidence.switch_rates, _task, _joined)
    tests = further_tables.paired_tests(evidence.switch_tests)
    note = (
        "Followed: every configuration of the task was, on one prompt. Prompts on which all of them want the same side "
        "are left out, and one unscored answer makes a prompt unscored."
    )
    return Section(
        "Switching",
        "The share of prompts on which a model does what each configuration asks; greedy, canonical wordings.",
        "switch_rates.json",
        (
            *((replace(rates, note=note),) if rates else ()),
            *((replace(tests, title="Paired tests of switching"),) if tests else ()),
        ),
    )


def _task(score: Score) -> str:
    return f"task {score.task}"


def _joined(score: Score) -> str:
    return score.configuration.replace(JOINED, " and ")


def _matched_lengths(evidence: Evidence) -> Section:
    return Section(
        "Length-matched scores",
        "Where one side is long and the other short, a model may have learned a length. Here each configuration keeps "
        "only answers as long as some under every other one, and as many of each length.",
        "length_matched.json",
        tuple(filter(None, (_length_table(evidence.length_matched, evidence.scores),))),
    )


def _length_table(matched: Sequence[LengthMatchedScore], scores: Sequence[Score]) -> Table | None:
    if not matched:
        return None
    whole = {(s.model, s.task, s.configuration): s for s in score_tables.greedy(scores)}
    groups: dict[str, list[Row]] = {}
    for s in matched:
        everything = rate_of(whole.get((s.model, s.task, s.configuration)))
        row = (label(s.model), everything, rate_of(s), str(s.left_out), f"{s.median_characters:.0f}")
        groups.setdefault(score_tables.framed_configuration(s), []).append(row)
    return Table(
        "Scores at equal length",
        ("model", "all answers", "answers of matched length", "left out", "median characters"),
        tuple(line for name, rows in groups.items() for line in (Heading(name), *rows)),
        "Coarsened exact matching, k to k, over bins of length that grow by 19 %. Where length alone tells two sides "
        "apart, the rates of their two configurations add up to 1; where both stay near 1, length isn't needed. "
        "Matched answers are no random share of the prompts: where the sides hardly share a length, they are mostly "
        "failures, and a sum of 1 says that length and behaviour can't be told apart, not that length rules.",
    )
