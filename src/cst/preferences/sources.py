"""Prompts, preferences and demonstrations from a user's own files, in any format of `formats`; a bad row is named.

`prompts_in` and its like give what was found row by row, good and bad; `stream_prompts` and its like the good ones, the
bad set aside; `read_prompts` and its like lists in which no id stands twice. Only the lists hold more than a row, and
`without_repeats` a digest of each id.
"""

import hashlib
import json
import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Generic, TypeAlias, TypeVar

from pydantic import ValidationError

from cst.errors import DataError
from cst.integrity import reject_damaged
from cst.preferences.files import RowFault
from cst.preferences.formats import IDENTITY, Format, format_of, nearest_to, recognised
from cst.preferences.formats.demonstration_formats import DEMONSTRATION_FORMATS
from cst.preferences.formats.preference_formats import PREFERENCE_FORMATS
from cst.preferences.formats.prompt_formats import PROMPT_FORMATS, one_column
from cst.preferences.rows import BadRow, Row, good_rows, optional_text_of, read_rows
from cst.preferences.tables import HUB, hub_name
from cst.records import Demonstration, Preference, Prompt
from cst.store import first_complaint
from cst.texts import text_of_turns

R = TypeVar("R", Prompt, Preference, Demonstration)

Source: TypeAlias = Path | str
"""A file, or the name of a data set of the hub, `hub:OWNER/NAME[:CONFIG][:SPLIT]`."""

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Reading:
    """How a source is read.

    `format` is told by the columns where it isn't named; `columns` maps a format's names to the file's; `quarantine` is
    where bad rows are written; with `skip_bad_rows` they are a warning instead of an error.
    """

    format: str | None = None
    columns: Mapping[str, str] = field(default_factory=dict[str, str])
    quarantine: Path | None = None
    skip_bad_rows: bool = False


AS_IT_IS = Reading()

FormatFunction: TypeAlias = Callable[[Row], R | None]
"""A format of your own: from a row to its record, or None to leave it out. A ValueError makes the row a bad one."""


@dataclass(frozen=True)
class Found(Generic[R]):
    """A record, where it stood, in which format, and the columns beside it that were not read."""

    place: str
    record: R
    format: str
    unread: frozenset[str]


def read_prompts(
    source: Source,
    *,
    task: str = "harmless",
    n: int | None = None,
    reading: Reading = AS_IT_IS,
    format: FormatFunction[Prompt] | None = None,
) -> list[Prompt]:
    """The prompts of a source, or its first `n`; `task` is for rows that don't name one.

    `format` is a function of your own from a row to a prompt (docs/extending.md); it also says the task.

    Raises:
        DataError: The source is missing or empty, a row can't be used (the message names it), or an id stands twice.
    """
    found = stream_prompts(source, task=task, reading=reading) if format is None else _own(source, format, reading)
    return list(without_repeats(found, source))[:n]


def read_preferences(
    source: Source, *, reading: Reading = AS_IT_IS, format: FormatFunction[Preference] | None = None
) -> list[Preference]:
    """The preference rows of a source; `format` is a function of your own from a row to a preference.

    Published rows name no configuration: theirs is the task, so that metrics are kept apart by task.

    Raises:
        DataError: The source is missing or empty, a row can't be used (the message names it), or an id stands twice.
    """
    found = stream_preferences(source, reading=reading) if format is None else _own(source, format, reading)
    return list(without_repeats(found, source))


def read_demonstrations(source: Source, *, task: str, reading: Reading = AS_IT_IS) -> list[Demonstration]:
    """The rows of supervised tuning in a source; `task` is for rows that don't name one.

    Raises:
        DataError: The source is missing or empty, a row can't be used (the message names it), or an id stands twice.
    """
    return list(without_repeats(stream_demonstrations(source, task=task, reading=reading), source))


def stream_prompts(
    source: Source, *, task: str = "harmless", n: int | None = None, reading: Reading = AS_IT_IS
) -> Iterator[Prompt]:
    """The prompts of a source, or its first `n`, one after the other; all rows are looked at.

    Raises:
        RunFolderError: The source is a file of a run that has changed since it was made.
        DataError: The source is missing, empty, or not what its checksum says; or, when all good rows were given, there
            were bad ones.
    """
    good = _good(prompts_in(source, task=task, reading=reading), source, reading)
    return (prompt for number, prompt in enumerate(good) if n is None or number < n)


