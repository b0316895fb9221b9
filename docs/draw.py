"""README's picture, from a run folder: `python docs/draw.py runs/miniature` writes docs/images/control.svg.

Each model is a point with S0 across and S1 upwards, and bars for both 95 % intervals. The picture has a background
of its own, so it reads the same on a light and on a dark page.
"""

import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

TARGET = Path(__file__).parent / "images" / "control.svg"
WIDTH, HEIGHT = 640, 420
LEFT, RIGHT, TOP, BOTTOM = 90, 610, 60, 350
"""Pixels: where rates of 0 and 1 stand."""

INK, MUTED, GRID, PAPER = "#1b1f24", "#59636e", "#d8dee4", "#ffffff"
NAMES = {"base": "start model", "dpo": "DPO", "cst": "CST"}
COLOURS = {"base": "#6b7280", "dpo": "#b94a0c", "cst": "#0b62a8"}
"""Told apart by the colour-blind, at least 4.5 : 1 against the paper."""

CORNERS = (
    (LEFT + 14, TOP + 28, "start", "refuses under both"),
    (LEFT + 14, BOTTOM - 12, "start", "follows neither"),
    (RIGHT - 14, BOTTOM - 12, "end", "complies under both"),
)
"""What a point there means; the fourth corner, where CST should be, follows both."""


@dataclass(frozen=True)
class Rate:
    """A share of answers that followed the configuration, and its 95 % interval."""

    value: float
    low: float
    high: float
    count: str


def across(rate: float) -> float:
    """The horizontal place of a rate, in pixels."""
    return LEFT + rate * (RIGHT - LEFT)


def up(rate: float) -> float:
    """The vertical place of a rate, in pixels from the top."""
    return BOTTOM - rate * (BOTTOM - TOP)


def rates(scores: list[dict[str, Any]], configuration: str) -> dict[str, Rate]:
    """Each model's greedy rate on the task `harmless` under the configuration's canonical wording."""
    wanted = {"task": "harmless", "configuration": configuration, "wordings": "canonical", "temperature": 0.0}
    return {
        row["model"]: Rate(row["followed"] / row["n"], row["low"], row["high"], f"{row['followed']}/{row['n']}")
        for row in scores
        if row["n"] and "framing" not in row and {key: row[key] for key in wanted} == wanted
    }


def line(x1: float, y1: float, x2: float, y2: float, colour: str, width: float) -> str:
    """A straight line."""
    return (
        f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke="{colour}" stroke-width="{width}" '
        'stroke-linecap="round"/>'
    )


def text(x: float, y: float, words: str, *, anchor: str = "middle", colour: str = INK, style: str = "") -> str:
    """A line of text."""
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" fill="{colour}" {style}>{escape(words)}</text>'


def axes() -> list[str]:
    """Grid, ticks, the names of both axes, and what the corners mean."""
    parts: list[str] = []
    for tick in (0, 0.25, 0.5, 0.75, 1):
        parts += [
            line(across(tick), TOP, across(tick), BOTTOM, GRID, 1),
            line(LEFT, up(tick), RIGHT, up(tick), GRID, 1),
        ]
        parts += [text(across(tick), BOTTOM + 24, f"{tick:g}", colour=MUTED)]
        parts += [text(LEFT - 14, up(tick) + 5, f"{tick:g}", anchor="end", colour=MUTED)]
    parts += [text((LEFT + RIGHT) / 2, HEIGHT - 18, "S0: uncensored system prompt followed")]
    middle = (TOP + BOTTOM) / 2
    parts += [
        text(0, 0, "S1: harmless system prompt followed", style=f'transform="translate(28 {middle:.0f}) rotate(-90)"')
    ]
    return parts + [text(x, y, words, anchor=anchor, colour=MUTED) for x, y, anchor, words in CORNERS]


def point(model: str, s0: Rate, s1: Rate) -> list[str]:
    """A model's bars, dot and name; the name stands above the dots at the upper edge, else to the left below."""
    colour, x, y = COLOURS.get(model, INK), across(s0.value), up(s1.value)
    name_y, anchor, name_x = (y - 18, "middle", x) if s1.value > 0.95 else (y + 24, "end", x - 10)
    return [
        line(across(s0.low), y, across(s0.high), y, colour, 3),
        line(x, up(s1.low), x, up(s1.high), colour, 3),
        f'<circle cx="{x:.1f}" cy="{y:.1f}" r="8" fill="{colour}"/>',
        text(name_x, name_y, NAMES.get(model, model), anchor=anchor, colour=colour, style='font-weight="bold"'),
    ]


def picture(scores: list[dict[str, Any]]) -> str:
    """The whole picture as an SVG document with a title and a description."""
    s0, s1 = rates(scores, "uncensored"), rates(scores, "harmless")
    models = [model for model in s0 if model in s1]
    said = "; ".join(f"{NAMES.get(m, m)}: S1 {s1[m].count}, S0 {s0[m].count}" for m in models)
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" height="{HEIGHT}" '
            'role="img" font-family="system-ui, sans-serif" font-size="15">',
            "<title>Control over harmlessness on the miniature</title>",
            f"<desc>{escape(said)}</desc>",
            f'<rect width="{WIDTH}" height="{HEIGHT}" rx="8" fill="{PAPER}"/>',
            *axes(),
            *(part for model in models for part in point(model, s0[model], s1[model])),
            "</svg>\n",
        ]
    )


if __name__ == "__main__":
    TARGET.write_text(
        picture(json.loads((Path(sys.argv[1]) / "scores.json").read_text(encoding="utf-8"))), encoding="utf-8"
    )
