"""Supervised tuning: demonstrations through the loop of every training, and the loss that they are learned by.

This file knows neither plan nor files.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import final

import torch
from accelerate import Accelerator
from torch import Tensor

from cst.models.loading import LoadedModel
from cst.recipe import TrainingSettings
from cst.records import Demonstration
from cst.training.demonstrations import (
    TokenizedDemonstration,
    fitted,
    tokenize_demonstrations,
    with_inputs,
)
from cst.training.evaluating import EvaluationSet, HeldOut
from cst.training.logps import ResponseLogps
from cst.training.loop import TrainingJob, check_method, identity_of, length_limit, start_of, tune
from cst.training.meters import SupervisedStepMetrics, supervised_step_metrics
from cst.training.precision import with_precision
from cst.training.results import Counts, TrainingResult
from cst.training.scoring import Scorer


def fine_tune(
    demonstrations: Sequence[Demonstration],
    *,
    loaded: LoadedModel,
    settings: TrainingSettings,
    folder: Path,
    validation: Sequence[Demonstration] = (),
    held_out: HeldOut | None = None,
    description: str = "supervised tuning",
) -> TrainingResult:
    """Tune `loaded.model` on the demonstrations; everything that comes of it is in `folder` (see `loop.tune`).

    The response and its end token are learned or, with `training.train_on_inputs`, every token of a row. After the
    last step, and every `training.eval_steps`, the loss of the `validation` rows is measured and `held_out` is asked
    what the policy scores; what comes of it is for `training` to say. Rows over the length limit are refused, dropped
    or cut, as `training` says, among the validation rows too.

    Raises:
        TrainingError: As for `loop.tune`; a row is too long; or the settings are those of `method: dpo`.
    """
    check_method(settings, "sft", "cst.fine_tune")
    settings = with_precision(settings, loaded.model)
    rows = _rows(demonstrations, loaded, settings)
    evaluation_set = EvaluationSet(held_out, _rows(validation, loaded, settings) if validation else ())

    def objective(scorer: Scorer, accelerator: Accelerator) -> SupervisedObjective:
        del scorer, accelerator  # nothing has to be known of the start model
        return SupervisedObjective(rows)

    identity = {"start": start_of(loaded, settings, rows), **identity_of(settings, evaluation_set)}
    counts = Counts(len(rows), dropped=len(demonstrations) - len(rows), cut=sum(row.cut for row in rows))
    job = TrainingJob(rows, counts, identity, objective, evaluation_set)
    return tune(job, loaded=loaded, settings=settings, folder=folder, description=description)


def _rows(
    demonstrations: Sequence[Demonstration], loaded: LoadedModel, settings: TrainingSettings
) -> list[TokenizedDemonstration]:
    max_length, where = length_limit(loaded, settings)
    tokenized = tokenize_demonstrations(demonstrations, loaded.renderer)
    rows = fitted(tokenized, max_length, cut_long=settings.cut_long, drop_long=settings.drop_long, where=where)
    return [with_inputs(row) for row in rows] if settings.train_on_inputs else rows


@final
@dataclass(frozen=True)
class SupervisedObjective:
    """Negative log-likelihood of the learned tokens of a step, divided by their number; satisfies `Objective`.

    Every token has the same weight, however rows are split over passes and processes: what Hugging Face's trainer calls
    `num_items_in_batch`.
    """

    rows: Sequence[TokenizedDemonstration]

    @property
    def width(self) -> int:
        """Loss and learned tokens."""
        return 2

    def units(self, rows: Sequence[int]) -> int:
        """The loss of a step is a mean over tokens."""
        return sum(self.rows[row].labels for row in rows)

    def terms(self, rows: Sequence[int], scored: ResponseLogps) -> tuple[Tensor, Tensor]:
        """See Objective; log-probs are [B, 1]."""
        del rows
        loss = -scored.logps[:, 0]
        return loss, torch.stack([loss.detach(), scored.lengths[:, 0]], dim=1)

    def line(
        self, rows: Sequence[int], meters: Tensor, *, step: int, epoch: float, learning_rate: float, grad_norm: float
    ) -> SupervisedStepMetrics:
        """See Objective."""
        nll, tokens = meters.unbind(1)
        tasks = [self.rows[row].task for row in rows]
        return supervised_step_metrics(
            nll, tokens, tasks, step=step, epoch=epoch, learning_rate=learning_rate, grad_norm=grad_norm
        )

    def check_start(self, meters: Tensor, *, is_exact: bool) -> None:
        """Nothing is known of a start model's loss: see Objective."""
