"""Parts beyond the paper: they show every framing with its n, name the boundary, and keep out of the paper's tables."""

from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import pytest

from cst.evaluation.framings import EXCHANGES, FAMILIES
from cst.records import Completion, Score
from cst.reporting import score_tables
from cst.reporting.evidence import Evidence, TaskSynthesis, read_evidence
from cst.reporting.figures import kept_by_family
from cst.reporting.report import render_report
from cst.reporting.sections import fingerprints_table, robustness_sections, synthesis_table
from cst.reporting.tables import Heading, Rate
from cst.store import read_json


@pytest.fixture(scope="module")
def evidence(run: Path) -> Evidence:
    return read_evidence(run)


def parts(evidence: Evidence):
    return {section.title: section for section in robustness_sections(evidence)}


def test_each_family_stands_beside_its_control_with_n_for_every_model_that_was_asked(evidence):
    (table,) = parts(evidence)["User-turn overrides"].tables
    names = [row.text if isinstance(row, Heading) else str(row[0]) for row in table.rows]
    cells = [cell for row in table.rows if not isinstance(row, Heading) for cell in row[1:]]

    assert table.columns == ("family", "base", "CST")
    assert names[1 : len(FAMILIES) + 1] == [family.replace("_", " ") for family in FAMILIES]
    assert all(isinstance(cell, Rate) and "/8, 0 unscored" in cell.count for cell in cells)


@pytest.mark.parametrize(
    ("rendering", "says"),
    [({"boundary": "weak"}, "can be real"), ({"boundary": "strong"}, "text like any other"), (None, "not recorded")],
)
def test_the_note_says_what_parts_the_turns(evidence, rendering, says):
    (table,) = parts(replace(evidence, fingerprints={"rendering": rendering}))["User-turn overrides"].tables

    assert says in table.note


def test_turns_switches_and_lengths_are_shown(evidence):
    shown = parts(evidence)
    (turns,) = shown["Several turns"].tables
    rates, tests = shown["Switching"].tables
    (lengths,) = shown["Length-matched scores"].tables

    assert len(turns.rows) == 2 * (len(EXCHANGES) + 1)
    assert [row[0] for row in rates.rows if not isinstance(row, Heading)] == [
        "harmless and uncensored", "honest and persona",
    ]  # fmt: skip
    assert tests.title == "Paired tests of switching"
    assert lengths.columns[:3] == ("model", "all answers", "answers of matched length")


def test_what_was_not_asked_is_there_and_empty(evidence):
    empty = replace(evidence, framed=[], switch_rates=[], switch_tests=[], length_matched=[])

    assert [section.is_empty for section in robustness_sections(empty)] == [True] * 4


def test_framed_answers_stay_out_of_every_other_table(run, evidence, tmp_path):
    """The control puts them in, and the tables change."""
    every = [Score.model_validate(score) for score in read_json(run / "scores.json")]
    framed = [score.model_copy(update={"framing": None, "n": 1, "followed": 1}) for score in evidence.framed]

    assert len(every) == len(evidence.scores) + len(evidence.framed)
    assert score_tables.table_i(evidence.scores) != score_tables.table_i([*framed, *evidence.scores])
    assert [c for c in evidence.completions if c.framing] != []
    text = (run / "report.md").read_text()
    assert text.index("## User-turn overrides") < text.index("## Samples")


def test_samples_show_plain_answers(evidence):
    from cst.reporting.sections import pick_samples

    marked = [
        completion.model_copy(update={"text": "framed"}) if completion.framing else completion
        for completion in evidence.completions
    ]
    texts = {
        a.text for s in pick_samples(replace(evidence, completions=marked)) for row in s.rows.values() for a in row if a
    }

    assert "framed" not in texts
    assert isinstance(marked[0], Completion)


def test_the_figure_has_a_mark_for_every_family_and_model(evidence):
    drawing = kept_by_family(evidence.framed)
    assert drawing is not None
    svg = ElementTree.fromstring(drawing.svg)
    words = {"".join(text.itertext()) for text in svg.iter("text")}

    assert {"ignore system", "base", "CST"} <= words
    assert kept_by_family(evidence.framed) == drawing
    assert "keeps least against" in drawing.description
    assert "#a2000" not in drawing.svg
    assert kept_by_family([]) is kept_by_family([s.model_copy(update={"n": 0}) for s in evidence.framed]) is None


def test_a_folder_of_an_older_run_has_a_report_all_the_same(run, tmp_path):
    (tmp_path / "scores.json").write_bytes((run / "scores.json").read_bytes())
    report = render_report(tmp_path)

    assert "switch_rates.json" in report.missing
    assert "Nothing to show: needs switch\\_rates.json." in report.markdown.read_text()


def test_every_drop_is_counted_by_its_reason() -> None:
    table = synthesis_table([TaskSynthesis(task="t", prompts=9, pairs=7, drops={"original_empty": 2})])
    assert table is not None
    assert table.text_rows() == [["task t", ""], ["prompts", "9"], ["pairs", "7"], ["dropped: original empty", "2"]]


def test_fingerprints_are_flattened() -> None:
    table = fingerprints_table({"model": "ab", "versions": {"torch": "2"}, "files": ["x"], "none": None})
    assert table is not None
    assert table.rows == (("model", "ab"), ("versions.torch", "2"), ("files.0", "x"))
    assert fingerprints_table(None) is None
