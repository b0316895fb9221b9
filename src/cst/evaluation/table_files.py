"""Tables as files for machines and papers: one CSV and one LaTeX file a table, one CSV line a cell.

A rate, its interval and its counts have columns of their own, with all their digits. This file knows tables and
records as values, and not what they say.
"""

import csv
import io
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from cst.evaluation.latex import latex_table
from cst.evaluation.tables import Cell, Heading, Rate, Table
from cst.records import Score
from cst.store import write_text

CELL_COLUMNS = (
    *("heading", "row", "column", "text", "rate", "low", "high", "followed", "n", "unscored"),
    *("interval", "count", "remark"),
)
"""Of a cell's line: `text` where it holds no rate; `count` and `remark` are as the report has them."""


def named_tables(tables: Iterable[Table]) -> dict[str, Table]:
    """Each table by the name of its files, which is made of its title; two of one title are told apart by a number."""
    found: dict[str, Table] = {}
    for table in tables:
        name, number = file_name(table.title), 2
        free = name
        while found.get(free, table) != table:
            free, number = f"{name}-{number}", number + 1
        found[free] = table
    return found


def file_name(title: str) -> str:
    """A title in small letters, digits and hyphens: `table-i-control-over-harmlessness`."""
    letters = "".join(letter if letter.isascii() and letter.isalnum() else " " for letter in title.lower())
    return "-".join(letters.split()) or "table"


def write_tables(folder: Path, tables: dict[str, Table]) -> list[Path]:
    """Write `NAME.csv` and `NAME.tex` of every table.

    Raises:
        DataError: a file can't be written.
    """
    written: list[Path] = []
    for name, table in tables.items():
        for kind, text in (("csv", csv_of_table(table)), ("tex", latex_table(table, name))):
            written.append(folder / f"{name}.{kind}")
            write_text(written[-1], text)
    return written


def csv_of_table(table: Table) -> str:
    """One line a cell, in reading order."""
    return _csv(CELL_COLUMNS, _lines(table))


def _lines(table: Table) -> Iterator[dict[str, object]]:
    heading = ""
    for row in table.rows:
        if isinstance(row, Heading):
            heading = row.text
            continue
        for column, cell in zip(table.columns[1:], row[1:], strict=True):
            yield {"heading": heading, "row": row[0], "column": column, **_values(cell)}


def _values(cell: Cell) -> dict[str, object]:
    if not isinstance(cell, Rate):
        return {"text": cell}
    counts = {"n": cell.counts.n, "followed": cell.counts.followed, "unscored": cell.counts.unscored}
    interval = {"rate": cell.value, "low": cell.low, "high": cell.high, "interval": cell.method}
    return {**interval, **counts, "count": cell.count, "remark": cell.remark}


def csv_of_scores(scores: Sequence[Score]) -> str:
    """One line a score: its fields, and the rate."""
    lines = ({**score.model_dump(mode="json"), "rate": score.rate} for score in scores)
    return _csv((*Score.model_fields, "rate"), lines)


def _csv(columns: Sequence[str], lines: Iterable[Mapping[str, object]]) -> str:
    """As RFC 4180 has it, line ends too; what is missing is empty."""
    buffer = io.StringIO(newline="")
    writer = csv.DictWriter(buffer, columns, restval="")
    writer.writeheader()
    writer.writerows(lines)
    return buffer.getvalue()
