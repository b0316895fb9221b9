"""Rows of tables: CSV, TSV and parquet files, and data sets of the Hugging Face hub (streamed by `datasets`).

What is wrong with one row is told as a `RowFault` in its place; what ends the reading is `Unreadable`. A data set that
is not there is an error with what to do. This file knows no column.
"""

import csv
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import cast, final

from cst.errors import DataError, install_command
from cst.preferences.files import NumberedRow, Row, RowFault, Unreadable, as_it_stood, checked, opened


def csv_rows(numbered: Iterable[tuple[int, str]], *, delimiter: str) -> Iterator[NumberedRow]:
    """The records of a CSV file under the names in its first one; a cell may hold line ends between quotes.

    Cells of more than 131,072 characters are refused, as Python's csv does: that bounds what a missing quote swallows.
    """
    source = _Lines(numbered)
    reader = csv.reader(source, delimiter=delimiter, strict=True)
    names: list[str] = []
    while True:
        source.taken.clear()
        try:
            cells = next(reader, None)
            if cells and names:
                yield source.taken[0][0], _named(names, cells), ""
            names = names or _names(cells or [])
        except csv.Error as error:
            fault = RowFault(f"is no CSV: {error}. Correct it; a quote within quotes is written twice.")
            yield source.taken[0][0], fault, source.text
        except RowFault as error:
            yield source.taken[0][0], error, source.text
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

    def __init__(self, numbered: Iterable[tuple[int, str]]) -> None:
        self._lines = iter(numbered)
        self.taken: list[tuple[int, str]] = []

    @property
    def text(self) -> str:
        """The record at hand as it stands in the file."""
        return "\n".join(as_it_stood(line) for _, line in self.taken)

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        number, line = next(self._lines)
        self.taken.append((number, line))
        return checked(line) + "\n"


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


HUB = "hub:"
"""What the name of a data set on the hub begins with."""

FORM = "hub:OWNER/NAME[@REVISION][:CONFIG][:SPLIT]"


@dataclass(frozen=True)
class HubName:
    """A data set's parts: `path` is OWNER/NAME or a folder; `revision` is a branch, tag or commit."""

    path: str
    revision: str | None
    config: str | None
    split: str

    @property
    def is_folder(self) -> bool:
        """Whether it is read from this machine."""
        return Path(self.path).is_dir()


def hub_name(name: str) -> HubName:
    """The parts of `hub:OWNER/NAME[@REVISION][:CONFIG][:SPLIT]`; the split is `train` unless it is named.

    Raises:
        DataError: It is no such name, and no folder either.
    """
    path, *rest = name.removeprefix(HUB).split(":")
    split = rest.pop() if rest else "train"
    config = rest.pop() if rest else None
    if rest:
        raise DataError(f"{name} has too many colons; write {FORM}.")
    if path and Path(path).is_dir():
        return HubName(path, None, config, split)
    repository, _, revision = path.partition("@")
    # `datasets` takes a bare word such as `json` for one of its own readers, and reads what lies about.
    if not re.fullmatch(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*", repository):
        raise DataError(f"{name} is no folder here, and no name of a data set on the hub; write {FORM}.")
    return HubName(repository, revision or None, config, split)


def hub_rows(name: str) -> Iterator[NumberedRow]:
    """The rows of a data set, in order, as they come.

    Raises:
        DataError: `datasets` isn't installed, the name isn't one, or there is no such data set, config or split.
        Unreadable: A row can't be had.
    """
    try:
        from datasets import load_dataset
        from datasets.exceptions import DatasetsError
    except ImportError as error:
        raise DataError(f"{name} is on the hub, which takes datasets to read: {install_command('data')}.") from error
    named = hub_name(name)
    try:
        found = load_dataset(named.path, named.config, split=named.split, revision=named.revision, streaming=True)
    except (DatasetsError, OSError, ValueError, RuntimeError) as error:
        raise DataError(f"{name} can't be opened: {_shortened(error)}. {_what_to_do(named, error)}") from error
    try:
        for number, row in enumerate(cast(Iterable[Row], found), start=1):
            yield number, dict(row), ""
    except (DatasetsError, OSError, ValueError) as error:
        raise Unreadable(f"{_shortened(error)}. Mend or fetch it again") from error


def _what_to_do(named: HubName, error: Exception) -> str:
    if isinstance(error, ConnectionError):
        return (
            "Check the network and HF_HUB_OFFLINE; or fetch it where there is one by `hf download --repo-type dataset "
            f"{named.path} --local-dir DIR`, and name the folder: hub:DIR."
        )
    if type(error) is ValueError:  # a name that isn't there; of its subclasses, some are damaged files
        return f"Name a config and a split that are there: {FORM}."
    if named.is_folder:
        return "Name a folder with whole data files, such as parquet, that all have the same columns."
    return "Check the name and revision; a private or gated one takes `hf auth login`."


def _shortened(error: BaseException) -> str:
    """A message of `datasets` in one line without its examples, at most 300 characters."""
    text = " ".join(str(error).split()).partition(" Example of usage")[0]
    return (text or type(error).__name__)[:300].rstrip(".")
