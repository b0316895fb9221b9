"""Whether files are as they were written: the markers of a run folder, and checksums beside files that leave it.

A marker (`stages/NAME.json`) says what a stage was made from and gives the SHA-256 of each file it left. A sidecar
(`FILE.sha256`, as `sha256sum` writes and checks it) stands beside an exported file. A file that differs is rejected
before it is used: it may be damaged or edited by hand, and only its user can tell which. A file that nothing is known
of passes. This file knows no stage by name, and does not decide what is made again.
"""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Literal, TypeAlias

from cst.errors import DataError, RunFolderError
from cst.records import Record
from cst.store import fingerprint, fingerprint_of_file, parse_record, read_text, readable, write_json, write_text

FOLDER = "stages"

RECIPE = "recipe"
"""The marker of the recipe's own files: every run folder has it."""

Source: TypeAlias = Literal["made", "given"]


class Marker(Record):
    """What a stage was made from, and the SHA-256 of each file it made, or found where it was given.

    `outputs` are there whenever the stage is done; `by_products` may be deleted. `seal` is a hash of all the rest.
    """

    key: str
    source: Source
    outputs: dict[str, str]
    by_products: dict[str, str]
    seal: str


def marker_path(home: Path, stage: str) -> Path:
    """Where a stage's marker stands."""
    return home / FOLDER / f"{stage}.json"


def intent_path(home: Path, stage: str) -> Path:
    """Stands while a stage is at work, so that what a killed one left isn't taken for a file put there by hand."""
    return home / FOLDER / f"{stage}.unfinished"


def write_marker(
    home: Path, stage: str, key: str, source: Source, *, outputs: Sequence[str], by_products: Sequence[str] = ()
) -> None:
    """Mark a stage as done, with its files as they are now; by-products that aren't there are left out."""
    made = hashes(home, outputs)
    beside = hashes(home, [name for name in by_products if (home / name).exists()])
    seal = fingerprint(key, source, made, beside)
    marker = Marker(key=key, source=source, outputs=made, by_products=beside, seal=seal)
    write_json(marker_path(home, stage), marker)


def read_marker(path: Path) -> Marker:
    """A stage's marker.

    Raises:
        RunFolderError: It is missing or damaged.
    """
    try:
        marker = parse_record(read_text(path), Marker, str(path))
        if marker.seal != fingerprint(marker.key, marker.source, marker.outputs, marker.by_products):
            raise DataError(f"{path} isn't what was written: its seal doesn't fit.")
    except DataError as error:
        raise RunFolderError(
            f"{error} It is damaged, or of another version of cst, and says what its stage's files should be. Delete "
            "it together with these files to have them made again; delete it alone, and they count as your own."
        ) from error
    return marker


def hashes(home: Path, names: Sequence[str]) -> dict[str, str]:
    """The SHA-256 of each file or folder."""
    return {name: fingerprint_of_path(home / name) for name in names}


def fingerprint_of_path(path: Path) -> str:
    """SHA-256 of a file, or of the names and contents of all files below a folder."""
    if path.is_file():
        return fingerprint_of_file(path)
    files = sorted(file for file in path.rglob("*") if file.is_file())
    return fingerprint([[str(file.relative_to(path)), fingerprint_of_file(file)] for file in files])


def reject_changed(path: Path) -> None:
    """Make sure that a run folder, or one file or folder of it, is as its stages left it; other paths pass.

    Stages that are at work are passed over: their markers speak of earlier files.

    Raises:
        RunFolderError: A file has changed since, or a marker is damaged.
    """
    path = path.parent.resolve() / path.name
    home = next((above for above in (path, *path.parents) if marker_path(above, RECIPE).exists()), None)
    if home is None:
        return
    for file in sorted((home / FOLDER).glob("*.json")):
        if not intent_path(home, file.stem).exists():
            marker = read_marker(file)
            for name in changed(home, marker, within=path):
                raise refusal(home, marker, name)


def changed(home: Path, marker: Marker, *, within: Path) -> list[str]:
    """Those of a stage's files that aren't as its marker says, of all that lie in `within` or hold it."""
    return [
        name
        for name, expected in {**marker.outputs, **marker.by_products}.items()
        if (home / name).exists()
        and ((home / name).is_relative_to(within) or within.is_relative_to(home / name))
        and fingerprint_of_path(home / name) != expected
    ]


def refusal(home: Path, marker: Marker, name: str) -> RunFolderError:
    """What to say of a file that has changed."""
    expected = {**marker.outputs, **marker.by_products}[name]
    to_delete = name if name in marker.outputs else next(iter(marker.outputs))
    return RunFolderError(
        f"{home / name} has changed since it was {marker.source}: its SHA-256 is "
        f"{fingerprint_of_path(home / name)[:12]}... and was {expected[:12]}.... If the change is meant, pass --update "
        "to the verb: the file then counts as given, and what depends on it is made again. If not, delete "
        f"{home / to_delete} to have it made again; answers of models are in the journal."
    )


_LINE = re.compile(r"([0-9a-fA-F]{64}) [ *]([^\r\n]+)\r?\n?")
"""A checksum and the name of its file, as `sha256sum` writes it; the asterisk is its `--binary`."""


def checksum_file(path: Path) -> Path:
    """Where the checksum of a file stands."""
    return path.with_name(f"{path.name}.sha256")


def write_checksum(path: Path) -> None:
    """Write down what a file hashes to, after the file itself: who is killed in between leaves what is refused.

    Raises:
        DataError: The system doesn't let it be written.
    """
    write_text(checksum_file(path), f"{fingerprint_of_file(path)}  {path.name}\n")


def reject_damaged(source: Path | str) -> None:
    """Make sure that a file is what it was when it was written, as far as that is known; it is read once for that.

    Raises:
        DataError: It isn't what its sidecar says, or the sidecar can't be read as such.
        RunFolderError: It isn't what its stage made.
    """
    path = Path(source)
    if checksum_file(path).is_file():
        with readable(path):
            _compare(fingerprint_of_file(path), path)
    reject_changed(path)


def _compare(found: str, path: Path) -> None:
    sidecar = checksum_file(path)
    written = _LINE.fullmatch(read_text(sidecar))
    if written is None or written[2] != path.name:
        raise DataError(
            f"{sidecar} isn't one line of sha256sum about {path.name}, so that the file can't be checked. Export or "
            f"fetch both again, or remove {sidecar.name} if you trust the file."
        )
    if found != written[1].lower():
        raise DataError(
            f"{path} isn't the file that {sidecar.name} was written for: its SHA-256 is {found} and should be "
            f"{written[1].lower()}. Export or fetch both again; if you changed the file yourself, remove "
            f"{sidecar.name}."
        )
