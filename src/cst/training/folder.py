"""A training's folder: what it is a training of, where it stands, and what came out.

    training.json           what is trained on what, written first; another training is rejected
    reference.safetensors   log-probs under the start model, where the loss needs them
    metrics.jsonl           one line an optimizer step
    checkpoints/            while it runs: step-000010/ with trained weights, AdamW's moments, and the lines so far
    snapshots/step-000010/  adapters along the way, if asked for
    adapter/ or model/      what was tuned
    result.json             written last

Safetensors and JSON, no pickle, and nothing depends on the clock. A checkpoint is a folder renamed into place when it
is whole, so that whatever kills the process, the last one is good; the one before it is kept too, should the disk spoil
the last. Random numbers need no state: each step draws from (seed, step). This file knows tensors by name only, and
nothing of the loss.
"""

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any, cast

import torch
from pydantic import ConfigDict, Field
from torch import Tensor, nn
from torch.optim import AdamW

from cst.errors import DataError, ModelError, TrainingError
from cst.models.tensors import load_tensors, save_tensors, whole_folder
from cst.records import Record
from cst.store import (
    fingerprint_of_file,
    parse_record,
    read_json,
    read_records,
    read_text,
    stream_records,
    write_json,
    write_records,
)
from cst.training.meters import Alarm, StepLine, StepMetrics, SupervisedStepMetrics, alarms

REFERENCE, METRICS, CHECKPOINTS, SNAPSHOTS = "reference.safetensors", "metrics.jsonl", "checkpoints", "snapshots"
IDENTITY, _RESULT = "training.json", "result.json"
_WEIGHTS, _OPTIMIZER, _STATE = "weights.safetensors", "optimizer.safetensors", "state.json"


@dataclass(frozen=True)
class Counts:
    """How many rows were trained on, of which `cut` ones had been cut, and how many were `dropped` for their length."""

    rows: int
    dropped: int
    cut: int = 0


@dataclass(frozen=True)
class TrainingResult:
    """What a training came to. Losses are those of the first and the last step.

    `adapter` is the folder of the adapter, or None where all weights were trained; then `model` is the folder of the
    model. `dropped` rows were over the length limit; of the `rows` that were not, `cut` ones had been cut there.
    `best_step` is that of the best evaluation, None without one.
    """

    steps: int
    rows: int
    dropped: int
    first_loss: float
    last_loss: float
    adapter: Path | None
    model: Path | None
    alarms: tuple[Alarm, ...]
    best_step: int | None = None
    cut: int = 0


class Outcome(Record):
    """result.json."""

    steps: int
    rows: int
    dropped: int
    cut: Annotated[int, Field(exclude_if=lambda rows: not rows)] = 0
    first_loss: float
    last_loss: float
    tuned: str
    best_step: int | None = None


def compare_identity(folder: Path, identity: dict[str, Any]) -> None:
    """Make sure that `folder` is empty of trainings, or holds one of this identity (nested values with names).

    Raises:
        TrainingError: It holds another; the message names what differs.
    """
    if not (folder / IDENTITY).exists():
        return
    stored, wanted = _flat(read_json(folder / IDENTITY)), _flat(identity)
    changed = sorted(name for name in stored.keys() | wanted.keys() if stored.get(name) != wanted.get(name))
    if changed:
        name = changed[0]
        raise TrainingError(
            f"{folder} holds another training: {', '.join(changed)} differ ({name} was {short(stored.get(name))} and "
            f"is {short(wanted.get(name))}). Train in another folder, or remove this one."
        )


def _flat(value: object, name: str = "") -> dict[str, str]:
    if not isinstance(value, dict):
        return {name: repr(value)}
    items = cast(dict[str, object], value).items()
    return {inner: text for key, part in items for inner, text in _flat(part, f"{name}.{key}".lstrip(".")).items()}


def short(text: str | None) -> str:
    """Enough of a value to tell two apart, for a message: 12 digits of a hash, 40 characters of anything else."""
    if text is None:
        return "absent"
    bare = text.strip("'")
    return bare[:12] if len(bare) == 64 else text if len(text) <= 40 else text[:37] + "..."


def write_result(
    folder: Path, metrics: Sequence[StepLine], counts: Counts, *, tuned: Path, best_step: int | None
) -> None:
    """Say that the training is finished."""
    outcome = Outcome(
        steps=len(metrics),
        **asdict(counts),
        first_loss=metrics[0].loss,
        last_loss=metrics[-1].loss,
        tuned=tuned.name,
        best_step=best_step,
    )
    write_json(folder / _RESULT, outcome)


def read_result(folder: Path) -> TrainingResult | None:
    """The result of a finished training, or None.

    Raises:
        DataError: It is damaged.
    """
    if not (folder / _RESULT).exists():
        return None
    outcome = parse_record(read_text(folder / _RESULT), Outcome, str(folder / _RESULT))
    tuned = folder / outcome.tuned
    return TrainingResult(
        **outcome.model_dump(exclude={"tuned"}),
        adapter=tuned if outcome.tuned == "adapter" else None,
        model=tuned if outcome.tuned == "model" else None,
        alarms=alarms(read_metrics(folder / METRICS)),
    )


class _AnyLine(Record):
    """A line of metrics.jsonl, as far as it says of which method it is."""

    model_config = ConfigDict(extra="ignore")

    tasks: dict[str, Any] | None = None


def read_metrics(file: Path) -> list[StepLine]:
    """The lines of a metrics.jsonl, of whichever method.

    Raises:
        DataError: The file is missing, or a line isn't such a record; the message names file and line.
    """
    first = next(stream_records(file, _AnyLine), _AnyLine())
    return [*read_records(file, StepMetrics if first.tasks is None else SupervisedStepMetrics)]


@dataclass(frozen=True)
class Checkpoint:
    """A training after `step` optimizer steps; tensors are on the CPU, by parameter name (moments: `moment/name`)."""

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
        save_tensors(partial / _WEIGHTS, parameters)
        save_tensors(partial / _OPTIMIZER, _moments(parameters, optimizer))
        write_records(partial / METRICS, metrics)
        sums = {name: fingerprint_of_file(partial / name) for name in (_WEIGHTS, _OPTIMIZER, METRICS)}
        write_json(partial / _STATE, CheckpointState(step=step, sha256=sums))
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
        state = parse_record(read_text(folder / _STATE), CheckpointState, str(folder / _STATE))
        changed = [name for name, expected in state.sha256.items() if fingerprint_of_file(folder / name) != expected]
        if changed:
            raise DataError(f"{changed[0]} has changed since it was written")
        return Checkpoint(
            step=state.step,
            metrics=read_metrics(folder / METRICS),
            weights=load_tensors(folder / _WEIGHTS),
            moments=load_tensors(folder / _OPTIMIZER),
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
            optimizer.state[parameter] = {  # AdamW counts its steps on the CPU, its averages lie beside the parameter
                moment: checkpoint.moments[key].to("cpu" if moment == "step" else parameter.device)
                for moment, key in keys.items()
            }


@torch.no_grad()
def restore_weights(checkpoint: Checkpoint, model: nn.Module) -> None:
    """Put a checkpoint's weights into `model`, in place."""
    for name, parameter in trained(model).items():
        parameter.copy_(checkpoint.weights[name])


def remove_checkpoints(parent: Path) -> None:
    """Remove all checkpoints: the finished training stands in their place."""
    shutil.rmtree(parent, ignore_errors=True)
