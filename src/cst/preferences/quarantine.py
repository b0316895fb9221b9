"""Good rows go on, bad ones are written aside with their place and reason, and in the end it is said how many they are.

Nothing is dropped silently: unless bad rows are to be skipped, they are an error. This file knows no format.
"""

import json
import logging
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TextIO, TypeVar, final

from cst.errors import DataError
from cst.preferences.rows import BadRow

R = TypeVar("R")

logger = logging.getLogger(__name__)


def quarantine_file(folder: Path, source: Path | str) -> Path:
    """Where the bad rows of a source belong: `NAME.quarantine.jsonl` in a folder of the run, not beside the source."""
    return folder / f"{Path(str(source).replace(':', '-')).name}.quarantine.jsonl"


def good_rows(
    found: Iterable[R | BadRow], source: Path | str, *, quarantine: Path | None, skip_bad_rows: bool
) -> Iterator[R]:
    """The good ones as they come; `quarantine` is written if there are bad ones, and is removed if there are none.

    Raises:
        DataError: At the end, if there were bad rows and they are not to be skipped (then they are a warning).
    """
    first, good, bad = None, 0, 0
    with _Quarantine(quarantine) as aside:
        for each in found:
            if isinstance(each, BadRow):
                first, bad = first or each, bad + 1
                aside.write(each)
            else:
                good += 1
                yield each
    if first is None:
        return
    where = "" if quarantine is None else f"; they are in {quarantine}, each with its reason"
    told = f"{first.place} {first.reason} {bad} of {good + bad} rows of {source} can't be used{where}."
    if not skip_bad_rows:
        raise DataError(told)
    logger.warning("%s The others are taken.", told)


@final
class _Quarantine:
    """A JSONL file of bad rows, made when the first one comes; without a path, none is made."""

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._file: TextIO | None = None

    def __enter__(self) -> "_Quarantine":
        if self._path is not None:
            self._path.unlink(missing_ok=True)
        return self

    def write(self, row: BadRow) -> None:
        """Set one row aside."""
        if self._path is None:
            return
        if self._file is None:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._file = self._path.open("w", encoding="utf-8", newline="\n")
        self._file.write(json.dumps({"place": row.place, "reason": row.reason, "text": row.text}) + "\n")

    def __exit__(self, *_: object) -> None:
        if self._file is not None:
            self._file.close()
