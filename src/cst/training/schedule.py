"""The learning rate of each optimizer step, in closed form, so that resuming needs no scheduler state."""

import math

from cst.recipe import TrainingSettings


def learning_rate(index: int, n_steps: int, settings: TrainingSettings) -> float:
    """The rate of step `index` (from 0) of `n_steps`: that of Hugging Face's linear, cosine or constant schedule.

    The rate rises from 0 over warmup_steps or, without these, ceil(warmup_ratio * n_steps) steps; one step at least is
    left after the warm-up, so that a training of one step trains.
    """
    asked = settings.warmup_steps
    warmup = min(math.ceil(settings.warmup_ratio * n_steps) if asked is None else asked, n_steps - 1)
    if index < warmup:
        return settings.learning_rate * index / warmup
    progress = (index - warmup) / (n_steps - warmup)
    return settings.learning_rate * _decay(progress, settings)


def _decay(progress: float, settings: TrainingSettings) -> float:
    if settings.lr_scheduler_type == "linear":
        return 1 - progress
    if settings.lr_scheduler_type == "cosine":
        return (1 + math.cos(math.pi * progress)) / 2
    return 1.0
