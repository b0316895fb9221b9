"""Training by several processes at once: `torchrun -m cst train RECIPE`, or `accelerate launch -m cst train RECIPE`.

Only training is done together. Whatever comes before it must be there already, so that no two processes write the same
file; the first process marks the stage as done. What all of them have to say is said by one.
"""

import logging
import os
import time
from collections.abc import Sequence
from contextlib import closing, nullcontext

from cst.errors import RunFolderError
from cst.runs.folder import Outcome, RunFolder, reject_another_recipe
from cst.runs.pipeline import Step, Verb, steps
from cst.runs.workshop import Workshop

SECONDS_TO_SPEAK = 10.0
"""How long the other processes of a machine leave an error to its first one. The launcher ends them as soon as that one
has ended, and looks ten times a second; but processes don't start at the same moment."""


def is_one_of_many() -> bool:
    """Whether torchrun or accelerate launch started this process among others."""
    return int(os.environ.get("WORLD_SIZE", "1")) > 1


def is_first() -> bool:
    """Whether this process is the only one, or the first of all."""
    return int(os.environ.get("RANK", "0")) == 0


def leave_the_word() -> None:
    """Before an error is told: wait, unless this is the first process of its machine, which has mostly the same to say.

    If it has, this process doesn't outlive the wait, and the message stands there once. If it hasn't, it is told then.
    """
    if is_one_of_many() and int(os.environ.get("LOCAL_RANK", "0")) > 0:
        time.sleep(SECONDS_TO_SPEAK)


def train_together(workshop: Workshop, verb: Verb, *, update: bool = False) -> dict[str, Outcome]:
    """Train the recipe's models in this process and its peers, and close the workshop; the outcome of each training.

    Raises:
        RunFolderError: Another verb than `train` or `update` is asked for, the folder holds another recipe's run, a
            stage before it isn't up to date, a file has changed since its stage ran, or processes that aren't its peers
            are at work in the folder.
    """
    if verb != "train":
        raise RunFolderError(f"`cst {verb}` is for one process; only `cst train` runs under torchrun.")
    if update:
        raise RunFolderError(
            "`--update` is for one process. Give it to `cst condition`, by itself, first (to `cst train`, if an "
            "adapter of your own has taken the place of a trained one)."
        )
    home = RunFolder(workshop.folder)
    reject_another_recipe(workshop.recipe, workshop.folder)
    _prepare()
    with closing(workshop), home.locked() if is_first() else nullcontext():
        return _train(home, steps(workshop, "train"))


def _train(home: RunFolder, planned: Sequence[Step]) -> dict[str, Outcome]:
    outcomes: dict[str, Outcome] = {}
    for step in planned:
        if home.is_up_to_date(step.stage):
            outcomes |= {step.stage.name: "done before"} if step.verb == "train" else {}
        elif step.verb == "train":
            home.work_together(step.stage, first=is_first())
            outcomes[step.stage.name] = "made"
        else:
            raise RunFolderError(
                f"Stage {step.stage.name} of {home.path} isn't up to date. Run `cst condition` once, by itself, first."
            )
    return outcomes


def _prepare() -> None:
    """Each process on a device of its own, with all weights of its models; warnings from the first one alone."""
    import torch

    if torch.accelerator.is_available():
        torch.accelerator.set_device_index(int(os.environ.get("LOCAL_RANK", "0")))
    # With accelerate's default, transformers gives all but the first process a model without weights.
    os.environ["FSDP_CPU_RAM_EFFICIENT_LOADING"] = "false"
    if not is_first():
        logging.disable(logging.WARNING)