def stream_preferences(source: Source, *, reading: Reading = AS_IT_IS) -> Iterator[Preference]:
    """The preference rows of a source, one after the other.

    Raises:
        DataError: As for `stream_prompts`.
    """
    return _good(preferences_in(source, reading=reading), source, reading)


def stream_demonstrations(source: Source, *, task: str, reading: Reading = AS_IT_IS) -> Iterator[Demonstration]:
    """The demonstrations of a source, one after the other; each bears the source's name, unless it names another.

    Raises:
        DataError: As for `stream_prompts`.
    """
    return _good(demonstrations_in(source, task=task, reading=reading), source, reading)


def prompts_in(
    source: Source, *, task: str = "harmless", reading: Reading = AS_IT_IS
) -> Iterator[Found[Prompt] | BadRow]:
    """Every row of a source as a prompt, or with the reason why it is none.

    Raises:
        DataError: The source is missing or empty, or there is no format of that name.
    """

    def make(row: Row, format: Format[Prompt], identity: str) -> Prompt:
        return prompt_of(row, format, identity=identity, task=task)

    return _found(source, PROMPT_FORMATS, reading, make, one_column)


def preferences_in(source: Source, *, reading: Reading = AS_IT_IS) -> Iterator[Found[Preference] | BadRow]:
    """Every row of a source as a preference, or with the reason why it is none; see `prompts_in`."""
    return _found(source, PREFERENCE_FORMATS, reading, preference_of, lambda _: None)


def demonstrations_in(
    source: Source, *, task: str, reading: Reading = AS_IT_IS
) -> Iterator[Found[Demonstration] | BadRow]:
    """Every row of a source as a demonstration, or with the reason why it is none; see `prompts_in`."""
    name = source_name(source)

    def make(row: Row, format: Format[Demonstration], identity: str) -> Demonstration:
        return demonstration_of(row, format, identity=f"{task}/{identity}", task=task, source=name)

    return _found(source, DEMONSTRATION_FORMATS, reading, make, lambda _: None)


def _found(
    source: Source,
    formats: Sequence[Format[R]],
    reading: Reading,
    make: Callable[[Row, Format[R], str], R],
    guess: Callable[[Row], Format[R] | None],
) -> Iterator[Found[R] | BadRow]:
    before = None if reading.format is None else format_of(reading.format, formats)
    stem = _stem(source)
    for number, found in enumerate(read_rows(source), start=1):
        if isinstance(found, BadRow):
            yield found
            continue
        try:
            row = _renamed(found.row, reading.columns)
            format = _format_of(row, formats, reading, before or guess(row))
            before = before or format
            record = make(row, format, f"{stem}-{number:06d}")
            yield Found(found.place, record, format.name, frozenset(row.keys() - {*format.columns, *IDENTITY}))
        except RowFault as fault:
            yield BadRow(found.place, str(fault), json.dumps(found.row, default=repr))


def _own(source: Source, format: FormatFunction[R], reading: Reading) -> Iterator[R]:
    left_out: list[str] = []

    def found() -> Iterator[Found[R] | BadRow]:
        for row in read_rows(source):
            if isinstance(row, BadRow):
                yield row
                continue
            try:
                record = format(_renamed(row.row, reading.columns))
            except ValueError as error:  # a row that is no record is a ValidationError, which is one too
                why = first_complaint(error) if isinstance(error, ValidationError) else str(error)
                yield BadRow(row.place, f"can't be read by format={format!r}: {why}", json.dumps(row.row, default=repr))
                continue
            if record is None:
                left_out.append(row.place)
            else:
                yield Found(row.place, record, "own", frozenset())

    yield from _good(found(), source, reading)
    if left_out:
        logger.warning("%s: format left out %d rows, the first is %s.", source, len(left_out), left_out[0])


def _good(found: Iterable[Found[R] | BadRow], source: Source, reading: Reading) -> Iterator[R]:
    reject_damaged(source)
    unread: set[str] = set()
    kept = good_rows(found, source, quarantine=reading.quarantine, skip_bad_rows=reading.skip_bad_rows)
    for each in kept:
        unread |= each.unread
        yield each.record
    if unread:
        logger.warning("%s: the columns %s are not read.", source, sorted(unread))


def _format_of(row: Row, formats: Sequence[Format[R]], reading: Reading, before: Format[R] | None) -> Format[R]:
    """The format that was named, or that the row is in, or else that of the rows before it."""
    known = before if reading.format is not None else recognised(row, formats) or before
    if known is None:
        nearest, needed = nearest_to(row, formats)
        raise RowFault(
            f"has the columns {sorted(row)}, which fit no format that cst reads. The nearest is {nearest.name}, which "
            f"also needs {needed}. Name the format, or map your columns to its own."
        )
    known.reject_misfit(row)
    return known


