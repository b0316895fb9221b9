"""The values that a report's tables are made of, and how numbers are written in them.

This file knows rates, intervals and counts. It does not know which tables there are, or how a page shows them.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, TypeAlias

from cst.evaluation.scores import unscored_bounds
from cst.intervals import GROUPED, IntervalMethod
from cst.records import Score

if TYPE_CHECKING:
    from cst.evaluation.capability import CapabilityScore  # which brings scipy.stats

NOT_MEASURED = "\N{EN DASH}"
DAGGER = "\N{DAGGER}"

INTERVAL_NOTE = (
    f"A cell: the rate, its 95 % interval, followed / n. Wilson intervals; {DAGGER} where prompts hang together in "
    "groups: of as many independent answers as they are worth. Unscored answers are in neither count; where there are "
    "any, the rate lies between the two bounds that they leave open."
)


def number(value: float, *, signed: bool = False) -> str:
    """Three decimals, without the leading zero: `.975`, `1.000`; `+.030` if signed; nothing has no sign."""
    text = f"{abs(value):.3f}".removeprefix("0")
    if float(f"{value:.3f}") == 0:
        return text
    return ("\N{MINUS SIGN}" if value < 0 else "+" if signed else "") + text


@dataclass(frozen=True)
class Counts:
    """The counts behind a rate as numbers, for files that machines read; None where there is no such count."""

    n: int | None = None
    followed: int | None = None
    unscored: int | None = None


@dataclass(frozen=True)
class Rate:
    """A rate with its interval and counts; `count` is such as `195/200, 0 unscored`, `remark` is whatever limits it.

    `count` is for readers; `counts` says the same in numbers.
    """

    value: float | None
    low: float
    high: float
    count: str
    remark: str = ""
    method: IntervalMethod = "wilson"
    counts: Counts = Counts()
    is_signed: ClassVar[bool] = False

    @property
    def main(self) -> str:
        """The rate alone, as the first line of a cell."""
        return NOT_MEASURED if self.value is None else number(self.value, signed=self.is_signed)

    @property
    def interval(self) -> str:
        """The interval in brackets, with a dagger if groups of prompts widened it."""
        low, high = (number(bound, signed=self.is_signed) for bound in (self.low, self.high))
        return f"[{low}, {high}]{DAGGER if self.method in GROUPED else ''}"

    @property
    def lines(self) -> list[str]:
        """The rate, its interval, its count and its remark, as far as there are any."""
        return [part for part in (self.main, self.interval, self.count, self.remark) if part]

    def __str__(self) -> str:
        return " ".join(self.lines)


@dataclass(frozen=True)
class Difference(Rate):
    """A difference of two rates, written with its sign."""

    is_signed: ClassVar[bool] = True


@dataclass(frozen=True)
class Heading:
    """A row that names the rows below it."""

    text: str


TableCell: TypeAlias = str | Rate
Row: TypeAlias = Heading | tuple[TableCell, ...]


@dataclass(frozen=True)
class Table:
    """A title, columns, rows and what has to be known to read them. The first column names the row."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[Row, ...]
    note: str = ""

    def text_rows(self, *, stacked: bool = False) -> list[list[str]]:
        """Rows as text; headings fill up with empty cells; `stacked` breaks a rate into lines for narrow columns."""
        return [
            [row.text, *[""] * (len(self.columns) - 1)]
            if isinstance(row, Heading)
            else ["\n".join(cell.lines) if stacked and isinstance(cell, Rate) else str(cell) for cell in row]
            for row in self.rows
        ]


def rate_of(score: Score | None) -> TableCell:
    """A score as a cell, with the bounds that its unscored answers leave open."""
    if score is None:
        return NOT_MEASURED
    remark = ""
    if score.unscored:
        bounds = unscored_bounds(score)
        remark = f"between {number(bounds.all_failed)} and {number(bounds.all_followed)}"
    count = f"{score.followed}/{score.n}, {score.unscored} unscored"
    counts = Counts(score.n, score.followed, score.unscored)
    return Rate(score.rate, score.low, score.high, count, remark, score.interval, counts)


def counted_rate(followed: int, n: int, unscored: int, low: float, high: float) -> Rate:
    """A count of `n` scored answers as a cell, with the bounds that the unscored answers leave open."""
    total = n + unscored
    remark = f"between {number(followed / total)} and {number((followed + unscored) / total)}" if unscored else ""
    count, counts = f"{followed}/{n}, {unscored} unscored", Counts(n, followed, unscored)
    return Rate(followed / n if n else None, low, high, count, remark, counts=counts)


def average_of(scores: Sequence["Score | CapabilityScore | None"]) -> TableCell:
    """The mean of rates, between the means of their bounds: wide enough however the rates are correlated."""
    rated = [(score.rate, score) for score in scores if score is not None and score.rate is not None]
    if len(rated) < len(scores) or not rated:
        return NOT_MEASURED
    n, unscored = sum(score.n for _, score in rated), sum(score.unscored for _, score in rated)
    rates, lows, highs = zip(*((rate, score.low, score.high) for rate, score in rated), strict=True)
    value, low, high = (sum(each) / len(each) for each in (rates, lows, highs))
    return Rate(value, low, high, f"n {n}, {unscored} unscored", counts=Counts(n=n, unscored=unscored))


def p_value(value: float) -> str:
    """Two significant digits, and a bound where there is nothing more to say."""
    return "< 1e-6" if value < 1e-6 else f"{value:.2g}".replace("e-0", "e-")
