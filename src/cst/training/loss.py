"""The preference losses, as pure functions of log-probs: what a step of `cst.train` minimises.

A loss takes the log-probs of chosen and rejected responses under policy and reference, and gives one number a row; the
mean over the rows of an optimizer step is minimised (objectives.py). DPO's and IPO's are here; `cst.train(loss=...)`
takes any other `PreferenceLoss`. This file knows no model, no token and no file.
"""

import math
from dataclasses import dataclass
from typing import Literal, Protocol

from torch import Tensor
from torch.nn import functional

from cst.models.logps import ResponseLogps

LossType = Literal["sigmoid", "ipo"]


@dataclass(frozen=True)
class PairLogps:
    """Chosen and rejected responses of the same B rows under one model."""

    chosen: ResponseLogps
    rejected: ResponseLogps


class PreferenceLoss(Protocol):
    """A preference loss: a function, or an object whose repr names its settings, such as a frozen dataclass."""

    def __call__(self, policy: PairLogps, reference: PairLogps, *, beta: float) -> Tensor:
        """The loss of each row, [B] float64 with its gradient; log-probs are in nats, summed over a response."""
        ...


def dpo_loss(policy: PairLogps, reference: PairLogps, *, beta: float) -> Tensor:
    """-log sigmoid(beta * h): Rafailov et al. 2023 (arXiv 2305.18290), equation 7."""
    return -functional.logsigmoid(beta * margin_of(policy, reference))  # eq. 7


def ipo_loss(policy: PairLogps, reference: PairLogps, *, beta: float) -> Tensor:
    """(h - 1 / (2 beta))^2: Azar et al. 2023 (arXiv 2310.12036), equation 17, with beta for their tau.

    Here h is of log-ratios averaged over each response's tokens, as in trl, whose authors confirmed with those of IPO
    that the paper's results are of this form.
    """
    chosen = (policy.chosen.logps - reference.chosen.logps) / policy.chosen.lengths
    rejected = (policy.rejected.logps - reference.rejected.logps) / policy.rejected.lengths
    return (chosen - rejected - 1 / (2 * beta)) ** 2  # eq. 17


def margin_of(policy: PairLogps, reference: PairLogps) -> Tensor:
    """The chosen log-ratio minus the rejected one, unscaled, in nats [B]: the paper's h."""
    return (policy.chosen.logps - reference.chosen.logps) - (policy.rejected.logps - reference.rejected.logps)


def nll_of(policy: PairLogps) -> Tensor:
    """The chosen response's mean NLL per token, in nats [B]: the anchor that `training.nll_weight` adds to a loss.

    It is the NLL term of RPO (Liu et al. 2024, arXiv 2405.16436) and of Pang et al. 2024 (arXiv 2404.19733), normalised
    by each response's own length, so that no row's weight depends on its neighbours. (trl's `sft` term pools the tokens
    of a batch instead: the same at one row, or at equal lengths.)
    """
    return -policy.chosen.logps / policy.chosen.lengths


def loss_at_reference(beta: float, loss_type: LossType) -> tuple[float, float]:
    """The loss where policy and reference are one model, and its slope there (absolute, per nat of margin).

    DPO's is -log sigmoid(0) = ln 2; IPO's is 1 / (2 beta)^2.
    """
    return (math.log(2), beta / 2) if loss_type == "sigmoid" else (1 / (2 * beta) ** 2, 1 / beta)
