"""Rows of a data set of the Hugging Face hub, or of a folder that is laid out as one, streamed by `datasets`.

A data set that isn't there is an error with what to do; what ends the reading of one that is, is `Unreadable`, as in a
file. This file knows no column.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from cst.distribution import install_command
from cst.errors import DataError
from cst.preferences.files import Unreadable
from cst.preferences.json_rows import Row
from cst.preferences.tables import NumberedRow

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
        raise DataError(f"{name} is on the hub. Install datasets to read it: {install_command('data')}.") from error
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
