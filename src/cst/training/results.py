"""A training's folder: what it is a training of, and what came out.

    training.json           what is trained on what, written first; another training is rejected
    reference.safetensors   log-probs under the start model, where the loss needs them
    metrics.jsonl           one line an optimizer step
    checkpoints/            while it runs
    snapshots/step-000010/  adapters along the way, if asked for
    adapter/ or model/      what was tuned
    result.json             written last

Nothing in it depends on the clock. This file knows no tensor.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, cast

from pydantic import ConfigDict, Field

from cst.errors import TrainingError
from cst.records import Record
from cst.store import parse_record, read_json, read_records, read_text, stream_records, write_json
from cst.training.meters import Alarm, StepLine, StepMetrics, SupervisedStepMetrics, alarms

REFERENCE, METRICS, CHECKPOINTS, SNAPSHOTS = "reference.safetensors", "metrics.jsonl", "checkpoints", "snapshots"
_IDENTITY, _RESULT = "training.json", "result.json"


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


def tuned_folder(folder: Path, *, full: bool) -> Path:
    """Where the tuned weights go."""
    return folder / ("model" if full else "adapter")


def compare_identity(folder: Path, identity: dict[str, Any]) -> None:
    """Make sure that `folder` is empty of trainings, or holds one of this identity (nested values with names).

    Raises:
        TrainingError: It holds another; the message names what differs.
    """
    if not (folder / _IDENTITY).exists():
        return
    stored, wanted = _flat(read_json(folder / _IDENTITY)), _flat(identity)
    changed = sorted(name for name in stored.keys() | wanted.keys() if stored.get(name) != wanted.get(name))
    if changed:
        name = changed[0]
        raise TrainingError(
            f"{folder} holds another training: {', '.join(changed)} differ ({name} was {short(stored.get(name))} and "
            f"is {short(wanted.get(name))}). Train in another folder, or remove this one."
        )


def write_identity(folder: Path, identity: dict[str, Any]) -> None:
    """Say what is being trained here."""
    write_json(folder / _IDENTITY, identity)


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
        rows=counts.rows,
        dropped=counts.dropped,
        cut=counts.cut,
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
