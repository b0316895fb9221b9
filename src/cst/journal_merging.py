"""Journals of several processes made one, so that what they paid for together is found by all that comes after.

Opening a journal checks every page, row and checksum of it, and holds it; what it holds is said in `journal`.
"""

from collections.abc import Sequence
from pathlib import Path

from cst.errors import RunFolderError
from cst.journal import Journal
from cst.store import replaced


def merge_journals(path: Path, sources: Sequence[Path]) -> None:
    """Make a journal of all calls of others, one journal after the other; it is there when all of it is, or not at all.

    A call that stands in several of them counts as often as it was paid for; its answer is the first one's.

    Raises:
        RunFolderError: There is a journal at `path`, or a source is missing, damaged or in use.
    """
    if path.exists():
        raise RunFolderError(f"{path} is there already. Name another folder to merge into, or go on without merging.")
    for source in sources:
        if not source.exists():
            raise RunFolderError(f"There is no journal {source}. Correct the path, or run that shard first.")
    with replaced(path) as neighbour:
        for left_behind in (neighbour, neighbour.with_name(f"{neighbour.name}-wal")):
            left_behind.unlink(missing_ok=True)
        with Journal(neighbour) as merged:
            for source in sources:
                with Journal(source) as other:
                    merged.add_all(other)
