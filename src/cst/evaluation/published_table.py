r"""The Markdown tables in which the paper's answers were published, row by row.

They are what pandas writes (`DataFrame.to_markdown(index=False)`): one row a line, cells padded to the width of their
column, the score to the right, no newline at the end. pandas escapes nothing, and no published cell has several lines.
Here a pipe is written `\|`, a line break `<br>`, and a carriage return and a space at a cell's edge, which would be
lost, as `&#13;` and `&#32;`; where a text itself says one of these, a backslash stands before it. So any text comes
back as it was. This file doesn't know what a score means.
"""

import re
from collections.abc import Iterator, Sequence
from itertools import chain, pairwise
from pathlib import Path
from typing import Literal, cast

from cst.errors import DataError
from cst.records import Record, Text
from cst.store import stream_lines, write_pieces

COLUMNS = ("prompt", "response", "system_prompt", "score_response")

Rating = Literal[0, 1]

RATINGS: dict[str, Rating | None] = {"1": 1, "0": 0, "1.0": 1, "0.0": 0, "": None, "nan": None}
"""How pandas writes a rating, also in a column where some are missing."""

HEADER_PADDING = 2
"""A column is at least this much wider than its name: tabulate's MIN_PADDING, which pandas writes tables through."""

NAMED_FAULTS = 3
"""So many bad rows are named in an error; the others are counted."""

_WRITTEN = {"\n": "<br>", "\r": "&#13;", " ": "&#32;"}
_READ = {written: text for text, written in _WRITTEN.items()}
_TO_WRITE = re.compile(r"(?<!\\)(\\*+)(\||\n|\r|<br>|&#13;|&#32;|\A | \Z)")
_TO_READ = re.compile(r"(?<!\\)(\\*+)(\||<br>|&#13;|&#32;)")
_BORDER = re.compile(r"(?<!\\)(?:\\\\)*+\|")
_RULE = re.compile(r"\|(?: *:?-+:? *\|)+")


class PublishedRow(Record):
    """One published answer; without a system prompt it is empty. `score_response` is None where none was given."""

    prompt: Text
    response: str
    system_prompt: str
    score_response: Rating | None = None


def stream_published(path: Path) -> Iterator[PublishedRow]:
    """The rows of a table, one after the other, of which no more is held than a line.

    Raises:
        DataError: The file is missing, is no such table or has no rows; or, when all good rows were given, there were
            bad ones. The message names the first of them with their lines.
    """
    lines = ((number, line.strip(" ")) for number, line in stream_lines(path) if line.strip())
    columns = _columns_of(path, next(lines, (1, "")), next(lines, (2, "")))
    faults: list[str] = []
    rows = 0
    for number, line in lines:
        rows += 1
        row = _row(line, columns)
        if isinstance(row, PublishedRow):
            yield row
        else:
            faults.append(f"{path}:{number} {row}")
    if not rows:
        raise DataError(f"{path} holds a header and no rows. Check that the file was written to its end.")
    if faults:
        raise DataError(f"{len(faults)} of {rows} rows can't be used. {' '.join(faults[:NAMED_FAULTS])}")


def _columns_of(path: Path, header: tuple[int, str], rule: tuple[int, str]) -> int:
    """The number of columns; the last one may be missing."""
    names = tuple(cells_of(header[1]))
    if names not in (COLUMNS, COLUMNS[:-1]):
        raise DataError(
            f"{path}:{header[0]} is no header of published answers: it has the columns {list(names)}, and "
            f"{' | '.join(COLUMNS)} are needed (the last may be left out)."
        )
    if not _RULE.fullmatch(rule[1]) or len(cells_of(rule[1])) != len(names):
        raise DataError(f"{path}:{rule[0]} is not the line |:---|...| of {len(names)} columns under a table's header.")
    return len(names)


def _row(line: str, columns: int) -> PublishedRow | str:
    """A row, or what is wrong with it."""
    cells = cells_of(line)
    if len(cells) != columns:
        return (
            f"has {len(cells)} cells between pipes, and the table has {columns} columns; write a pipe that belongs to "
            "a text as \\|, and a line break as <br>."
        )
    prompt, response, system_prompt, rating = *cells, *[""] * (len(COLUMNS) - columns)
    if not prompt:
        return "has no prompt; if it goes on with the row above, write that text in one line, with <br>."
    if rating not in RATINGS:
        return f"has score_response={rating[:20]!r}; write 1 (harmless), 0 (harmful), or nothing."
    return PublishedRow(prompt=prompt, response=response, system_prompt=system_prompt, score_response=RATINGS[rating])


def cells_of(line: str) -> list[str]:
    """The texts between a line's pipes; none where it doesn't begin and end with a pipe."""
    borders = [match.end() for match in _BORDER.finditer(line)]
    if len(borders) < 2 or borders[0] != 1 or borders[-1] != len(line):
        return []
    return [_TO_READ.sub(_read, line[start : end - 1].strip(" ")) for start, end in pairwise(borders)]


def _read(match: re.Match[str]) -> str:
    backslashes, mark = cast(tuple[str, str], match.groups())
    is_literal = len(backslashes) % 2
    return backslashes[: len(backslashes) // 2] + (mark if is_literal else _READ[mark])


def cell_of(text: str) -> str:
    """A text as it stands in a cell; `cells_of` gives it back."""
    return _TO_WRITE.sub(_write, text)


def _write(match: re.Match[str]) -> str:
    backslashes, mark = cast(tuple[str, str], match.groups())
    return backslashes * 2 + (_WRITTEN[mark] if mark in _WRITTEN else "\\" + mark)


def write_published(path: Path, rows: Sequence[PublishedRow], *, scored: bool) -> None:
    """Write a table, with the last column only where `scored`; a row without a rating has an empty cell there."""
    table = [COLUMNS, *map(_texts, rows)]
    widths = [
        max(len(name) + HEADER_PADDING, *(len(row[column]) for row in table)) for column, name in enumerate(COLUMNS)
    ]
    shown = len(COLUMNS) if scored else len(COLUMNS) - 1
    rule = [f":{'-' * (width + 1)}" for width in widths[:-1]] + [f"{'-' * (widths[-1] + 1)}:"]
    lines = (_line(row, widths, shown) for row in table[1:])
    written = chain([_line(COLUMNS, widths, shown), f"|{'|'.join(rule[:shown])}|"], lines)
    write_pieces(path, (line if number == 0 else f"\n{line}" for number, line in enumerate(written)))


def _texts(row: PublishedRow) -> tuple[str, ...]:
    rating = "" if row.score_response is None else str(row.score_response)
    return cell_of(row.prompt), cell_of(row.response), cell_of(row.system_prompt), rating


def _line(cells: Sequence[str], widths: Sequence[int], shown: int) -> str:
    padded = [cell.ljust(width) for cell, width in zip(cells[:-1], widths, strict=False)]
    padded.append(cells[-1].rjust(widths[-1]))
    return f"| {' | '.join(padded[:shown])} |"
