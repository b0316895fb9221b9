"""Training by several processes at once: `torchrun -m cst train RECIPE`.

Only training is done together. Whatever comes before it must be there already, so that no two processes write the same
file; the first process marks the stage as done.
"""

import os
from contextlib import nullcontext
from pathlib import Path

from cst.errors import RunFolderError
from cst.pipeline import Verb, steps
from cst.recipe import Recipe
from cst.run_folder import RunFolder
from cst.workshop import Workshop


def is_one_of_many() -> bool:
    """Whether torchrun or accelerate launch started this process among others."""
    return int(os.environ.get("WORLD_SIZE", "1")) > 1


def train_together(recipe: Recipe, folder: Path, verb: Verb) -> None:
    """Train the recipe's models in this process and its peers.

    Raises:
        RunFolderError: Another verb than `train` is asked for, a stage before it isn't up to date, or processes that
            aren't its peers are at work in the folder.
    """
    if verb != "train":
        raise RunFolderError(f"`cst {verb}` is for one process; only `cst train` runs under torchrun.")
    home, workshop = RunFolder(folder), Workshop(recipe, folder)
    first = int(os.environ.get("RANK", "0")) == 0
    with home.locked() if first else nullcontext():
        for step in steps(workshop, "train"):
            if step.verb == "train":
                home.work_together(step.stage, first=first)
            elif not home.is_up_to_date(step.stage):
                raise RunFolderError(
                    f"Stage {step.stage.name} of {folder} isn't up to date. Run `cst condition` once, by itself, first."
                )
