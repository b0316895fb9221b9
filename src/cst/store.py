"""Files: records, JSON and text, written whole.

Records are JSONL, one record a line, written whole to a neighbour and renamed into place, so that a reader sees the
old file or the new one and never half of one. This file knows the shape of no stage.
"""

import gc
import hashlib
import inspect
import json
import os
from array import array
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import contextmanager, suppress
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
    """A number from 0 to 2^64 - 1 that a text decides: the first 8 bytes of its SHA-256, big-endian.

    A checksum such as CRC-32 would not do: it is linear, so one configuration's draw would settle another's.
    """
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big")


def fingerprint_of_file(path: Path) -> str:
    """SHA-256 (hex) of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def canonical_json(value: object) -> str:
    """JSON in one spelling: sorted keys, no spaces, UTF-8 as it is, records and paths dumped, no NaN."""
    return json.dumps(value, default=_dump, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def _dump(value: object) -> object:
    if isinstance(value, Record):
        return value.model_dump(mode="json")
    if isinstance(value, Path):
        return str(value)
    raise TypeError(f"{type(value).__name__} is no JSON value")


@contextmanager
def writing(path: Path) -> Generator[None]:
    """Open while `path` is written, so that a full disk or a missing right is one line that names the file.

    Raises:
        DataError: The system refused.
    """
    try:
        yield
    except OSError as error:
        raise unwritten(path, error.strerror or str(error)) from error


def unwritten(path: Path, reason: str) -> DataError:
    """What to say of a file that can't be written."""
    return DataError(
        f"{path} can't be written: {reason}. What was finished before is kept; make room or mend the cause, and give "
        "the same command again."
    )


def write_text(path: Path, text: str) -> None:
    """Write a whole text file and rename it into place; parent folders are made.

    Raises:
        DataError: The system doesn't let it be written; a file that was there is as it was.
    """
    write_pieces(path, [text])


def write_pieces(path: Path, pieces: Iterable[str]) -> None:
    """Write a text file piece by piece, and rename it into place when all of it is on disk. Raises as `write_text`."""
    with replaced(path) as neighbour, neighbour.open("w", encoding="utf-8", newline="\n") as file:
        file.writelines(pieces)
        file.flush()
        os.fsync(file.fileno())


@contextmanager
def replaced(path: Path) -> Generator[Path]:
    """A neighbour to write to, which is renamed into place at the end; nothing is left of it after an error.

    Raises:
        DataError: The system doesn't let it be written.
    """
    neighbour = path.with_name(f".{path.name}.partial")  # one name: what a killed writer left is written over
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
        raise DataError(f"{path}:{error.lineno} is not JSON: {error.msg}. Mend or remove the file.") from error


def write_records(path: Path, records: Iterable[Record]) -> None:
    """Write one record a line."""
    write_pieces(path, (record.model_dump_json() + "\n" for record in records))


@contextmanager
def record_writer(path: Path) -> Generator[Callable[[Iterable[Record]], None]]:
    """Write records as they come, one a line; the file is renamed into place when the block ends well.

    Raises:
        DataError: The system doesn't let it be written.
    """
    with replaced(path) as neighbour, neighbour.open("w", encoding="utf-8", newline="\n") as file:
        yield lambda records: file.writelines(record.model_dump_json() + "\n" for record in records)
        file.flush()
        os.fsync(file.fileno())


def append_record(path: Path, record: Record) -> None:
    """Add one record to the end of a file; whoever is killed while it does may leave half a line.

    Raises:
        DataError: The system doesn't let it be written.
    """
    with writing(path), path.open("a", encoding="utf-8") as file:
        file.write(record.model_dump_json() + "\n")


def read_records(path: Path, kind: type[R]) -> list[R]:
    """Read the records of a JSONL file.

    Raises:
        DataError: The file is missing, or a line isn't such a record; the message names file and line.
    """
    with uncollected():
        return list(stream_records(path, kind))


@contextmanager
def uncollected() -> Generator[None]:
    """Python's search for circular garbage stands still: of a million records that are kept it finds none.

    It would look through all of them again and again as they grow more, which takes three quarters of reading them.
    """
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


def stream_records(path: Path, kind: type[R]) -> Generator[R]:
    """The records of a JSONL file one after the other, of which no more is held than a line.

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
    """The records of a JSONL file, gone through in order or looked up by number, of which none is held.

    Of each record 8 bytes tell where it begins. To be closed, or used as a context.

    Raises:
        DataError: As for `read_records`, when a record is looked at.
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
    """Records that come but once, in a file of that name until the block ends: to be gone through again.

    Raises:
        DataError: The system doesn't let it be written.
    """
    try:
        write_records(path, records)
        with RecordFile(path, kind) as file:
            yield file
    finally:
        path.unlink(missing_ok=True)


def stream_lines(path: Path) -> Generator[tuple[int, str]]:
    """The numbered lines of a UTF-8 text file, without their ends, of which no more is held than one.

    Raises:
        DataError: As for `read_text`.
    """
    with readable(path), path.open("rb") as file:
        for number, line in enumerate(file, start=1):
            text = line.removeprefix(BYTE_ORDER_MARK) if number == 1 else line
            yield number, text.decode("utf-8").removesuffix("\n").removesuffix("\r")


def parse_record(line: str | bytes, kind: type[R], where: str) -> R:
    """One record from its JSON; `where` stands in the error."""
    try:
        return kind.model_validate_json(line)
    except ValidationError as error:
        raise _misfit(error, kind, where) from error


def _misfit(error: ValidationError, kind: type[Record], where: str) -> DataError:
    return DataError(f"{where} is no {kind.__name__}: {first_complaint(error)}")


def first_complaint(error: ValidationError) -> str:
    """The first of pydantic's complaints in one line."""
    detail = error.errors()[0]
    return complaint_of(detail, ".".join(str(part) for part in detail["loc"]))


def complaint_of(detail: ErrorDetails, field: str) -> str:
    """One of pydantic's complaints as a sentence: the field, the value seen, what is wrong, what to do."""
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
    """A whole UTF-8 text file, without the byte order mark that some editors put first.

    Raises:
        DataError: The file is missing, a folder, or not UTF-8.
    """
    with readable(path):
        return path.read_text(encoding="utf-8-sig")


@contextmanager
def readable(path: Path) -> Generator[None]:
    """Open while `path` is read, so that what is wrong with it is one line that names the file.

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


def describe_callable(given: object) -> dict[str, str]:
    """What tells a user's function or object from another: its name, and a hash of its source where Python has it.

    Values that a function takes from its surroundings aren't seen; an object shows its own by its repr.
    """
    code = given if inspect.isfunction(given) else type(given)
    name = f"{code.__module__}.{code.__qualname__}"
    described = {"name": name if code is given else f"{name}: {given!r}"}
    with suppress(OSError, TypeError):  # typed into an interactive session, or compiled: there is no source
        described["source"] = fingerprint(inspect.getsource(code))
    return described
