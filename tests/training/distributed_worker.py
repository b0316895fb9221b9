"""One process of several trainings, one after another: `torchrun ... distributed_worker.py MODEL JOBS_JSON`."""

import json
import os
import signal
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path

import torch
from demonstrated import demonstrations
from held_out import by_length, held_out
from tiny import load_tiny, mirrored_preferences
from torch import nn
from torch.distributed.tensor import DTensor
from torch.optim.optimizer import register_optimizer_step_post_hook

from cst.errors import TrainingError
from cst.models.loading import LoadedModel
from cst.recipe.training import TrainingSettings
from cst.records import Completion, Verdict
from cst.training.folder import TrainingResult
from cst.training.objectives import fine_tune, train


@dataclass(frozen=True)
class Job:
    """A training of `rows` rows in `folder`, sharded as `accelerate launch --use_fsdp --fsdp_version 2` asks for it,
    and another one of the same model in `again`. With `eval_steps` among its settings, it is evaluated.

    After `after` optimizer steps something happens: all processes break off, or the process `rank` is killed, or its
    trained weights alone are no numbers any more.
    """

    folder: str
    rows: int = 10
    again: str | None = None
    sharded: bool = False
    settings: dict[str, object] = field(default_factory=dict)
    after: int | None = None
    event: str = "break off"
    rank: int = 0


class BrokenOff(Exception):
    """The test's way to end a training."""


RANK = int(os.environ.get("RANK", "0"))


def do(model: Path, job: Job) -> None:
    """Train, and leave files beside the folder that say what each process saw."""
    steps = 0

    def happen(optimizer: torch.optim.Optimizer, *_: object) -> None:
        nonlocal steps
        steps += 1
        if steps == job.after and job.event == "break off":
            raise BrokenOff
        if steps == job.after and job.rank == RANK:
            if job.event == "kill":
                os.kill(os.getpid(), signal.SIGKILL)
            optimizer.param_groups[0]["params"][0].data.fill_(float("nan"))

    loaded = load_tiny(model)
    hook = register_optimizer_step_post_hook(happen)
    settings = TrainingSettings.model_validate(job.settings)
    try:
        for folder in (job.folder, job.again) if job.again else (job.folder,):
            tune(job, loaded, settings, Path(folder))
        Path(f"{job.folder}.held-{RANK}").write_text(str(share_held(loaded.model)))
    except BrokenOff:
        pass
    except TrainingError as error:
        Path(f"{job.folder}.refused-{RANK}").write_text(str(error))
    finally:
        hook.remove()


def tune(job: Job, loaded: LoadedModel, settings: TrainingSettings, folder: Path) -> TrainingResult:
    """On preferences or on demonstrations, as the settings say; the latter with three validation rows."""
    if settings.method == "sft":
        rows, validation = demonstrations(job.rows), demonstrations(3, first=100)
        return fine_tune(rows, loaded=loaded, settings=settings, folder=folder, validation=validation)
    rows = mirrored_preferences((job.rows + 1) // 2)[: job.rows]
    asked = None if settings.eval_steps is None else held_out(5, judge=partial(tell, job))
    return train(rows, loaded=loaded, settings=settings, folder=folder, held_out=asked)


def tell(job: Job, completions: Sequence[Completion]) -> list[Verdict]:
    """A judge's verdicts, and in a file beside the folder, how often each process is asked for them."""
    with Path(f"{job.folder}.judged-{RANK}").open("a") as file:
        file.write(f"{len(completions)}\n")
    return by_length(completions)


def share_held(model: nn.Module) -> float:
    """How much of a model's layers this process has in memory."""
    weights = [weight for name, weight in model.named_parameters() if ".layers." in name]
    here = [weight.to_local() if isinstance(weight, DTensor) else weight for weight in weights]
    return sum(part.numel() for part in here) / sum(weight.numel() for weight in weights)


def words(model: Path, *jobs: Job) -> list[str]:
    """The worker's arguments."""
    return [str(model), json.dumps([asdict(job) for job in jobs])]


def main(model: str, jobs: str) -> None:
    for job in json.loads(jobs):
        os.environ |= {"ACCELERATE_USE_FSDP": str(job["sharded"]), "FSDP_VERSION": "2"}
        do(Path(model), Job(**job))


if __name__ == "__main__":
    main(*sys.argv[1:])
