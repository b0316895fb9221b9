"""Every cell has its counts, N = 0 is told apart from the start model, and what isn't there is a dash."""

import re
import shutil
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import pytest
from sweep_for_evaluation import HARMFUL, REFUSED, N, answers, swept, write_sweep

from cst.annexes.compare import compare_runs
from cst.evaluation.sweep import Sweep
from cst.reporting.evidence import Evidence, TrainingStep, read_evidence
from cst.reporting.exports import write_results
from cst.reporting.figures import Drawing, style
from cst.reporting.report import console_tables, render_report
from cst.reporting.sections import sections, sweep_sections, training_section
from cst.reporting.supervised import (
    best_sentence,
    changes_table,
    losses_along_training,
    losses_table,
    mean_curves,
    means_table,
    rates_table,
    sweep_curves,
    topics_table,
)
from cst.reporting.tables import NOT_MEASURED, Difference, Heading, Rate, Table

SWEEP = swept(*answers())
EMPTY = Sweep(rates=())


def cells(table: Table | None) -> dict[str, list[object]]:
    """The cells of each row by its first one."""
    assert table is not None
    return {str(row[0]): list(row[1:]) for row in table.rows if not isinstance(row, Heading)}


def test_one_row_an_n_with_both_rates_and_their_counts():
    found = cells(rates_table(SWEEP))
    assert list(found) == ["start model", "0", "100", "1000"]
    for row, model in zip(found.values(), HARMFUL, strict=True):
        assert [cell.count for cell in row if isinstance(cell, Rate)] == [
            f"{HARMFUL[model]}/{N}, 0 unscored",
            f"{REFUSED[model]}/{N}, 0 unscored",
        ]


def test_a_measure_that_is_not_there_is_a_dash():
    less = {model: count for model, count in REFUSED.items() if model != "safety-100"}
    found = cells(rates_table(swept(*answers(refused=less))))
    assert found["100"][1] == NOT_MEASURED
    assert all(isinstance(cell, Rate) for name, row in found.items() if name != "100" for cell in row)


def test_changes_are_signed_and_say_how_many_prompts_changed():
    found = cells(changes_table(SWEEP))
    assert list(found) == ["100", "1000"]
    harm, refusal = found["1000"]
    assert isinstance(harm, Difference)
    assert isinstance(refusal, Difference)
    assert (harm.main, harm.count) == ("\N{MINUS SIGN}.900", "0 more, 9 less of 10, 0 unscored")
    assert (refusal.main, refusal.remark) == ("+.600", "p 0.031")


def test_topics_stand_under_their_measure_with_one_column_an_n():
    table = topics_table(SWEEP)
    assert table is not None
    assert table.columns == ("topic", "start model", "N = 0", "N = 100", "N = 1000")
    assert table.rows[0] == Heading("harmfulness")
    assert list(cells(table)) == ["even", "odd"]


def test_means_name_the_judge_and_leave_a_dash_where_it_gave_no_number():
    table = means_table(SWEEP, ["made@1234"])
    assert table is not None
    assert "made@1234" in table.note
    start, refusal = cells(table)["start model"]
    assert isinstance(start, Rate)
    assert (start.main, start.count, start.low) == ("84.500", "n 10, 0 unscored", SWEEP.means[0].low)
    assert refusal == NOT_MEASURED


def test_the_best_n_is_told_with_its_rates_and_those_of_none():
    told = best_sentence(SWEEP)
    assert "Best N: 100" in told
    assert "harmfulness .200 [.057, .510] 2/10" in told
    assert "At N = 0: harmfulness .900" in told
    assert best_sentence(swept(*answers(refused={}))).startswith("No best N")
    harmless = best_sentence(swept(*answers(harmful=dict.fromkeys(HARMFUL, 0))))
    assert "Best N: 0," in harmless
    assert "At N = 0" not in harmless
    above = {"base": None, "safety-100": 100, "safety-1000": 1000}
    assert "At N = 0: not measured." in best_sentence(swept(*answers(), above))


def test_nothing_is_no_table():
    made = (rates_table(EMPTY), changes_table(EMPTY), topics_table(EMPTY), means_table(EMPTY, []))
    assert made == (None, None, None, None)


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


@pytest.fixture(scope="module")
def tuned(tmp_path_factory) -> Path:
    """The folder of a supervised run; not to be written to."""
    folder = write_sweep(tmp_path_factory.mktemp("tuned"))
    render_report(folder)
    return folder


@pytest.fixture(scope="module")
def evidence(tuned: Path) -> Evidence:
    return read_evidence(tuned)


def test_the_report_begins_with_the_safety_examples_and_has_the_training(tuned, evidence):
    titles = [section.title for section in sections(evidence)]
    assert titles[0] == "Safety examples"
    assert {"Training", "Samples", "Fingerprints", "Harmless requests"} <= set(titles)
    markdown = (tuned / "report.md").read_text()
    assert "Best N: 100" in markdown
    assert "safety-1000" in (tuned / "report.html").read_text()


