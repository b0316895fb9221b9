"""The preference losses, as pure functions of log-probs.

DPO is equation 7 of Rafailov et al. 2023 (arXiv 2305.18290), IPO equation 17 of Azar et al. 2023 (arXiv 2310.12036).
This file knows no model, no token and no file.
"""

import math
from dataclasses import dataclass
from typing import Literal

from torch import Tensor
from torch.nn import functional

from cst.training.logps import ResponseLogps

LossType = Literal["sigmoid", "ipo"]


@dataclass(frozen=True)
class PairLogps:
    """Chosen and rejected responses of the same N rows under one model."""

    chosen: ResponseLogps
    rejected: ResponseLogps


@dataclass(frozen=True)
class DPOTerms:
    """Per row, [N] float64, in nats (the IPO loss in squared nats).

    `loss` = `preference_loss` + nll_weight * `nll`; `margin` is the chosen log-ratio minus the rejected one, unscaled
    (the paper's h); `chosen_reward` and `rejected_reward` are beta times a log-ratio. `nll` is the chosen response's
    mean per-token NLL under the policy. Only `loss` carries a gradient on purpose.
    """

    loss: Tensor
    preference_loss: Tensor
    nll: Tensor
    margin: Tensor
    chosen_reward: Tensor
    rejected_reward: Tensor


def dpo_loss(
    policy: PairLogps, reference: PairLogps, *, beta: float, loss_type: LossType = "sigmoid", nll_weight: float = 0.0
) -> DPOTerms:
    """The loss of each row; its mean over the rows of an optimizer step is what is minimised.

    The anchor is the NLL term of RPO (Liu et al. 2024, arXiv 2405.16436) and of Pang et al. 2024 (arXiv 2404.19733),
    normalised by each response's own length, so that no row's weight depends on its neighbours. (trl's `sft` term
    pools the tokens of a batch instead: the same at one row, or at equal lengths.)
    """
    chosen = policy.chosen.logps - reference.chosen.logps
    rejected = policy.rejected.logps - reference.rejected.logps
    if loss_type == "sigmoid":
        preference_loss = sigmoid_loss(chosen - rejected, beta)
    else:
        preference_loss = ipo_loss(chosen / policy.chosen.lengths - rejected / policy.rejected.lengths, beta)
    nll = -policy.chosen.logps / policy.chosen.lengths
    return DPOTerms(
        loss=preference_loss + nll_weight * nll if nll_weight else preference_loss,
        preference_loss=preference_loss,
        nll=nll,
        margin=chosen - rejected,
        chosen_reward=beta * chosen,
        rejected_reward=beta * rejected,
    )


def sigmoid_loss(margin: Tensor, beta: float) -> Tensor:
    """-log sigmoid(beta * margin): Rafailov et al. 2023, equation 7."""
    return -functional.logsigmoid(beta * margin)


def ipo_loss(margin_per_token: Tensor, beta: float) -> Tensor:
    """(margin - 1 / (2 beta))^2: Azar et al. 2023, equation 17, with beta for their tau.

    The margin is of log-ratios averaged over each response's tokens, as in trl, whose authors confirmed with those of
    IPO that the paper's results are of this form.
    """
    return (margin_per_token - 1 / (2 * beta)) ** 2


def loss_at_reference(beta: float, loss_type: LossType) -> tuple[float, float]:
    """The loss where policy and reference are one model, and its slope there (absolute, per nat of margin).

    DPO's is -log sigmoid(0) = ln 2; IPO's is 1 / (2 beta)^2.
    """
    return (math.log(2), beta / 2) if loss_type == "sigmoid" else (1 / (2 * beta) ** 2, 1 / beta)
