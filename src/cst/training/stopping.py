"""What evaluations decide: which step was the best, and when to stop.

Functions of the lines of metrics alone, so that a training that is resumed decides as it would have. This file knows
neither models nor files.
"""

from collections.abc import Collection, Sequence
from math import inf
from statistics import fmean
from typing import Literal

from cst.recipe import TrainingSettings
from cst.records import Score
from cst.training.meters import StepLine


def metric_of(
    scores: Sequence[Score], configurations: Collection[str], kind: Literal["worst_rate", "mean_rate"]
) -> float | None:
    """The lowest or the mean rate under `configurations`; None where one of them isn't known, or there is none.

    The lowest, so that control under one configuration can't be bought with another's: DPO's collapse is a high mean of
    what is left.
    """
    rates = [score.rate for score in scores if score.configuration in configurations]
    known = [rate for rate in rates if rate is not None]
    if not known or len(known) < len(rates):
        return None
    return min(known) if kind == "worst_rate" else fmean(known)


def best_step(metrics: Sequence[StepLine]) -> int | None:
    """The step of the highest metric, of equals the first; None where no metric is known."""
    known = [(line.evaluation.metric, line.step) for line in metrics if line.evaluation is not None]
    found = [(metric, -step) for metric, step in known if metric is not None]
    return -max(found)[1] if found else None


def is_enough(metrics: Sequence[StepLine], settings: TrainingSettings) -> bool:
    """Whether the last `early_stopping_patience` evaluations brought no improvement.

    As in Hugging Face's EarlyStoppingCallback, an evaluation improves on the best before it by more than the threshold,
    or doesn't; one whose metric isn't known doesn't.
    """
    if settings.early_stopping_patience is None:
        return False
    best, without = -inf, 0
    for line in metrics:
        if line.evaluation is not None:
            metric = -inf if line.evaluation.metric is None else line.evaluation.metric
            without = 0 if metric - best > settings.early_stopping_threshold else without + 1
            best = max(best, metric)
    return without >= settings.early_stopping_patience
