"""What a step of training says: per row, per configuration or task, per step; and the alarm when chosen log-probs sink.

This file knows neither models nor files.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Annotated, NamedTuple, TypeAlias

import torch
from torch import Tensor

from cst.records import NOT_WRITTEN_IF_NONE, Record, Score

SINKING_NATS_PER_TOKEN = -0.2
"""Alarm where a step's chosen responses are, per token, less likely than under the reference by more than this.

That chosen log-probs fall, and mass moves to the opposite answer, is the known failure of DPO (Razin et al. 2024, arXiv
2410.08847: refusals 74.4 -> 33.4 % after tuning on refusals). The height is ours: at -0.2, a response of 100 tokens has
become e^20 times less likely."""


class RowMeters(NamedTuple):
    """Per row of a step, each [N] float64, in nats; `chosen_tokens` counts tokens, end token included."""

    loss: Tensor
    preference_loss: Tensor
    nll: Tensor
    margin: Tensor
    chosen_logps: Tensor
    rejected_logps: Tensor
    reference_chosen_logps: Tensor
    reference_rejected_logps: Tensor
    chosen_tokens: Tensor


class ConfigurationMetrics(Record):
    """Means over a step's rows of one configuration, in nats; log-probs are sums over a response."""

    rows: int
    chosen_logps: float
    rejected_logps: float
    reference_chosen_logps: float
    reference_rejected_logps: float
    margin: float
    chosen_log_ratio_per_token: float


class Evaluation(Record):
    """How the policy does after a step, on prompts and rows that it isn't tuned on.

    `metric` is what evaluations are compared by, the higher the better; None where a rate that decides isn't known.
    `scores` say how held-out prompts are answered, each with its n, unscored count and interval. `loss` is the mean
    negative log-likelihood of a token, in nats, of the `tokens` that would be learned of `rows` validation rows.
    """

    metric: float | None
    scores: tuple[Score, ...] = ()
    loss: Annotated[float | None, NOT_WRITTEN_IF_NONE] = None
    rows: Annotated[int | None, NOT_WRITTEN_IF_NONE] = None
    tokens: Annotated[int | None, NOT_WRITTEN_IF_NONE] = None

    def scalars(self) -> dict[str, float]:
        """What trackers are sent, by names such as `eval/loss` and `eval/harmless/uncensored/rate`."""
        told = {} if self.metric is None else {"eval/metric": self.metric}
        told |= {} if self.loss is None else {"eval/loss": self.loss}
        for score in self.scores:
            name = f"eval/{score.task}/{score.configuration}"
            told |= {} if score.rate is None else {f"{name}/rate": score.rate}
            told |= {f"{name}/low": score.low, f"{name}/high": score.high}
            told |= {f"{name}/n": score.n, f"{name}/unscored": score.unscored}
        return told


class StepMetrics(Record):
    """One line of metrics.jsonl: means over the rows of an optimizer step, before its update.

    `epoch` is the share of epochs done with this step. `margin` is the unscaled one; `accuracy` the share of rows where
    it is above 0. `sinking` names the configurations whose chosen log-probs raise the alarm. `evaluation` alone is of
    after the update, where one was due.
    """

    step: int
    epoch: float
    loss: float
    dpo_loss: float
    nll: float
    accuracy: float
    margin: float
    learning_rate: float
    grad_norm: float
    configurations: dict[str, ConfigurationMetrics]
    sinking: tuple[str, ...]
    evaluation: Annotated[Evaluation | None, NOT_WRITTEN_IF_NONE] = None

    def __str__(self) -> str:
        """One line for the log."""
        return f"step {self.step}: loss {self.loss:.4f}, margin {self.margin:.3f}, accuracy {self.accuracy:.2f}"

    def scalars(self) -> dict[str, float]:
        """What trackers are sent of the step."""
        return self.model_dump(exclude={"step", "configurations", "sinking", "evaluation"})


class TaskMetrics(Record):
    """A step's rows of one task: their learned tokens, and the mean negative log-likelihood of one, in nats."""

    rows: int
    tokens: int
    nll: float


