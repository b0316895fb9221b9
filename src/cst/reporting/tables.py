"""The values that a report is made of: tables, samples of answers, and sections of them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

from cst.evaluation.scores import unscored_bounds
from cst.intervals import GROUPED, IntervalMethod
from cst.records import Score

NOT_MEASURED = "\N{EN DASH}"
_MINUS = "\N{MINUS SIGN}"

INTERVAL_NOTE = (
    "A cell: the rate, its 95 % interval, followed / n. Wilson intervals; \N{DAGGER} where prompts hang together in "
    "groups: of as many independent answers as they are worth. Unscored answers are in neither count; where there are "
    "any, the rate lies between the two bounds that they leave open."
)


def number(value: float, *, signed: bool = False) -> str:
    """Three decimals, without the leading zero: `.975`, `1.000`; `+.030` if signed; nothing has no sign."""
    text = f"{abs(value):.3f}".removeprefix("0")
    if float(f"{value:.3f}") == 0:
        return text
    sign = _MINUS if value < 0 else "+" if signed else ""
    return sign + text


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

    @property
    def main(self) -> str:
        """The rate alone, as the first line of a cell."""
        return NOT_MEASURED if self.value is None else number(self.value)

    @property
    def interval(self) -> str:
        """The interval in brackets, marked if groups of prompts widened it."""
        return f"[{number(self.low)}, {number(self.high)}]{self.mark}"

    @property
    def mark(self) -> str:
        """What the interval's method puts behind it."""
        return "\N{DAGGER}" if self.method in GROUPED else ""

    def __str__(self) -> str:
        return " ".join(part for part in (self.main, self.interval, self.count, self.remark) if part)


@dataclass(frozen=True)
class Difference(Rate):
    """A difference of two rates, written with its sign."""

    @property
    def main(self) -> str:
        """The difference alone."""
        return NOT_MEASURED if self.value is None else number(self.value, signed=True)

    @property
    def interval(self) -> str:
        """The interval in brackets, with signs."""
        low, high = number(self.low, signed=True), number(self.high, signed=True)
        return f"[{low}, {high}]{self.mark}"


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
            else [_text(cell, stacked=stacked) for cell in row]
            for row in self.rows
        ]


def _text(cell: TableCell, *, stacked: bool) -> str:
    if isinstance(cell, str) or not stacked:
        return str(cell)
    return "\n".join(part for part in (cell.main, cell.interval, cell.count, cell.remark) if part)


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


def average_of(scores: Sequence[Score | None]) -> TableCell:
    """The mean of rates, between the means of their bounds: wide enough however the rates hang together."""
    present = [score for score in scores if score is not None]
    rates = [score.rate for score in present if score.rate is not None]
    if len(rates) < len(scores) or not rates:
        return NOT_MEASURED
    n, unscored = sum(score.n for score in present), sum(score.unscored for score in present)
    return Rate(
        sum(rates) / len(rates),
        sum(score.low for score in present) / len(present),
        sum(score.high for score in present) / len(present),
        f"n {n}, {unscored} unscored",
        counts=Counts(n=n, unscored=unscored),
    )


def p_value(value: float) -> str:
    """Two significant digits, and a bound where there is nothing more to say."""
    return "< 1e-6" if value < 1e-6 else f"{value:.2g}".replace("e-0", "e-")
