"""Rows of tables: CSV and TSV, and parquet. This file knows no column.

What is wrong with one row is told as a `RowFault` in its place; what ends the reading is raised.
"""

import csv
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TypeAlias, final

from cst.distribution import install_command
from cst.errors import DataError
from cst.preferences.files import Unreadable, opened
from cst.preferences.json_rows import Row, RowFault, decoded
from cst.preferences.pieces import Piece, lines

NumberedRow: TypeAlias = tuple[int, Row | RowFault, str]
"""The row's line (its number, in what has no lines), the row or its fault, and how it stood in the file."""


def csv_rows(chunks: Iterable[bytes], *, delimiter: str) -> Iterator[NumberedRow]:
    """The records of a CSV file under the names in its first one; a cell may hold line ends between quotes.

    Cells of more than 131,072 characters are refused, as Python's csv does: that bounds what a missing quote swallows.
    """
    source = _Lines(chunks)
    reader = csv.reader(source, delimiter=delimiter, strict=True)
    names: list[str] = []
    while True:
        source.taken.clear()
        try:
            cells = next(reader, None)
            if cells and names:
                yield source.taken[0].line, _named(names, cells), ""
            names = names or _names(cells or [])
        except csv.Error as error:
            fault = RowFault(f"is no CSV: {error}. Correct it; a quote within quotes is written twice.")
            yield source.taken[0].line, fault, source.text
        except RowFault as error:
            yield source.taken[0].line, error, source.text
        else:
            if cells is None:
                return


def _names(cells: list[str]) -> list[str]:
    if len(set(cells)) < len(cells):
        raise RowFault(f"names a column twice: {cells}. Give each column a name of its own.")
    return cells


def _named(names: list[str], cells: list[str]) -> Row:
    if len(cells) != len(names):
        raise RowFault(f"has {len(cells)} cells, and {len(names)} columns are named ({names}). Mend it, or quote it.")
    return dict(zip(names, cells, strict=True))


@final
class _Lines:
    """Lines of text with their ends, as csv wants them; the lines of the record at hand are kept."""

    def __init__(self, chunks: Iterable[bytes]) -> None:
        self._lines = lines(chunks)
        self.taken: list[Piece] = []

    @property
    def text(self) -> str:
        """The record at hand as it stands in the file."""
        return b"\n".join(piece.data for piece in self.taken).decode(errors="backslashreplace")

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        piece = next(self._lines)
        self.taken.append(piece)
        return decoded(piece) + "\n"


def parquet_rows(path: Path) -> Iterator[NumberedRow]:
    """The rows of a parquet file, a batch of a thousand at a time.

    Raises:
        DataError: pyarrow isn't installed, or see `opened`.
        Unreadable: The file is no parquet, or damaged.
    """
    try:
        import pyarrow as pa
        from pyarrow.parquet import ParquetFile
    except ImportError as error:
        raise DataError(f"{path} is parquet. Install pyarrow to read it: {install_command('data')}.") from error
    number = 0
    with opened(path) as file:
        try:
            for batch in ParquetFile(file).iter_batches(batch_size=1000):
                for row in batch.to_pylist():
                    number += 1
                    yield number, row, ""
        except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
            raise Unreadable(f"it is no parquet, or damaged ({_first_line(error)}). Fetch it again") from error


def _first_line(error: BaseException) -> str:
    return str(error).strip().partition("\n")[0][:200] or type(error).__name__
