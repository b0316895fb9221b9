"""Files of records, JSON and text, replaced as a whole.

Records are JSONL, one per line. A file is written under a temporary name and renamed into place, so a reader sees the
old file or the new one, never half of one. This file knows nothing about stages.
"""

import gc
import hashlib
import importlib
import inspect
import json
import os
import re
from array import array
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import contextmanager, suppress
from importlib import metadata
from pathlib import Path
from typing import Any, Generic, TypeVar, final

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from cst.errors import DataError
from cst.records import Record

R = TypeVar("R", bound=Record)

BYTE_ORDER_MARK = b"\xef\xbb\xbf"


def fingerprint(*values: object) -> str:
    """SHA-256 (hex) of values as canonical JSON: sorted keys, no spaces. Records are dumped first."""
    return hashlib.sha256(canonical_json(values).encode()).hexdigest()


def seed_of(text: str) -> int:
    """A seed from 0 to 2^64 - 1 for a text: the first 8 bytes of its SHA-256, big-endian.

    CRC-32 would not do: it is linear, so one configuration's draw would decide another's.
    """
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big")


def fingerprint_of_file(path: Path) -> str:
    """SHA-256 (hex) of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def canonical_json(value: object) -> str:
    """Canonical JSON: sorted keys, no spaces, unescaped UTF-8, no NaN. Records and paths are dumped."""
    return json.dumps(value, default=_dump, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def _dump(value: object) -> object:
    if isinstance(value, Record):
        return value.model_dump(mode="json")
    if isinstance(value, Path):
        return str(value)
    raise TypeError(f"{type(value).__name__} is no JSON value")


@contextmanager
def writing(path: Path) -> Generator[None]:
    """A context for writing `path` that turns system errors into one line naming the file.

    Raises:
        DataError: The disk is full, a permission is missing, or the system failed otherwise.
    """
    try:
        yield
    except OSError as error:
        raise unwritten(path, error.strerror or str(error)) from error


def unwritten(path: Path, reason: str) -> DataError:
    """The error for a file that can't be written."""
    return DataError(
        f"{path} can't be written: {reason}. What was finished before is kept. Free space or fix the cause, and give "
        "the same command again."
    )


def write_text(path: Path, text: str) -> None:
    """Write a whole text file and rename it into place; parent folders are made.

    Raises:
        DataError: The file can't be written; an existing file is unchanged.
    """
    write_pieces(path, [text])


def write_pieces(path: Path, pieces: Iterable[str]) -> None:
    """Write a text file piece by piece, and rename it into place at the end. Raises as `write_text`."""
    with replaced(path) as neighbour, neighbour.open("w", encoding="utf-8", newline="\n") as file:
        file.writelines(pieces)
        file.flush()
        os.fsync(file.fileno())


@contextmanager
def replaced(path: Path) -> Generator[Path]:
    """A temporary file that is renamed to `path` at the end, and removed after an error.

    Raises:
        DataError: The file can't be written.
    """
    neighbour = path.with_name(
        f".{path.name}.partial"
    )  # a fixed name, so that what a killed writer left is overwritten
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            yield neighbour
            neighbour.replace(path)
        finally:
            neighbour.unlink(missing_ok=True)


