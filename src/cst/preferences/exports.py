"""Records as other tools read them: a file in any format of `formats`, JSONL, JSON, CSV or parquet by its suffix.

Each row is read back before it is written, and one that would come back as something else is refused: an export loses
nothing but what its format is said not to hold.
"""

import csv
import io
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import chain, islice
from pathlib import Path
from typing import Any, TypeVar

from cst.errors import DataError, install_command
from cst.integrity import write_checksum
from cst.preferences.files import RowFault, shown
from cst.preferences.formats import IDENTITY, Format, format_of, recognised
from cst.preferences.formats.demonstration_formats import DEMONSTRATION_FORMATS
from cst.preferences.formats.preference_formats import PREFERENCE_FORMATS
from cst.preferences.formats.prompt_formats import PROMPT_FORMATS
from cst.preferences.rows import Row
from cst.preferences.sources import demonstration_of, preference_of, prompt_of
from cst.records import Demonstration, Preference, Prompt
from cst.store import replaced, write_pieces

R = TypeVar("R", Prompt, Preference, Demonstration)


def export_preferences(path: Path, preferences: Iterable[Preference], *, format: str, plain: bool = False) -> int:
    """Write preferences, and a checksum beside them, and give their number.

    `plain` leaves out the columns that keep their identity.

    Without `plain`, `sources.read_preferences` gives back equal records, in all formats but `paper`. There, and with
    `plain`, ids, topics and configurations (and, but for `paper`, tasks) are not in the file.

    Raises:
        DataError: There is no such format or suffix, or a row can't be said in it; the message names the row.
    """
    known = format_of(format, PREFERENCE_FORMATS)

    def read(row: Row, written: Preference) -> Preference:
        return preference_of(row, recognised(row, PREFERENCE_FORMATS) or known, written.id)

    return _export(path, preferences, known, plain, read)


def export_prompts(path: Path, prompts: Iterable[Prompt], *, format: str, plain: bool = False) -> int:
    """Write prompts and give their number; see `export_preferences`. Groups are in `cst-prompts` alone."""
    known = format_of(format, PROMPT_FORMATS)

    def read(row: Row, written: Prompt) -> Prompt:
        found = prompt_of(row, recognised(row, PROMPT_FORMATS) or known, identity=written.id, task=written.task)
        return found.model_copy(update={"groups": written.groups})

    return _export(path, prompts, known, plain, read)


def export_demonstrations(
    path: Path, demonstrations: Iterable[Demonstration], *, format: str, plain: bool = False
) -> int:
    """Write rows of supervised tuning and give their number; see `export_preferences`.

    Where a row came from (`source`) is in `cst-demonstrations` alone.
    """
    known = format_of(format, DEMONSTRATION_FORMATS)

    def read(row: Row, written: Demonstration) -> Demonstration:
        found = recognised(row, DEMONSTRATION_FORMATS) or known
        return demonstration_of(row, found, identity=written.id, task=written.task, source=written.source)

    return _export(path, demonstrations, known, plain, read)


def _export(path: Path, records: Iterable[R], format: Format[R], plain: bool, read: Callable[[Row, R], R]) -> int:
    written = 0

    def rows() -> Iterator[Row]:
        nonlocal written
        for record in records:
            yield _row(record, format, plain, read)
            written += 1

    _write(path, rows(), format.columns)
    write_checksum(path)
    return written


def _row(record: R, format: Format[R], plain: bool, read: Callable[[Row, R], R]) -> Row:
    """A record as a row that is read back as the same.

    Raises:
        DataError: It can't be said in the format, or would come back as another.
    """
    identity = {name: getattr(record, name) for name in IDENTITY if hasattr(record, name)}
    try:
        row = format.write(record)
        whole = row | (identity if format.adds_identity else {})
        back = read(whole, record)
    except RowFault as fault:
        raise DataError(f"{record.id} {fault} It can't be exported as {format.name}.") from fault
    unheld = () if format.adds_identity else IDENTITY
    for name in type(record).model_fields:
        if name not in unheld and getattr(back, name) != getattr(record, name):
            raise DataError(
                f"{record.id} can't be exported as {format.name}: its {name} would come back as "
                f"{shown(getattr(back, name))}. Choose another format."
            )
    return row if plain else whole


def _write(path: Path, rows: Iterator[Row], format_columns: Sequence[str]) -> None:
    """Write rows; a table has the columns of its first row, then the format's others."""
    first = list(islice(rows, 1))
    rows = chain(first, rows)
    columns = list(dict.fromkeys([*(name for row in first for name in row), *format_columns]))
    writers = {".jsonl": _json_lines, ".json": _json_list}
    if path.suffix in writers:
        write_pieces(path, writers[path.suffix](rows))
    elif path.suffix in (".csv", ".tsv"):
        write_pieces(path, _csv(rows, columns, "," if path.suffix == ".csv" else "\t"))
    elif path.suffix == ".parquet":
        _write_parquet(path, rows, columns)
    else:
        raise DataError(f"{path} has a suffix that can't be written; name it .jsonl, .json, .csv, .tsv or .parquet.")


def _json_lines(rows: Iterator[Row]) -> Iterator[str]:
    return (json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


def _json_list(rows: Iterator[Row]) -> Iterator[str]:
    """As `json.dumps(rows, indent=0)` has it, which is how the paper's data was published: byte for byte the same."""
    before = "[\n"
    for row in rows:
        yield before + json.dumps(row, ensure_ascii=False, indent=0)
        before = ",\n"
    yield "[]" if before == "[\n" else "\n]"


def _csv(rows: Iterator[Row], columns: Sequence[str], delimiter: str) -> Iterator[str]:
    yield _record(columns, delimiter)
    for row in rows:
        cells = [row.get(column) or "" for column in columns]
        if not all(isinstance(cell, str) for cell in cells):
            raise DataError("A conversation can't be kept in the cells of a table. Write .jsonl, .json or .parquet.")
        if any(row.get(column, "") is None for column in columns if column not in IDENTITY):
            raise DataError("An empty cell would not tell what is empty from what isn't there. Write .jsonl or .json.")
        yield _record(cells, delimiter)


def _record(cells: Sequence[str], delimiter: str) -> str:
    text = io.StringIO(newline="")
    csv.writer(text, delimiter=delimiter).writerow(cells)  # its own line end makes it quote a lone \r too
    return text.getvalue().removesuffix("\r\n") + "\n"


ROWS_AT_ONCE = 10_000
"""Rows of a row group of parquet."""


def _write_parquet(path: Path, rows: Iterator[Row], columns: Sequence[str]) -> None:
    try:
        import pyarrow as pa
        from pyarrow.parquet import ParquetWriter
    except ImportError as error:
        raise DataError(f"{path} is to be parquet, which takes pyarrow to write: {install_command('data')}.") from error
    writer: Any = None
    with replaced(path) as neighbour:
        try:
            while (group := list(islice(rows, ROWS_AT_ONCE))) or writer is None:
                table = pa.table({column: _array([row.get(column) for row in group]) for column in columns})
                writer = writer or ParquetWriter(str(neighbour), table.schema)
                writer.write_table(table.cast(writer.schema))
        except pa.ArrowException as error:
            raise DataError(f"{path} can't be kept in columns of one type: {error}. Write .jsonl or .json.") from error
        finally:
            if writer is not None:
                writer.close()


def _array(values: list[object]) -> Any:  # noqa: ANN401 - an array of pyarrow's
    import pyarrow as pa

    return pa.array(values, pa.string() if all(value is None for value in values) else None)
