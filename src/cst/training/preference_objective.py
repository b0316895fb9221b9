"""The objective of preferences: DPO's loss against the reference, or IPO's, and what is told of it.

This file knows neither models nor tokens, and no plan.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import final

from torch import Tensor

from cst.errors import TrainingError
from cst.recipe import TrainingSettings
from cst.training.batches import TokenizedPreference
from cst.training.logps import ResponseLogps
from cst.training.loss import PairLogps, dpo_loss, loss_at_reference
from cst.training.meters import RowMeters, StepMetrics, step_metrics

FIRST_LOSS_TOLERANCE = 1e-4
"""How far the first loss may be from ln 2, in nats, with float32 weights: what low bits of batching leave open."""

FIRST_LOSS_TOLERANCE_BF16 = 1e-2
"""The same where weights or arithmetic have 16 bits or fewer."""


@final
@dataclass(frozen=True)
class PreferenceObjective:
    """Chosen responses before rejected ones; satisfies `objective.Objective`.

    `reference` [N, 2] float64: log-probs of chosen and rejected under the start model, in nats, on the device; `file`
    is where they are kept.
    """

    rows: Sequence[TokenizedPreference]
    reference: Tensor
    settings: TrainingSettings
    file: Path

    @property
    def width(self) -> int:
        """See Objective."""
        return RowMeters.width()

    def units(self, rows: Sequence[int]) -> int:
        """The loss of a step is a mean over rows."""
        return len(rows)

    def terms(self, rows: Sequence[int], scored: ResponseLogps) -> tuple[Tensor, Tensor]:
        """See Objective; log-probs are [B, 2], chosen and rejected."""
        policy = _pair(scored.logps, scored.lengths)
        reference = _pair(self.reference[list(rows)], scored.lengths)
        settings = self.settings
        terms = dpo_loss(
            policy, reference, beta=settings.beta, loss_type=settings.loss_type, nll_weight=settings.nll_weight
        )
        meters = RowMeters(
            loss=terms.loss.detach(),
            preference_loss=terms.preference_loss.detach(),
            nll=terms.nll.detach(),
            margin=terms.margin.detach(),
            chosen_logps=policy.chosen.logps.detach(),
            rejected_logps=policy.rejected.logps.detach(),
            reference_chosen_logps=reference.chosen.logps,
            reference_rejected_logps=reference.rejected.logps,
            chosen_tokens=policy.chosen.lengths,
        )
        return terms.loss, meters.stacked()

    def line(
        self, rows: Sequence[int], meters: Tensor, *, step: int, epoch: float, learning_rate: float, grad_norm: float
    ) -> StepMetrics:
        """See Objective."""
        return step_metrics(
            RowMeters.unstacked(meters),
            [self.rows[row].configuration for row in rows],
            step=step,
            epoch=epoch,
            learning_rate=learning_rate,
            grad_norm=grad_norm,
        )

    def check_start(self, meters: Tensor, *, is_exact: bool) -> None:
        """Before its first update the policy is the reference, so that every margin is 0; see Objective."""
        settings, found = self.settings, float(RowMeters.unstacked(meters).preference_loss.mean())
        tolerance = FIRST_LOSS_TOLERANCE if is_exact else FIRST_LOSS_TOLERANCE_BF16
        expected, slope = loss_at_reference(settings.beta, settings.loss_type)
        if abs(found - expected) > tolerance * max(1.0, slope):
            raise TrainingError(
                f"The first {settings.loss_type} loss is {found:.6f}, and a policy that is still the reference has "
                f"{expected:.6f} (tolerance {tolerance}). Either the start model's dropout is on, or "
                f"{self.file} is of another model: remove it and train again."
            )


def _pair(logps: Tensor, lengths: Tensor) -> PairLogps:
    """Of [B, 2] each, chosen first."""
    chosen, rejected = (ResponseLogps(*column) for column in zip(logps.unbind(1), lengths.unbind(1), strict=True))
    return PairLogps(chosen, rejected)