def prompt_of(row: Row, format: Format[Prompt], *, identity: str, task: str) -> Prompt:
    """The prompt of a row; `identity` and `task` are for rows that name none.

    Raises:
        RowFault: The row is none.
    """
    number = row.get("id")
    values = {
        "id": str(number) if isinstance(number, int) else optional_text_of(row, "id") or identity,
        "task": optional_text_of(row, "task") or task,
        "topic": optional_text_of(row, "topic"),
    }
    return _valid(Prompt, {**values, **format.read(row)})


def preference_of(row: Row, format: Format[Preference], identity: str) -> Preference:
    """The preference of a row; its id is taken only where a configuration stands beside it: others are seldom unique.

    Raises:
        RowFault: The row is none.
    """
    task = optional_text_of(row, "task") or "preference"
    configuration = optional_text_of(row, "configuration")
    values = {
        "id": (configuration and optional_text_of(row, "id")) or identity,
        "task": task,
        "topic": optional_text_of(row, "topic"),
        "configuration": configuration or task,
    }
    return _valid(Preference, {**values, **format.read(row)})


def demonstration_of(
    row: Row, format: Format[Demonstration], *, identity: str, task: str, source: str | None
) -> Demonstration:
    """The demonstration of a row; `identity`, `task` and `source` are for rows that name none.

    Its id is taken only where a task stands beside it: others are seldom unique.

    Raises:
        RowFault: The row is none.
    """
    own = optional_text_of(row, "task")
    values = {
        "id": (own and optional_text_of(row, "id")) or identity,
        "task": own or task,
        "topic": optional_text_of(row, "topic"),
        "source": source,
    }
    return _valid(Demonstration, {**values, **format.read(row)})


def _valid(kind: type[R], values: Row) -> R:
    try:
        return kind.model_validate(values)
    except ValidationError as error:
        raise RowFault(f"is no {kind.__name__}: {first_complaint(error)}") from error


def _renamed(row: Row, columns: Mapping[str, str]) -> Row:
    """The row with columns called as its format calls them."""
    for own in columns.values():
        if own not in row:
            raise RowFault(f"has no field {own!r}, only {sorted(row)}. Correct `columns`, which speaks of it.")
    theirs = {own: name for name, own in columns.items()}
    renamed = {theirs.get(name, name): value for name, value in row.items()}
    if len(renamed) < len(row):
        raise RowFault(f"has the fields {sorted(row)}, and `columns` maps one onto another. Map that one away too.")
    return renamed


def source_name(source: Source) -> str:
    """A file by its own name, a data set of the hub by its id: what can be told of a source elsewhere."""
    if not str(source).startswith(HUB):
        return Path(source).name
    named = hub_name(str(source))
    return Path(named.path).name if named.is_folder else named.path


def _stem(source: Source) -> str:
    return Path(str(source).rpartition(":")[2].removesuffix(".gz")).stem


ID_DIGEST_BYTES = 16
"""Of an id, kept to know it again: two of 10^9 ids have the same digest with a probability of 10^-21."""


def without_repeats(records: Iterable[R], where: Path | str) -> Iterator[R]:
    """The records as they come; ids name random streams and journal entries, so each must stand once.

    Raises:
        DataError: An id stands twice.
    """
    seen: set[bytes] = set()
    for record in records:
        digest = hashlib.blake2b(record.id.encode(), digest_size=ID_DIGEST_BYTES).digest()
        if digest in seen:
            raise DataError(
                f"{where} has the id {record.id!r} twice; give each row an id of its own, and each file its own name."
            )
        seen.add(digest)
        yield record


def without_held_out(training: Iterable[Prompt], held_out: Iterable[Prompt]) -> Iterator[Prompt]:
    """The training prompts as they come; a score on prompts that were trained on says nothing.

    Raises:
        DataError: A training prompt has the turns and system prompt of a held-out prompt, its input apart or not.
    """
    kept = {(prompt.system_prompt, text_of_turns(prompt)): prompt.id for prompt in held_out}
    for prompt in training:
        twin = kept.get((prompt.system_prompt, text_of_turns(prompt)))
        if twin is not None:
            raise DataError(f"Held-out prompt {twin} is the training prompt {prompt.id}; take one of the two out.")
        yield prompt