def write_json(path: Path, value: object) -> None:
    """Write one JSON value, indented, keys in the order given."""
    write_text(path, json.dumps(value, default=_dump, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def read_json(path: Path) -> Any:  # noqa: ANN401 - JSON is any value
    """Read one JSON value.

    Raises:
        DataError: The file is missing or isn't JSON.
    """
    try:
        return json.loads(read_text(path))
    except json.JSONDecodeError as error:
        raise DataError(f"{path}:{error.lineno} is not JSON: {error.msg}. Fix or remove the file.") from error


def write_records(path: Path, records: Iterable[Record]) -> None:
    """Write one record a line."""
    write_pieces(path, (record.model_dump_json() + "\n" for record in records))


@contextmanager
def record_writer(path: Path) -> Generator[Callable[[Iterable[Record]], None]]:
    """Write records one by one; the file is renamed into place if the block ends without an error.

    Raises:
        DataError: The file can't be written.
    """
    with replaced(path) as neighbour, neighbour.open("w", encoding="utf-8", newline="\n") as file:
        yield lambda records: file.writelines(record.model_dump_json() + "\n" for record in records)
        file.flush()
        os.fsync(file.fileno())


def append_record(path: Path, record: Record) -> None:
    """Append one record to a file. A killed process may leave half a line.

    Raises:
        DataError: The file can't be written.
    """
    with writing(path), path.open("a", encoding="utf-8") as file:
        file.write(record.model_dump_json() + "\n")


def read_records(path: Path, kind: type[R]) -> list[R]:
    """Read the records of a JSONL file.

    Raises:
        DataError: The file is missing, or a line is not such a record; the message names file and line.
    """
    with uncollected():
        return list(stream_records(path, kind))


@contextmanager
def uncollected() -> Generator[None]:
    """Pause the cyclic garbage collector, which scans all kept records again and again and finds nothing.

    Without the pause, reading a million records takes four times as long.
    """
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


def stream_records(path: Path, kind: type[R]) -> Generator[R]:
    """Yield the records of a JSONL file, holding one line at a time.

    Raises:
        DataError: As for `read_records`.
    """
    with readable(path), path.open("rb") as file:
        for number, line in enumerate(file, start=1):
            text = line.removeprefix(BYTE_ORDER_MARK) if number == 1 else line
            if text and not text.isspace():
                try:
                    yield kind.model_validate_json(text)
                except ValidationError as error:
                    raise _misfit(error, kind, f"{path}:{number}") from error


@final
class RecordFile(Generic[R]):
    """The records of a JSONL file, iterated or looked up by number, none of them held in memory.

    Each record costs 8 bytes for its offset. Close it, or use it as a context.

    Raises:
        DataError: As for `read_records`, when a record is read.
    """

    def __init__(self, path: Path, kind: type[R]) -> None:
        self._path = path
        self._kind = kind
        with readable(path):
            self._file = path.open("rb")
        self._starts = array("q")
        end = 0
        for line in self._file:
            if (line if end else line.removeprefix(BYTE_ORDER_MARK)).strip():
                self._starts.append(end)
            end += len(line)

    def __iter__(self) -> Iterator[R]:
        return stream_records(self._path, self._kind)

    def __getitem__(self, number: int) -> R:
        self._file.seek(self._starts[number])
        line = self._file.readline().removeprefix(BYTE_ORDER_MARK)
        return parse_record(line, self._kind, f"{self._path}, record {number + 1}")

    def __enter__(self) -> "RecordFile[R]":
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()


@contextmanager
def set_down(path: Path, records: Iterable[R], kind: type[R]) -> Generator[RecordFile[R]]:
    """Put records in a temporary file at `path`, to iterate over them several times; removed when the block ends.

    Raises:
        DataError: The file can't be written.
    """
    try:
        write_records(path, records)
        with RecordFile(path, kind) as file:
            yield file
    finally:
        path.unlink(missing_ok=True)


def stream_lines(path: Path) -> Generator[tuple[int, str]]:
    """Yield the numbered lines of a UTF-8 text file, without line ends, holding one at a time.

    Raises:
        DataError: As for `read_text`.
    """
    with readable(path), path.open("rb") as file:
        for number, line in enumerate(file, start=1):
            text = line.removeprefix(BYTE_ORDER_MARK) if number == 1 else line
            yield number, text.decode("utf-8").removesuffix("\n").removesuffix("\r")


def parse_record(line: str | bytes, kind: type[R], where: str) -> R:
    """Parse one record from JSON; errors name `where`."""
    try:
        return kind.model_validate_json(line)
    except ValidationError as error:
        raise _misfit(error, kind, where) from error


def _misfit(error: ValidationError, kind: type[Record], where: str) -> DataError:
    return DataError(f"{where} is not a valid {kind.__name__}: {first_complaint(error)}")


def first_complaint(error: ValidationError) -> str:
    """The first of pydantic's errors in one line."""
    detail = error.errors()[0]
    return complaint_of(detail, ".".join(str(part) for part in detail["loc"]))


def complaint_of(detail: ErrorDetails, field: str) -> str:
    """One of pydantic's errors as a sentence: the field, the value seen, what is wrong, what to do."""
    message = detail["msg"].removeprefix("Value error, ")
    if not field:
        return f"{message}."
    if detail["type"] == "missing":
        return f"field {field!r} is missing. Add it, or map your column to it."
    if detail["type"] == "extra_forbidden":
        return f"field {field!r} is unknown. Remove it, or correct its name."
    if "api_key" in field:
        return f"{field} (its value is not shown): {message}."
    seen = repr(detail["input"])
    seen = seen if len(seen) <= 80 else seen[:77] + "..."
    return f"{field}={seen}: {message}."


def read_text(path: Path) -> str:
    """Read a UTF-8 text file, without the byte order mark that some editors add.

    Raises:
        DataError: The file is missing, a folder, or not UTF-8.
    """
    with readable(path):
        return path.read_text(encoding="utf-8-sig")


@contextmanager
def readable(path: Path) -> Generator[None]:
    """A context for reading `path` that turns errors into one line that names the file.

    Raises:
        DataError: The file is missing, a folder, or not UTF-8.
    """
    try:
        yield
    except FileNotFoundError as error:
        raise DataError(f"There is no file {path}. Check the path, or run the stage that makes it.") from error
    except IsADirectoryError as error:
        raise DataError(f"{path} is a folder, and a file is needed. Name a file in it.") from error
    except UnicodeDecodeError as error:
        raise DataError(f"{path} is not UTF-8 (byte {error.start}). Convert it to UTF-8.") from error


_ADDRESS = re.compile(r" at 0x[0-9a-fA-F]+")
"""Where an object lies in this process, as its default repr says: it tells nothing of what the object is."""


def describe_callable(given: object) -> dict[str, str]:
    """What tells a user's function or object from another: its name, and a hash of its source where Python has it.

    Values that a function takes from its surroundings aren't seen; an object shows its own by its repr.
    """
    code = given if inspect.isfunction(given) else type(given)
    name = f"{code.__module__}.{code.__qualname__}"
    described = {"name": name if code is given else f"{name}: {_ADDRESS.sub('', repr(given))}"}
    with suppress(OSError, TypeError):  # typed into an interactive session, or compiled: there is no source
        described["source"] = fingerprint(inspect.getsource(code))
    return described


def version(package: str) -> str:
    """The installed version of a package; that of `cst` is its own, also where it runs without being installed."""
    return importlib.import_module("cst").__version__ if package == "cst" else metadata.version(package)
