import re
import zlib
from importlib.resources import files
from pathlib import Path

import matplotlib as mpl
import pytest

from cst.evaluation.evidence import read_evidence
from cst.evaluation.figure_files import PRINT, write_figures
from cst.evaluation.figures import Drawing
from cst.evaluation.report import sections
from cst.evaluation.svg import ROLES


@pytest.fixture(scope="module")
def drawings(run: Path) -> list[Drawing]:
    return [drawing for section in sections(read_evidence(run)) for drawing in section.drawings]


def streams(pdf: bytes) -> bytes:
    """The deflated streams of a PDF, one after the other."""
    return b"".join(
        zlib.decompress(found)
        for found in re.findall(rb"/FlateDecode.*?stream\r?\n(.*?)\r?\nendstream", pdf, re.DOTALL)
    )


def operands(colour: str) -> bytes:
    """A colour as a PDF writes it: three shares, none of them as a whole number."""
    return b" ".join(b"%.4f" % (int(colour[i : i + 2], 16) / 255) for i in (1, 3, 5)).replace(b"0.0000", b"0")


def shortened(text: bytes) -> bytes:
    """Numbers with four decimals, as in `operands`."""
    return re.sub(rb"\d\.\d+", lambda match: b"%.4f" % float(match[0]), text)


def test_fonts_are_embedded_as_truetype_and_nothing_is_dated(drawings, tmp_path):
    for path in write_figures(tmp_path, drawings):
        text = path.read_bytes()
        assert b"/FontFile2" in text
        assert b"/Type3" not in text
        assert not re.search(rb"Date|Producer|Matplotlib", text)


def test_the_same_drawing_gives_the_same_bytes_and_leaves_matplotlib_alone(drawings, tmp_path):
    settings = dict(mpl.rcParams)
    drawings = drawings[:2]
    first = write_figures(tmp_path / "a", drawings, ("pdf", "png"))
    again = write_figures(tmp_path / "b", drawings, ("pdf", "png"))
    assert [path.read_bytes() for path in first] == [path.read_bytes() for path in again]
    assert dict(mpl.rcParams) == settings
    assert {path.name for path in first} == {f"{d.name}.{kind}" for d in drawings for kind in ("pdf", "png")}
    assert all(path.read_bytes().startswith(b"\x89PNG") for path in first if path.suffix == ".png")


def test_print_has_its_own_colours_and_the_page_keeps_its(drawings, tmp_path):
    plane = next(drawing for drawing in drawings if drawing.name == "plane")
    (path,) = write_figures(tmp_path, [plane])
    drawn = shortened(streams(path.read_bytes()))
    for role in ("base", "dpo", "cst", "grid"):
        assert operands(PRINT[role]) in drawn
        assert f"var(--{role})" in plane.svg
    assert operands("#a10003") not in drawn


def test_prints_colours_are_the_pages_on_light_paper():
    css = files("cst.evaluation").joinpath("templates/report.css").read_text(encoding="utf-8")
    light = dict(re.findall(r"--([a-z]+): (#[0-9a-f]{6});", css[: css.index("@media")]))
    assert {role: light[role] for role in ROLES} == PRINT
