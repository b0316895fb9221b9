"""Audits of data files: a file in, an `Audit` out.

The file is read row by row, and a second time where a tokenizer is to render the rows.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import TypeAlias

from cst.annexes.audit.findings import (
    SHORTCUT,
    RowFacts,
    facts_of,
    findings,
    lengths,
    mirrored,
    shortcuts,
    tokens,
)
from cst.annexes.audit.record import (
    EXAMPLES,
    Audit,
    BadRows,
    Finding,
    Kind,
    SystemPrompts,
    beginning,
    share,
)
from cst.integrity import reject_damaged
from cst.preferences.files import RowFault
from cst.preferences.formats import format_of, recognised
from cst.preferences.formats.preference_formats import PREFERENCE_FORMATS
from cst.preferences.formats.prompt_formats import PROMPT_FORMATS
from cst.preferences.rows import BadRow, FoundRow, read_rows
from cst.preferences.sources import Found, Reading, Source, preferences_in, prompts_in
from cst.progress import track
from cst.records import Preference, Prompt
from cst.texts import text_of_turns

FoundPrompt: TypeAlias = Found[Prompt]
FoundPreference: TypeAlias = Found[Preference]

ROWS_LOOKED_AT = 100
"""The rows that decide a file's kind and columns."""


@dataclass
class _Read:
    """What was read so far; only the first bad rows are kept."""

    good: list[RowFacts] = field(default_factory=list[RowFacts])
    n_bad: int = 0
    bad: list[str] = field(default_factory=list[str])
    unread: set[str] = field(default_factory=set[str])
    formats: Counter[str] = field(default_factory=Counter[str])


def audit(
    source: Source,
    *,
    format: str | None = None,
    held_out: Source | None = None,
    tokenizer: str | None = None,
    max_length: int | None = None,
) -> Audit:
    """What is in a file, and what is wrong with it.

    `held_out` is a file of prompts not to be trained on. With a `tokenizer` (a model's folder or hub id, or
    `miniature`) rows are also rendered; `max_length` is in tokens, by default what the model's config.json says.

    Raises:
        DataError: The file is missing, empty, or not what its checksum says, or there is no such format.
        RunFolderError: It is a file of a run that has changed since it was made.
        ModelError: There is no such tokenizer.
        RenderingError: The tokenizer has no usable chat template.
    """
    for file in (source, held_out):
        if file is not None:
            reject_damaged(file)
    reading = Reading(format=format)
    kind, columns = _kind_and_columns(source, format)
    known = None if held_out is None else _texts(held_out)
    read = _read(records_in(source, kind, reading))
    made = _audit(source, kind, columns, read, known)
    if tokenizer is None or not read.good:
        return made
    again = (each for each in records_in(source, kind, reading) if isinstance(each, Found))
    return made.model_copy(update={"tokens": tokens(again, tokenizer, max_length)})


def _audit(source: Source, kind: Kind, columns: tuple[str, ...], read: _Read, held_out: Sequence[str] | None) -> Audit:
    good, of_pairs = read.good, kind == "preferences"
    is_mirrored = mirrored(good)
    by_length = shortcuts(good, is_mirrored) if of_pairs else []
    # Not a fault by itself: in safety data one of the two answers should refuse.
    refusals = {
        name: sum(row.refuses[side] for row in good)
        for side, name in enumerate(("chosen", "rejected") if of_pairs else ())
    }
    return Audit(
        source=str(source),
        kind=kind,
        rows=len(good),
        columns=columns,
        unread=tuple(sorted(read.unread)),
        formats=dict(read.formats),
        bad=BadRows(rows=share(read.n_bad, len(good) + read.n_bad), examples=tuple(read.bad)),
        tasks=dict(Counter(row.task for row in good).most_common()),
        system_prompts=_system_prompts(good),
        mirrored=share(sum(is_mirrored), len(good)) if of_pairs else None,
        refusals={name: share(count, len(good)) for name, count in refusals.items()},
        lengths=tuple(lengths(good)),
        shortcuts=tuple(by_length),
        findings=(
            *findings(good, kind, held_out),
            *(
                Finding(fault=f"length gives the preferred answer away: {each.group}", rows=each.right, places=())
                for each in by_length
                if each.right.low > SHORTCUT
            ),
        ),
    )


def _kind_and_columns(source: Source, format: str | None) -> tuple[Kind, tuple[str, ...]]:
    """Whether rows are preferences, by the named format or the first rows, and the columns of the first rows."""
    rows = [each.row for each in islice(read_rows(source), ROWS_LOOKED_AT) if isinstance(each, FoundRow)]
    columns = tuple(dict.fromkeys(column for row in rows for column in row))
    if format is not None:
        if format in {each.name for each in PROMPT_FORMATS}:
            return "prompts", columns
        format_of(format, PREFERENCE_FORMATS)
        return "preferences", columns
    return ("preferences" if any(map(_is_preference, rows)) else "prompts"), columns


def _is_preference(row: Mapping[str, object]) -> bool:
    try:
        return recognised(dict(row), PREFERENCE_FORMATS) is not None
    except RowFault:  # it fits several of them
        return True


def records_in(source: Source, kind: Kind, reading: Reading) -> Iterator[FoundPrompt | FoundPreference | BadRow]:
    """Every row as a prompt or preference, or as a bad row with the reason."""
    return preferences_in(source, reading=reading) if kind == "preferences" else prompts_in(source, reading=reading)


def _read(rows: Iterable[FoundPrompt | FoundPreference | BadRow]) -> _Read:
    read = _Read()
    for each in track(rows, description="audit"):
        if isinstance(each, BadRow):
            read.n_bad += 1
            read.bad += [f"{each.place} {each.reason}"] if read.n_bad <= EXAMPLES else []
        else:
            read.unread |= each.unread
            read.formats[each.format] += 1
            read.good.append(facts_of(each))
    return read


def _texts(source: Source) -> list[str]:
    kind, _ = _kind_and_columns(source, None)
    return [text_of_turns(each.record) for each in records_in(source, kind, Reading()) if isinstance(each, Found)]


def _system_prompts(rows: Sequence[RowFacts]) -> SystemPrompts:
    counted = Counter(row.system_prompt for row in rows if row.system_prompt)
    return SystemPrompts(
        different=len(counted),
        rows_without=len(rows) - counted.total(),
        most_frequent=tuple((beginning(text), count) for text, count in counted.most_common(EXAMPLES)),
    )
