"""Short trainings of the tiny model, and ways to look at them and to disturb them."""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tiny import mirrored_preferences

from cst.models.loading import LoadedModel
from cst.recipe.training import TrainingSettings
from cst.training.folder import TrainingResult, read_metrics
from cst.training.meters import StepLine
from cst.training.objectives import train

LN2 = math.log(2)


def settings(**changes: object) -> TrainingSettings:
    values: dict[str, object] = {
        "learning_rate": 5e-3,
        "per_device_train_batch_size": 4,
        "gradient_accumulation_steps": 2,
        "num_train_epochs": 3,
        "lora_r": 4,
        "lora_alpha": 8,
        "save_steps": 2,
    }
    return TrainingSettings.model_validate(values | changes)


def run(loaded: LoadedModel, folder: Path, n: int = 10, **changes: object) -> TrainingResult:
    return train(mirrored_preferences(n), loaded=loaded, settings=settings(**changes), folder=folder)


def metrics(folder: Path) -> list[StepLine]:
    return read_metrics(folder / "metrics.jsonl")


def files(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


@contextmanager
def forward_hook(loaded: LoadedModel, hook: object) -> Iterator[None]:
    handle = loaded.model.model.register_forward_hook(hook)  # the seam through which a test reaches a running training
    try:
        yield
    finally:
        handle.remove()