def test_the_page_holds_every_figure_with_ids_of_its_own(tuned):
    html = (tuned / "report.html").read_text()
    ids = re.findall(r'\sid="([^"]+)"', html)
    assert html.count("<figure>") == html.count("<figcaption>") == 3
    assert len(ids) == len(set(ids))
    assert {"sweep", "losses"} <= {id.split("-")[0] for id in ids}


def test_it_does_not_speak_of_preference_tuning_as_one_of_preferences_does(tuned, run):
    words = ("Table I", "Preferences and training", "Synthesis", "sank", "Switching", "tuned on")
    supervised, other = ((folder / "report.md").read_text() for folder in (tuned, run))
    assert [word for word in words if word in supervised] == []
    assert [word for word in words if word in other] == list(words)
    assert "Safety examples" not in other


def test_only_files_of_its_own_method_are_missed(tuned, evidence, tmp_path):
    assert evidence.missing == ["curve.json", "capability.json"]
    folder = shutil.copytree(tuned, tmp_path / "less")
    for name in ("sweep.json", "demonstrations"):
        shutil.rmtree(folder / name) if (folder / name).is_dir() else (folder / name).unlink()
    missing = read_evidence(folder).missing
    assert {"sweep.json", "demonstrations/*.jsonl"} <= set(missing)
    assert not {"preferences/*.jsonl", "synthesis.json"} & set(missing)


def test_a_run_of_preferences_misses_no_demonstrations(tmp_path):
    missing = set(read_evidence(tmp_path).missing)
    assert {"preferences/*.jsonl", "synthesis.json"} <= missing
    assert not {"sweep.json", "demonstrations/*.jsonl"} & missing


def test_the_terminal_shows_the_sweep_first(tuned):
    tables = console_tables(tuned)
    assert [table.title for table in tables[:2]] == ["Safety examples", "Against no safety examples"]


def test_results_are_exported_and_runs_compared(tuned, tmp_path):
    names = {path.name for path in write_results(tuned, tmp_path / "out")}
    assert {"safety-examples.csv", "safety-examples-by-topic.tex", "sweep.pdf", "losses.pdf", "results.tex"} <= names

    again = shutil.copytree(tuned, tmp_path / "again")
    compared = compare_runs([tuned, again], tmp_path / "comparison")
    (scores,) = [section for section in compared.sections if section.title == "Scores"]
    assert [table.title for table in scores.tables] == ["Scores side by side", "Differences"]


def test_a_sweep_with_nothing_measured_says_so(evidence):
    nothing = replace(evidence, sweep=swept([], []))
    (section,) = sweep_sections(nothing)
    assert section.is_empty
    assert "held-out prompts of the tasks harmless and over_refusal" in section.needs
    half = replace(evidence, sweep=swept(*answers(refused={})))
    assert "there is no exaggerated safety" in sweep_sections(half)[0].text


def test_losses_are_told_with_rows_and_the_best_validation(evidence):
    table = losses_table(evidence.metrics, evidence.demonstrations)
    assert table is not None
    assert table.rows[1] == (
        *("safety-100", "30 instructions, 1 safety", "8", "2.0000", "0.2500"),
        "0.6000 at step 4, 5 rows",
    )
    bare = [TrainingStep(step=1, loss=2.0), TrainingStep(step=2, loss=1.0)]
    other = losses_table({"sft": bare}, {})
    assert other is not None
    assert other.rows == (("sft", NOT_MEASURED, "2", "2.0000", "1.0000", NOT_MEASURED),)


def test_models_stand_in_the_recipes_order(evidence):
    names = ["safety-0", "safety-300", "safety-1000"]
    metrics = dict.fromkeys(sorted(names), evidence.metrics["safety-0"])
    ordered = replace(evidence, metrics=metrics, recipe={"models": dict.fromkeys(names, ())})
    assert list(metrics) != names
    assert ordered.models == names
    (table,) = training_section(ordered).tables
    assert [row[0] for row in table.rows if isinstance(row, tuple)] == names


def test_every_model_has_a_panel_with_its_losses_and_validations(evidence):
    drawing = losses_along_training(evidence.metrics)
    assert drawing is not None
    with style():
        panels = [axes for axes in drawing.paint().axes if axes.axison]
    assert [axes.get_title(loc="left") for axes in panels] == list(evidence.metrics)
    for axes in panels:
        losses, validations = axes.get_lines()
        assert list(losses.get_ydata()) == [2.0 / step for step in range(1, 9)]
        assert (list(validations.get_xdata()), list(validations.get_ydata())) == ([4, 8], [0.6, 0.7])


def test_one_step_is_no_curve_and_many_models_fill_lines(evidence):
    assert losses_along_training({}) is losses_along_training({"m": [TrainingStep(step=1, loss=1.0)]}) is None
    many = losses_along_training({f"m{i}": evidence.metrics["safety-0"] for i in range(7)})
    assert many is not None
    assert many.svg.count("optimizer steps") == 7
