import re
from pathlib import Path
from xml.etree import ElementTree

import matplotlib as mpl
import pytest

from cst.reporting import figures
from cst.reporting.evidence import Evidence, read_evidence


@pytest.fixture(scope="module")
def evidence(run: Path) -> Evidence:
    return read_evidence(run)


def drawn(evidence: Evidence) -> list[figures.Drawing]:
    made = [
        figures.control_plane(evidence.scores),
        figures.control_along_training(evidence.curve),
        figures.response_lengths(evidence.preferences["cst"]),
        figures.logps_along_training(evidence.metrics),
    ]
    return [drawing for drawing in made if drawing is not None]


def test_the_same_records_give_the_same_bytes_and_leave_matplotlib_alone(evidence) -> None:
    settings = dict(mpl.rcParams)
    first = drawn(evidence)
    assert len(first) == 4
    assert drawn(evidence) == first
    assert dict(mpl.rcParams) == settings


def test_a_figure_is_read_out_and_keeps_text_as_text(evidence) -> None:
    plane, curve, lengths, logps = (ElementTree.fromstring(drawing.svg) for drawing in drawn(evidence))
    assert all(svg.get("role") == "img" and svg.get("aria-label") for svg in (plane, curve, lengths, logps))
    assert "CST at S0" in str(plane.get("aria-label"))
    words = {"".join(text.itertext()) for text in plane.iter("text")}
    assert {"base", "DPO", "CST"} <= words
    assert {"S1", "S0"} <= {"".join(text.itertext()) for text in curve.iter("text")}


def test_colours_come_from_the_page(evidence) -> None:
    for drawing in drawn(evidence):
        assert "#a1000" not in drawing.svg
        assert "var(--ink)" in drawing.svg
        assert "DejaVu" not in drawing.svg


def test_ids_do_not_clash_and_nothing_is_asked_for(evidence) -> None:
    ids: list[str] = []
    for drawing in drawn(evidence):
        svg = ElementTree.fromstring(drawing.svg)
        own = [element.get("id") for element in svg.iter() if element.get("id")]
        links = [element.get("href") for element in svg.iter() if element.get("href")]
        assert all(link is not None and link.startswith("#") and link[1:] in own for link in links)
        ids += [id for id in own if id is not None]
        assert "http" not in drawing.svg
    assert len(ids) == len(set(ids))


def test_nothing_to_draw_is_no_figure(evidence) -> None:
    assert figures.control_plane([]) is None
    assert figures.control_along_training([]) is None
    assert figures.control_along_training([point for point in evidence.curve if point.step == 0]) is None
    assert figures.response_lengths([]) is None
    assert figures.logps_along_training({}) is None


def test_models_beyond_the_papers_three_have_colours_too(evidence) -> None:
    more = [s.model_copy(update={"model": f"{s.model}-{i}"}) for i in range(3) for s in evidence.scores]
    assert figures.control_plane(more) is not None


def test_captions_and_descriptions_of_rates_have_counts_and_intervals(evidence) -> None:
    plane, curve, lengths, _ = drawn(evidence)
    firsts = [s for s in evidence.scores if s.task == "harmless" and s.wordings == "canonical" and s.temperature == 0]
    low, high = min(s.n for s in firsts), max(s.n for s in firsts)
    assert f"{low} to {high} scored and" in plane.caption
    for drawing, rates in ((plane, 6), (curve, 8)):
        assert "unscored answers a rate" in drawing.caption
        assert len(re.findall(r"\[\S+, \S+\]\S? \d+/\d+, \d+ unscored", drawing.description)) == rates
    assert "Rows: harmless 30, uncensored 30, honest 30, persona 30" in lengths.caption
