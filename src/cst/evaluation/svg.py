"""A matplotlib figure as SVG to stand inside a page: the same bytes each time, the page's font, the page's colours.

Colours are named by role, and a role is a place in matplotlib's colour cycle (`C0`): what is drawn once can be drawn
again in other colours. The page gives each role a colour for light and for dark (`var(--ink)`). This file doesn't know
what is drawn.
"""

import io
import re
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from html import escape
from typing import Any

import matplotlib as mpl
from cycler import cycler
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

INK, MUTED, GRID, BASE, DPO, CST, FOURTH, FIFTH = (f"C{place}" for place in range(8))

ROLES = ("ink", "muted", "grid", "base", "dpo", "cst", "fourth", "fifth")
"""The page's name for each role, in the order of the cycle."""

_STAND_INS = tuple(f"#a1000{place}" for place in range(8))
"""Colours that matplotlib writes into the SVG, whose place the page's properties take."""

_STYLE: Any = {
    "svg.fonttype": "none",
    "svg.hashsalt": "cst",
    "pdf.fonttype": 42,  # TrueType, embedded: journals refuse type 3
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
    svg = _prefix_ids(svg, name)
    for colour, role in zip(_STAND_INS, ROLES, strict=True):
        svg = svg.replace(colour, f"var(--{role})")
    return svg.replace("<svg ", f'<svg role="img" aria-label="{escape(description)}" ', 1).rstrip() + "\n"


def _prefix_ids(svg: str, name: str) -> str:
    """Ids are unique in a page of several figures; those that nothing refers to go."""
    referred = set(re.findall(r'href="#([^"]+)"|url\(#([^)]+)\)', svg))
    used = {first or second for first, second in referred}
    svg = re.sub(r' id="([^"]+)"', lambda m: f' id="{name}-{m[1]}"' if m[1] in used else "", svg)
    return re.sub(r'(href="#|url\(#)', rf"\g<1>{name}-", svg)
