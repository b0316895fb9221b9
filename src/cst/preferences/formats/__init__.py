"""Which format a row is in, told by its columns and the kinds of their values; two that fit alike are refused.

This file knows what a format is, and none by name.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, Literal, TypeAlias, TypeVar, cast

from cst.errors import DataError
from cst.preferences.files import RowFault, shown
from cst.preferences.rows import Row, text_of
from cst.records import Demonstration, Preference, Prompt

R = TypeVar("R", Prompt, Preference, Demonstration)

Kind: TypeAlias = Literal["text", "dialogue", "messages", "turns", "message", "turn", "nothing", "other"]
"""What a value is: text, HH's text of several turns, a list of messages or of sharegpt's turns, one of either, null."""

TEXT: tuple[Kind, ...] = ("text", "dialogue")


IDENTITY = ("id", "task", "topic", "configuration")
"""Columns that any format may have beside its own: what an export adds, and other tools overlook."""


@dataclass(frozen=True)
class Format(Generic[R]):
    """A way to keep records in rows.

    `needs` are the columns by which it is known, with the kinds of value that they may hold; `may` are further columns
    that it reads; a row with one of those that it `lacks` is in another. `read` gives the fields of the record that a
    row tells, `write` gives a row, and both raise RowFault where they can't. With `adds_identity`, an export has id,
    task, topic and configuration as columns beside these.
    """

    name: str
    needs: Mapping[str, tuple[Kind, ...]]
    read: Callable[[Row], Mapping[str, object]]
    write: Callable[[R], Row]
    may: tuple[str, ...] = ()
    lacks: tuple[str, ...] = ()
    adds_identity: bool = True

    @property
    def columns(self) -> tuple[str, ...]:
        """All columns that it reads, those of a record's identity left out."""
        return (*self.needs, *self.may)

    def fits(self, row: Row) -> bool:
        """Whether the needed columns are there and hold what they should."""
        has_all = all(name in row and kind_of(row[name]) in kinds for name, kinds in self.needs.items())
        return has_all and not any(name in row for name in self.lacks)

    def reject_misfit(self, row: Row) -> None:
        """Say what keeps a row from being in this format.

        Raises:
            RowFault: A needed column is missing, or holds another kind of value.
        """
        for name, kinds in self.needs.items():
            if name not in row or (kinds == TEXT and kind_of(row[name]) not in kinds):
                text_of(row, name)
            if kind_of(row[name]) not in kinds:
                needed = " or ".join(kinds)
                raise RowFault(f"has {name}={shown(row[name])}, and the format {self.name} needs {needed} there.")


def kind_of(value: object) -> Kind:
    """What a value is, as far as formats differ by it."""
    if isinstance(value, str):
        return "dialogue" if value.startswith("\n\nHuman:") else "text"
    if value is None:
        return "nothing"
    if isinstance(value, list) and value:
        return {"message": "messages", "turn": "turns"}.get(_one(cast(list[Any], value)[0]), "other")  # pyright: ignore[reportReturnType]
    return _one(value)


def _one(value: object) -> Kind:
    if not isinstance(value, dict):
        return "other"
    return "message" if "role" in value else "turn" if "from" in value else "other"


def recognised(row: Row, formats: Iterable[Format[R]]) -> Format[R] | None:
    """The format that a row is in, or None: of those that fit, the one that reads what others read, or is told by more.

    Raises:
        RowFault: Several fit, and none of them reads the columns of all others.
    """
    fitting = [format for format in formats if format.fits(row)]
    read = {format.name: row.keys() & {*format.columns, *IDENTITY} for format in fitting}

    def yields(one: Format[R], other: Format[R]) -> bool:
        alike = read[one.name] == read[other.name]
        return read[one.name] < read[other.name] or (alike and one.needs.keys() < other.needs.keys())

    best = [format for format in fitting if not any(yields(format, other) for other in fitting)]
    if len(best) > 1:
        names = [format.name for format in best]
        raise RowFault(f"has the columns {sorted(row)}, which fit {names} alike. Name one of them as the format.")
    return best[0] if best else None


def nearest_to(row: Row, formats: Iterable[Format[R]]) -> tuple[Format[R], list[str]]:
    """Of the formats that a row isn't in, the one that misses the fewest columns, and which these are."""
    missing = [
        (format, [name for name, kinds in format.needs.items() if name not in row or kind_of(row[name]) not in kinds])
        for format in formats
        if not any(name in row for name in format.lacks)
    ]
    return min(missing, key=lambda pair: len(pair[1]))


def format_of(name: str, formats: Sequence[Format[R]]) -> Format[R]:
    """The format of a name.

    Raises:
        DataError: There is none.
    """
    for format in formats:
        if format.name == name:
            return format
    raise DataError(f"There is no format {name!r} here; choose among {', '.join(format.name for format in formats)}.")
