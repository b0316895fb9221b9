"""The record of an audit: facts, each count with what it is out of. It holds places and lengths, and no whole text."""

from typing import Annotated, Literal

from pydantic import Field

from cst.evaluation.intervals import wilson
from cst.records import Record

EXAMPLES = 5
"""Places that are named of each fault."""

SHOWN = 60
"""Characters of a system prompt that are shown."""

Kind = Literal["preferences", "prompts"]


class Share(Record):
    """`count` of `n`, and the 95 % Wilson interval of the rate."""

    count: Annotated[int, Field(ge=0)]
    n: Annotated[int, Field(ge=0)]
    low: float
    high: float


def share(count: int, n: int) -> Share:
    """A count with what it is out of and its interval."""
    interval = wilson(count, n)
    return Share(count=count, n=n, low=interval.low, high=interval.high)


def beginning(text: str) -> str:
    """A text as far as it is shown."""
    return text if len(text) <= SHOWN else f"{text[: SHOWN - 1]}\N{HORIZONTAL ELLIPSIS}"


class Finding(Record):
    """A fault, how many rows have it, and where the first of them stand."""

    fault: str
    rows: Share
    places: tuple[str, ...]


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
    """Of one column, in characters."""

    column: str
    shortest: int
    lower_quartile: int
    median: int
    upper_quartile: int
    longest: int


class LengthShortcut(Record):
    """How many of a group's rows a rule that sees nothing but the two answers' lengths gets right.

    The rule is the best of all that say "the longer one if it is longer by more than `threshold` characters, else the
    shorter one", or the other way round (`prefers_longer` is False). It is chosen on the rows that it is counted on.
    """

    group: str
    prefers_longer: bool
    threshold: int
    right: Share


class Tokens(Record):
    """What a tokenizer and its chat template make of the rows; lengths in tokens, the longer answer counted.

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
    """All that was found; it `is_clean` when no row is bad and no fault was found."""

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
    def is_clean(self) -> bool:
        """Whether there is nothing to mend."""
        found = [*self.findings, *(self.tokens.findings if self.tokens else ())]
        return self.bad.rows.count == 0 and not any(finding.rows.count for finding in found)
