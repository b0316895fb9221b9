"""Evaluation in the midst of a training: how the policy does, which step was the best, and when to stop.

Held-out prompts are answered, and validation rows scored, by the policy. What they decide is a function of the lines of
metrics alone, so that a training that is resumed decides as it would have.

What the prompts are, how they are put to a model and who judges comes from outside, as a `HeldOut`. Nothing of the
training moves: neither weights nor modes nor random numbers, so that it ends in the same bits without evaluations.
"""

from collections.abc import Collection, Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from math import inf
from statistics import fmean
from typing import Literal, Protocol, cast

from accelerate.utils import broadcast_object_list, gather_object
from torch import nn

from cst.errors import TrainingError
from cst.models.loading import LoadedModel
from cst.recipe.training import TrainingSettings
from cst.records import Completion, Score
from cst.training.batches import Row, fingerprint_of_tokens
from cst.training.meters import Evaluation, StepLine
from cst.training.scoring import logps_of_rows, not_finite
from cst.training.step import Work


class HeldOut(Protocol):
    """Held-out prompts, a way to have them answered, and a judge."""

    @property
    def fingerprint(self) -> str:
        """A hash of what is asked and how."""
        ...

    @property
    def decisive(self) -> frozenset[str]:
        """The configurations whose rates make the metric."""
        ...

    def answer(self, loaded: LoadedModel, *, rank: int, world_size: int) -> list[Completion]:
        """One process's share of the answers of `loaded.model` as it stands; each is dealt to one process.

        Draws no number from a generator that it shares, and keeps no answer for another time: the weights change.
        """
        ...

    def score(self, completions: Sequence[Completion]) -> list[Score]:
        """The scores of all answers; asked of one process alone."""
        ...


@dataclass(frozen=True)
class EvaluationSet:
    """What a policy is evaluated on: held-out prompts, rows that it isn't tuned on, both, or nothing."""

    held_out: HeldOut | None = None
    validation: Sequence[Row] = ()

    @property
    def identity(self) -> dict[str, str]:
        """A hash of each part that there is, by its name."""
        asked = {} if self.held_out is None else {"held_out": self.held_out.fingerprint}
        return asked | ({"validation": fingerprint_of_tokens(self.validation)} if self.validation else {})

    def is_due(self, step: int, *, every: int | None, last: bool) -> bool:
        """Whether the policy is evaluated after a step: every so many, and after the last."""
        if self.held_out is None and not self.validation:
            return False
        return last or (every is not None and step % every == 0)


def check_evaluation(settings: TrainingSettings, evaluation_set: EvaluationSet, *, sharded: bool) -> None:
    """Make sure that what is to be evaluated can be, and that what evaluations decide can be told by them.

    Raises:
        TrainingError: `training.eval_steps` is set and there is nothing to evaluate, or held-out prompts are there
            without it; best weights or an early end are asked for by a metric that won't be known; or prompts are to be
            answered by a model whose layers are divided among processes.
    """
    every, held_out = settings.eval_steps, evaluation_set.held_out
    if every is None and held_out is not None:
        raise TrainingError("training.eval_steps is None, and held-out prompts were given. Give both, or neither.")
    if every is not None and held_out is None and not evaluation_set.validation:
        lacking = (
            "no held-out prompts were" if settings.method == "dpo" else "neither held-out prompts nor validation rows"
        )
        raise TrainingError(f"training.eval_steps is {every}, and {lacking} given. Give both, or neither.")
    _check_metric(settings, evaluation_set)
    if held_out is not None and sharded:
        raise TrainingError(
            f"training.eval_steps={every} asks for answers of a model whose layers FSDP divides among processes. Those "
            "would have to agree on every token, which isn't supported. Launch without --use_fsdp, or leave "
            "eval_steps out and score snapshots (training.snapshot_steps, generation.curve_prompts)."
        )


def _check_metric(settings: TrainingSettings, evaluation_set: EvaluationSet) -> None:
    metric = settings.metric_for_best_model
    deciding = settings.load_best_model_at_end or settings.early_stopping_patience is not None
    there = evaluation_set.validation if metric == "eval_loss" else evaluation_set.held_out is not None
    if deciding and not there:
        needed = "validation rows" if metric == "eval_loss" else "held-out prompts"
        raise TrainingError(
            f"training.metric_for_best_model={metric} is to decide on best weights or an early end, and isn't known "
            f"without {needed}. Give some, or set another metric (worst_rate, mean_rate; with sft, eval_loss)."
        )


def evaluate(evaluation_set: EvaluationSet, loaded: LoadedModel, work: Work) -> Evaluation:
    """How the policy does as it is: the same in every process.

    Raises:
        TrainingError: The loss of a validation row isn't finite.
    """
    with _answering(work.policy):
        scores = _scores(evaluation_set.held_out, loaded, work) if evaluation_set.held_out is not None else []
        loss, tokens = _loss(evaluation_set.validation, work) if evaluation_set.validation else (None, None)
    kind = work.settings.metric_for_best_model
    if kind == "eval_loss":
        metric = None if loss is None else -loss
    else:
        metric = None if evaluation_set.held_out is None else metric_of(scores, evaluation_set.held_out.decisive, kind)
    rows = len(evaluation_set.validation) or None
    return Evaluation(metric=metric, scores=tuple(scores), loss=loss, rows=rows, tokens=tokens)


def _scores(held_out: HeldOut, loaded: LoadedModel, work: Work) -> list[Score]:
    """What held-out prompts score.

    Processes share out the answers. The first one judges them while the others wait, so that a judge is paid once.
    """
    accelerator = work.accelerator
    share = held_out.answer(loaded, rank=accelerator.process_index, world_size=accelerator.num_processes)
    completions = cast(list[Completion], gather_object(share))
    told = [held_out.score(completions) if accelerator.is_main_process else []]
    return broadcast_object_list(told)[0]


def _loss(rows: Sequence[Row], work: Work) -> tuple[float, int]:
    """Mean negative log-likelihood of a label token in nats, and how many there are; processes share out the rows."""
    accelerator, settings = work.accelerator, work.settings
    logps = logps_of_rows(rows, work.policy, work.scorer, accelerator, settings, description="validation loss")
    bad = not_finite(logps)
    if bad:
        raise TrainingError(
            f"The loss of {len(bad)} of {len(rows)} validation rows isn't finite ({rows[bad[0]].id!r} first), so the "
            "last update broke the weights. Lower training.learning_rate, and train in another folder."
        )
    tokens = sum(row.learned for row in rows)
    return -float(logps.sum()) / tokens, tokens


@contextmanager
def _answering(policy: nn.Module) -> Generator[None]:
    """All modules in evaluation mode while it is open: no dropout, no recomputation; then each in its own again."""
    modes = {module: module.training for module in policy.modules()}
    policy.eval()
    try:
        yield
    finally:
        for module, mode in modes.items():
            module.training = mode


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
