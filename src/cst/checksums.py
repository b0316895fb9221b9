"""`FILE.sha256` beside a file that leaves the run folder, in the words of `sha256sum`, which checks it as well as cst.

A file that is to be used is checked against all that is known of it: its sidecar, where there is one, and the marker of
the stage that made it, where it lies in a run folder. A file of which nothing is known passes.
"""

import re
from pathlib import Path

from cst.errors import DataError
from cst.markers import refuse_changed
from cst.store import fingerprint_of_file, read_text, readable, write_text

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


def refuse_damaged(source: Path | str) -> None:
    """Make sure that a file is what it was when it was written, as far as that is known; it is read once for that.

    Raises:
        DataError: It isn't what its sidecar says, or the sidecar can't be read as such.
        RunFolderError: It isn't what its stage made.
    """
    path = Path(source)
    if checksum_file(path).is_file():
        with readable(path):
            _compare(fingerprint_of_file(path), path)
    refuse_changed(path)


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
