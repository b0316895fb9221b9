"""The report of a supervised run: its own parts are there, those of preference tuning aren't, and nothing crashes."""

import re
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from sweep_for_evaluation import answers, swept, write_sweep

from cst.evaluation.comparison import compare_runs
from cst.evaluation.evidence import Evidence, TrainingStep, read_evidence
from cst.evaluation.report import console_tables, render_report, sections
from cst.evaluation.result_files import write_results
from cst.evaluation.supervised import losses_along_training, losses_table, sweep_sections, training_section
from cst.evaluation.svg import style
from cst.evaluation.tables import NOT_MEASURED


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
