"""What `cst miniature` does: its start model made anew, and labelled answers of its world."""

import importlib
import json
import sys
from pathlib import Path

from cst.errors import ModelError
from cst.store import write_pieces

ROOT = Path(__file__).resolve().parents[3]
"""The repository, where cst is imported from a clone of it."""


def pretrain(out: Path, *, seed: int | None, steps: int | None, root: Path = ROOT) -> Path:
    """Pretrain the start model into a folder, by the repository's folder `miniature_making`.

    Raises:
        ModelError: There is no such folder.
        TrainingError: The output folder holds another run's checkpoint, or the loss isn't finite.
    """
    if not (root / "miniature_making" / "pretraining.py").is_file():
        raise ModelError(
            f"cst miniature pretrain needs the folder miniature_making, which is not in {root}. It is in the "
            "repository of cst, but not in the installed package. Clone the repository, install it from there with "
            "`pip install -e .`, and run the command again."
        )
    if str(root) not in sys.path:
        sys.path.append(str(root))
    making = importlib.import_module("miniature_making.pretraining")
    chosen = {name: value for name, value in (("seed", seed), ("steps", steps)) if value is not None}
    return making.pretrain(out, making.PretrainingSettings(**chosen))


def write_labelled(out: Path, n: int, *, seed: int) -> Path:
    """Write `n` labelled answers to prompts of each task as JSONL."""
    from cst.miniature.judge import labelled_rows

    write_pieces(out, (json.dumps(row) + "\n" for row in labelled_rows(n, seed=seed)))
    return out
