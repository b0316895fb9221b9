"""The record of an audit: counts, each with its total and interval. It holds places and lengths, and no whole text."""

from collections.abc import Sequence
from typing import Annotated, Literal

from pydantic import Field

from cst.intervals import wilson
from cst.records import Record

EXAMPLES = 5
"""The places that are named for each fault."""

SHOWN = 60
"""The characters of a system prompt that are shown."""

Kind = Literal["preferences", "prompts"]


class Share(Record):
    """`count` of `n`, and the 95 % Wilson interval of the rate."""

    count: Annotated[int, Field(ge=0)]
    n: Annotated[int, Field(ge=0)]
    low: float
    high: float


def share(count: int, n: int) -> Share:
    """A count with its total and interval."""
    interval = wilson(count, n)
    return Share(count=count, n=n, low=interval.low, high=interval.high)


def beginning(text: str) -> str:
    """The part of a text that is shown."""
    return text if len(text) <= SHOWN else f"{text[: SHOWN - 1]}\N{HORIZONTAL ELLIPSIS}"


class Finding(Record):
    """A fault, how many rows have it, and where the first of them stand."""

    fault: str
    rows: Share
    places: tuple[str, ...]


def finding(fault: str, places: Sequence[str], n: int) -> Finding:
    """A fault that `n` rows were looked at for, and that those at `places` have."""
    return Finding(fault=fault, rows=share(len(places), n), places=tuple(places[:EXAMPLES]))


class BadRows(Record):
    """Rows that can't be read, and the first of them with the reason."""

    rows: Share
    examples: tuple[str, ...]


class SystemPrompts(Record):
    """How many there are, rows without one, and the beginnings of the most frequent ones with their rows."""

    different: int
    rows_without: int
    most_frequent: tuple[tuple[str, int], ...]


class Lengths(Record):
    """The lengths of one column, in characters."""

    column: str
    shortest: int
    lower_quartile: int
    median: int
    upper_quartile: int
    longest: int


class LengthShortcut(Record):
    """How many rows of a group a rule gets right that sees only the lengths of the two answers.

    The rule is the best one of the form "the longer answer if it is longer by more than `threshold` characters, else
    the shorter one", or the other way round (`prefers_longer` is False). It is chosen on the rows it is counted on.
    """

    group: str
    prefers_longer: bool
    threshold: int
    right: Share


class Tokens(Record):
    """The rows as a tokenizer and its chat template render them; lengths are in tokens, with the longer answer.

    `folded` rows have a system prompt that the template has no place for: it would stand before the user's text.
    """

    tokenizer: str
    boundary: Literal["strong", "weak"]
    max_length: int | None
    median: int
    longest: int
    folded: Share
    findings: tuple[Finding, ...]


class Audit(Record):
    """Everything that was found."""

    source: str
    kind: Kind
    rows: int
    columns: tuple[str, ...]
    unread: tuple[str, ...]
    formats: dict[str, int]
    bad: BadRows
    tasks: dict[str, int]
    system_prompts: SystemPrompts
    mirrored: Share | None
    refusals: dict[str, Share]
    lengths: tuple[Lengths, ...]
    shortcuts: tuple[LengthShortcut, ...]
    findings: tuple[Finding, ...]
    tokens: Tokens | None = None

    @property
    def all_findings(self) -> tuple[Finding, ...]:
        """Every fault that was looked for, those of a tokenizer included."""
        return (*self.findings, *(self.tokens.findings if self.tokens else ()))

    @property
    def is_clean(self) -> bool:
        """Whether no row is bad and no fault was found."""
        return self.bad.rows.count == 0 and not any(each.rows.count for each in self.all_findings)
