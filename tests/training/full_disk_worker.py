"""Trainings on a disk that fills up, then on one with room again; in a process of its own, whose limit it is.

"Full" is a limit of the process on the size of files: from a forward pass on, none may grow beyond that of
metrics.jsonl by more than some bytes. Prints a JSON object: by moment, what was said and what was left.
"""

import json
import resource
import sys
from pathlib import Path

from running import forward_hook, run
from tiny import load_tiny

from cst.errors import DataError
from cst.models.loading import LoadedModel

MOMENTS = {"reference": (0, 100), "metrics": (3, 100), "checkpoint": (3, 2000), "adapter": (5, 2000)}
"""What doesn't fit any more: lines of metrics after which the disk fills up, and bytes that are left then."""

STEPS = 6
"""A checkpoint stands after two and four."""


def lines(folder: Path) -> bytes:
    return (folder / "metrics.jsonl").read_bytes() if (folder / "metrics.jsonl").exists() else b""


def train_until_full(loaded: LoadedModel, folder: Path, after: int, room: int) -> str:
    """What the training says when it stops."""
    _, hard = free = resource.getrlimit(resource.RLIMIT_FSIZE)

    def hook(*_: object) -> None:
        if (folder / "training.json").exists() and lines(folder).count(b"\n") == after:
            resource.setrlimit(resource.RLIMIT_FSIZE, (len(lines(folder)) + room, hard))

    try:
        with forward_hook(loaded, hook):
            run(loaded, folder, max_steps=STEPS)
    except DataError as error:
        return str(error)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, free)
    return "it was not stopped"


def main(model: str, parent: Path) -> None:
    told: dict[str, dict[str, object]] = {}
    for moment, (after, room) in MOMENTS.items():
        loaded, folder = load_tiny(Path(model)), parent / moment
        told[moment] = {
            "message": train_until_full(loaded, folder, after, room),
            "checkpoints": sorted(path.name for path in folder.glob("checkpoints/step-*")),
            "half": [path.name for path in folder.rglob("*.partial")],
            "torn": lines(folder)[-1:] not in (b"", b"\n"),
        }
        run(loaded, folder, max_steps=STEPS)
    print(json.dumps(told))


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