class SupervisedStepMetrics(Record):
    """One line of metrics.jsonl of supervised tuning: an optimizer step, before its update.

    `loss` is the mean negative log-likelihood of the step's learned `tokens`, in nats. `epoch` is the share of epochs
    done with this step. `evaluation` alone is of after the update, where one was due.
    """

    step: int
    epoch: float
    loss: float
    learning_rate: float
    grad_norm: float
    tokens: int
    tasks: dict[str, TaskMetrics]
    evaluation: Annotated[Evaluation | None, NOT_WRITTEN_IF_NONE] = None

    def __str__(self) -> str:
        """One line for the log."""
        return f"step {self.step}: loss {self.loss:.4f}, {self.tokens} tokens"

    def scalars(self) -> dict[str, float]:
        """What trackers are sent of the step."""
        told = self.model_dump(exclude={"step", "tasks", "evaluation"})
        return told | {f"{name}/nll": part.nll for name, part in self.tasks.items()}


StepLine: TypeAlias = StepMetrics | SupervisedStepMetrics
"""A line of metrics.jsonl."""


@dataclass(frozen=True)
class Update:
    """What a step is told with: its number, the epochs done with it, its learning rate and its gradient's norm."""

    step: int
    epoch: float
    learning_rate: float
    grad_norm: float


@dataclass(frozen=True)
class Alarm:
    """The first step at which a configuration's chosen log-probs sank below SINKING_NATS_PER_TOKEN."""

    configuration: str
    step: int
    chosen_log_ratio_per_token: float

    def __str__(self) -> str:
        """One line for the terminal."""
        return (
            f"chosen log-probs are sinking under configuration {self.configuration!r}: "
            f"{self.chosen_log_ratio_per_token:.3f} nats a token against the reference at step {self.step} "
            f"(alarm below {SINKING_NATS_PER_TOKEN}). Mass may be moving to neither answer; set training.nll_weight, "
            "raise training.beta or lower training.learning_rate."
        )


def step_metrics(meters: RowMeters, configurations: Sequence[str], update: Update) -> StepMetrics:
    """The line of one step; `configurations` names each row's configuration."""
    by_name = {
        name: _configuration_metrics(RowMeters(*(column[rows] for column in meters)))
        for name, rows in _rows_of(configurations).items()
    }
    return StepMetrics(
        **asdict(update),
        loss=_mean(meters.loss),
        dpo_loss=_mean(meters.preference_loss),
        nll=_mean(meters.nll),
        accuracy=_mean((meters.margin > 0).double()),
        margin=_mean(meters.margin),
        configurations=by_name,
        sinking=tuple(n for n, m in by_name.items() if m.chosen_log_ratio_per_token < SINKING_NATS_PER_TOKEN),
    )


def supervised_step_metrics(nll: Tensor, tokens: Tensor, tasks: Sequence[str], update: Update) -> SupervisedStepMetrics:
    """The line of one step of N rows: `nll` [N] in nats, summed over a row's learned tokens, and `tokens` [N]."""
    whole = _task_metrics(nll, tokens)
    return SupervisedStepMetrics(
        **asdict(update),
        loss=whole.nll,
        tokens=whole.tokens,
        tasks={name: _task_metrics(nll[rows], tokens[rows]) for name, rows in _rows_of(tasks).items()},
    )


def _task_metrics(nll: Tensor, tokens: Tensor) -> TaskMetrics:
    return TaskMetrics(rows=len(nll), tokens=int(tokens.sum()), nll=float(nll.sum() / tokens.sum()))


def _rows_of(names: Sequence[str]) -> dict[str, Tensor]:
    """A mask of the rows of each name, [N] bool."""
    return {name: torch.tensor([other == name for other in names]) for name in sorted(set(names))}


def _configuration_metrics(meters: RowMeters) -> ConfigurationMetrics:
    log_ratios = meters.chosen_logps - meters.reference_chosen_logps
    return ConfigurationMetrics(
        rows=len(meters.margin),
        chosen_logps=_mean(meters.chosen_logps),
        rejected_logps=_mean(meters.rejected_logps),
        reference_chosen_logps=_mean(meters.reference_chosen_logps),
        reference_rejected_logps=_mean(meters.reference_rejected_logps),
        margin=_mean(meters.margin),
        chosen_log_ratio_per_token=float(log_ratios.sum() / meters.chosen_tokens.sum()),
    )


def _mean(values: Tensor) -> float:
    return float(values.mean())


def alarms(metrics: Sequence[StepLine]) -> tuple[Alarm, ...]:
    """The first alarm of each configuration, in the order of the steps; of preferences alone."""
    found: dict[str, Alarm] = {}
    for line in metrics:
        if isinstance(line, StepMetrics):
            for name in line.sinking:
                found.setdefault(name, Alarm(name, line.step, line.configurations[name].chosen_log_ratio_per_token))
    return tuple(found.values())
