"""A report's drawings as files for a paper: drawn again in print's colours, fonts embedded, the same bytes each time.

This file knows no figure by name.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Literal, TypeAlias

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.backends.backend_pdf import FigureCanvasPdf

from cst.evaluation.figures import Drawing
from cst.evaluation.svg import ROLES, style
from cst.store import replaced

FigureKind: TypeAlias = Literal["pdf", "png"]

PRINT = {
    "ink": "#1d1f23",
    "muted": "#62666d",
    "grid": "#e3e4e2",
    "base": "#6b6f76",
    "dpo": "#c4500a",
    "cst": "#0063a8",
    "fourth": "#007f5f",
    "fifth": "#a2447f",
}
"""The page's colours on light paper (`report.css`)."""

DOTS_PER_INCH = 300
"""Of a PNG: what most journals ask of line art at least."""

_UNDATED = {"pdf": {"CreationDate": None, "Creator": "cst", "Producer": None}, "png": {"Software": None}}
"""Metadata without dates and versions, which would change the bytes."""


def write_figures(folder: Path, drawings: Sequence[Drawing], kinds: Sequence[FigureKind] = ("pdf",)) -> list[Path]:
    """Write `NAME.pdf`, or of whichever kind, of every drawing.

    Raises:
        DataError: a file can't be written.
    """
    return [_write(folder / f"{drawing.name}.{kind}", drawing, kind) for drawing in drawings for kind in kinds]


def _write(path: Path, drawing: Drawing, kind: FigureKind) -> Path:
    with style([PRINT[role] for role in ROLES]), replaced(path) as neighbour:
        figure = drawing.paint()
        (FigureCanvasPdf if kind == "pdf" else FigureCanvasAgg)(figure)
        figure.savefig(neighbour, format=kind, dpi=DOTS_PER_INCH, facecolor="white", metadata=_UNDATED[kind])
    return path
