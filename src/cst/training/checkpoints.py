"""Where a training stands, on disk: trained weights, AdamW's moments, and the lines of metrics so far.

Safetensors and JSON, no pickle. A checkpoint is a folder renamed into place when it is whole, so that whatever kills
the process, the last one is good; the one before it is kept too, should the disk spoil the last. Random numbers need no
state: each step draws from (seed, step). This file knows tensors by name only, and nothing of the loss.
"""

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import torch
from torch import Tensor, nn
from torch.optim import AdamW

from cst.errors import DataError, ModelError, TrainingError
from cst.models.tensors import load_tensors, save_tensors, whole_folder
from cst.records import Record
from cst.store import fingerprint_of_file, parse_record, read_text, write_json, write_records
from cst.training.meters import StepLine
from cst.training.results import read_metrics

WEIGHTS, OPTIMIZER, METRICS, STATE = "weights.safetensors", "optimizer.safetensors", "metrics.jsonl", "state.json"


@dataclass(frozen=True)
class Checkpoint:
    """A training after `step` optimizer steps; tensors are on the CPU, by parameter name (moments: `moment/name`)."""

    folder: Path
    step: int
    metrics: list[StepLine]
    weights: dict[str, Tensor]
    moments: dict[str, Tensor]


class CheckpointState(Record):
    """state.json: optimizer steps taken, and the SHA-256 of each other file."""

    step: int
    sha256: dict[str, str]


def step_folder(parent: Path, step: int) -> Path:
    """`parent`/step-000010: sorts by step."""
    return parent / f"step-{step:06d}"


def trained(model: nn.Module) -> dict[str, nn.Parameter]:
    """The parameters that are trained, by name."""
    return {name: parameter for name, parameter in model.named_parameters() if parameter.requires_grad}


def save_checkpoint(
    parent: Path,
    *,
    step: int,
    model: nn.Module,
    optimizer: AdamW,
    metrics: Sequence[StepLine],
    best: int | None = None,
) -> Path:
    """Write one checkpoint beside the last one; those before that are removed first, but for that of step `best`.

    Raises:
        DataError: The system doesn't let it be written; the last one is as it was.
    """
    kept = None if best is None else step_folder(parent, best)
    for older in checkpoints(parent)[:-1]:
        if older != kept:
            shutil.rmtree(older)
    parameters = trained(model)
    folder = step_folder(parent, step)
    with whole_folder(folder) as partial:
        save_tensors(partial / WEIGHTS, parameters)
        save_tensors(partial / OPTIMIZER, _moments(parameters, optimizer))
        write_records(partial / METRICS, metrics)
        sums = {name: fingerprint_of_file(partial / name) for name in (WEIGHTS, OPTIMIZER, METRICS)}
        write_json(partial / STATE, CheckpointState(step=step, sha256=sums))
    return folder


def _moments(parameters: Mapping[str, nn.Parameter], optimizer: AdamW) -> dict[str, Tensor]:
    state = cast(Mapping[Tensor, dict[str, Tensor]], optimizer.state)
    return {f"{moment}/{name}": value for name, p in parameters.items() for moment, value in state[p].items()}


def checkpoints(parent: Path) -> list[Path]:
    """The checkpoints of a training, the last one last."""
    return sorted(parent.glob("step-*"))


def load_checkpoint(folder: Path) -> Checkpoint:
    """Read a checkpoint.

    Raises:
        TrainingError: It is damaged.
    """
    try:
        state = parse_record(read_text(folder / STATE), CheckpointState, str(folder / STATE))
        changed = [name for name, expected in state.sha256.items() if fingerprint_of_file(folder / name) != expected]
        if changed:
            raise DataError(f"{changed[0]} has changed since it was written")
        return Checkpoint(
            folder=folder,
            step=state.step,
            metrics=read_metrics(folder / METRICS),
            weights=load_tensors(folder / WEIGHTS),
            moments=load_tensors(folder / OPTIMIZER),
        )
    except (DataError, ModelError, OSError) as error:
        before = [other for other in checkpoints(folder.parent) if other.name < folder.name]
        place = f"go on from {before[-1].name}, which is kept beside it" if before else "start from the beginning"
        reason = str(error).rstrip(".")
        raise TrainingError(f"The checkpoint {folder} is damaged: {reason}. Remove the folder to {place}.") from error


@torch.no_grad()
def restore(checkpoint: Checkpoint, model: nn.Module, optimizer: AdamW) -> None:
    """Put a checkpoint's weights into `model` and its moments into `optimizer`, both in place."""
    restore_weights(checkpoint, model)
    for name, parameter in trained(model).items():
        keys = {moment: f"{moment}/{name}" for moment in ("step", "exp_avg", "exp_avg_sq")}
        if keys["step"] in checkpoint.moments:  # a weight that the loss doesn't reach has none
            optimizer.state[parameter] = {
                moment: _placed(checkpoint.moments[key], moment, parameter) for moment, key in keys.items()
            }


@torch.no_grad()
def restore_weights(checkpoint: Checkpoint, model: nn.Module) -> None:
    """Put a checkpoint's weights into `model`, in place."""
    for name, parameter in trained(model).items():
        parameter.copy_(checkpoint.weights[name])


def _placed(value: Tensor, moment: str, parameter: nn.Parameter) -> Tensor:
    """AdamW counts its steps on the CPU and keeps its averages beside the parameter."""
    return value if moment == "step" else value.to(parameter.device)


def remove_checkpoints(parent: Path) -> None:
    """Remove all checkpoints: the finished training stands in their place."""
    shutil.rmtree(parent, ignore_errors=True)
