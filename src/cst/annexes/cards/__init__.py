"""Cards for the Hub: `pages` makes those of runs, `mixtures` those of mixed rows; this file knows only Markdown.

Text that came with data is escaped. huggingface_hub writes the YAML header and checks it.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal, final

NO_VALUE = "\N{EN DASH}"
SPECIAL = re.compile(r"[\\|<>*\[\]`&~]|(?<!\w)_|_(?!\w)")
"""What Markdown or HTML would read as markup; an underscore within a word is plain text."""
SIZES = ("n<1K", "1K<n<10K", "10K<n<100K", "100K<n<1M", "1M<n<10M", "10M<n<100M", "100M<n<1B", "other")
"""The Hub's names for numbers of rows, a factor of ten apart."""


@final
class Code(str):
    """Text that is Markdown already, and is not escaped again."""


def as_code(text: str) -> Code:
    """Text as Markdown code in one line, fenced by more backticks than it holds."""
    line = " ".join(text.split())
    fence = "`" * (1 + max((len(run) for run in re.findall(r"`+", line)), default=0))
    return Code(f"{fence} {line} {fence}" if "`" in line else f"`{line}`")


def plain(text: object) -> str:
    """Text in one line that Markdown shows as it is."""
    return SPECIAL.sub(r"\\\g<0>", " ".join(str(text).split()))


def table(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A table. Cells are escaped; in `Code` only the bar is, because tables are split at bars before code is read."""
    cells = [[re.sub(r"(?<!\\)\|", r"\\|", c) if isinstance(c, Code) else plain(c) for c in row] for row in rows]
    return "\n".join(f"| {' | '.join(row)} |" for row in (columns, *cells)).replace(
        "|\n", f"|\n|{'---|' * len(columns)}\n", 1
    )


def listed(lines: Iterable[str]) -> str:
    """A list of lines."""
    return "\n".join(f"- {line}" for line in lines)


def size_category(rows: int) -> str:
    """The Hub's name for a number of rows."""
    return SIZES[min(max(len(str(rows)) - 3, 0), len(SIZES) - 1)]


def card(kind: Literal["dataset", "model"], header: Mapping[str, Any], parts: Iterable[str]) -> str:
    """A README.md of a header (keys without a value are left out) and of the parts that aren't empty.

    Raises:
        ValueError: huggingface_hub can't read the header back.
    """
    from huggingface_hub import DatasetCard, ModelCard

    made = DatasetCard if kind == "dataset" else ModelCard
    body = "\n\n".join(part for part in parts if part)
    return str(made(f"---\n{made.card_data_class(**header).to_yaml()}\n---\n{body}\n"))
