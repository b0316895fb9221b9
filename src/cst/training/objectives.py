"""What a training minimises: `train` on preferences, `fine_tune` on demonstrations, and the objective of each.

Both hand their rows and their objective to `loop.tune`. The preference losses themselves are in loss.py.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal, final

import torch
from accelerate import Accelerator
from torch import Tensor

from cst.errors import TrainingError
from cst.models.loading import LoadedModel
from cst.models.logps import ResponseLogps
from cst.recipe.training import TrainingSettings
from cst.records import Demonstration, Preference
from cst.store import describe_callable, fingerprint
from cst.training.batches import (
    Row,
    fingerprint_of_tokens,
    fitted,
    tokenize,
    tokenize_demonstrations,
    with_inputs,
)
from cst.training.evaluating import EvaluationSet, HeldOut
from cst.training.folder import REFERENCE, Counts, TrainingResult
from cst.training.loop import TrainingJob, tune
from cst.training.loss import PairLogps, PreferenceLoss, dpo_loss, ipo_loss, loss_at_reference, margin_of, nll_of
from cst.training.meters import (
    RowMeters,
    StepMetrics,
    SupervisedStepMetrics,
    Update,
    step_metrics,
    supervised_step_metrics,
)
from cst.training.scoring import Scorer, reference_logps
from cst.training.step import with_precision

FIRST_LOSS_TOLERANCE = 1e-4
"""How far the first loss may be from ln 2, in nats, with float32 weights: what low bits of batching leave open."""

FIRST_LOSS_TOLERANCE_BF16 = 1e-2
"""The same where weights or arithmetic have 16 bits or fewer."""


def train(
    preferences: Sequence[Preference],
    *,
    loaded: LoadedModel,
    settings: TrainingSettings,
    folder: Path,
    held_out: HeldOut | None = None,
    description: str = "training",
    loss: PreferenceLoss | None = None,
) -> TrainingResult:
    """Tune `loaded.model` on the preferences; everything that comes of it is in `folder` (see `loop.tune`).

    Every `training.eval_steps`, and after the last step, `held_out` is asked what the policy scores; what comes of it
    is for `training` to say. `loss` takes the place of the one that `training.loss_type` names; it is part of what the
    folder is a training of.

    Raises:
        TrainingError: As for `loop.tune`; a row is too long; the settings are those of supervised tuning; or `loss` and
            a `loss_type` are both given.
    """
    settings = _settings_of(settings, loaded, "dpo")
    if settings.loss is not None and loss is None:
        raise TrainingError(f"training.loss={settings.loss} is a loss of your own; pass it: cst.train(..., loss=...).")
    if loss is not None and settings.loss_type != "sigmoid":
        raise TrainingError(f"training.loss_type={settings.loss_type} and loss={loss!r} are two losses; leave one out.")
    max_length, where = _length_limit(loaded, settings)
    tokenized = tokenize(preferences, loaded.renderer)
    rows = fitted(tokenized, max_length, drop_long=settings.drop_long, where=where)
    start, evaluation_set = _start_of(loaded, settings, rows), EvaluationSet(held_out)

    def objective(scorer: Scorer, accelerator: Accelerator) -> PreferenceObjective:
        file, model = folder / REFERENCE, loaded.model.eval()
        reference = reference_logps(
            rows, model=model, scorer=scorer, accelerator=accelerator, settings=settings, file=file, identity=start
        )
        return PreferenceObjective(rows, reference.to(accelerator.device), settings, file, loss)

    identity = {"reference": start, **_identity_of(settings, evaluation_set)}
    if loss is not None:
        identity["loss"] = describe_callable(loss)
    counts = Counts(rows=len(rows), dropped=len(tokenized) - len(rows))
    job = TrainingJob(rows, counts, identity, objective, evaluation_set)
    return tune(job, loaded=loaded, settings=settings, folder=folder, description=description)


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
    what the policy scores; what comes of it is for `training` to say. Rows over the length limit are rejected, dropped
    or cut, as `training` says, among the validation rows too.

    Raises:
        TrainingError: As for `loop.tune`; a row is too long; or the settings are those of `method: dpo`.
    """
    settings = _settings_of(settings, loaded, "sft")
    rows = _demonstrated(demonstrations, loaded, settings)
    evaluation_set = EvaluationSet(held_out, _demonstrated(validation, loaded, settings) if validation else ())
    identity = {"start": _start_of(loaded, settings, rows), **_identity_of(settings, evaluation_set)}
    counts = Counts(len(rows), dropped=len(demonstrations) - len(rows), cut=sum(row.cut for row in rows))
    job = TrainingJob(rows, counts, identity, lambda _scorer, _accelerator: SupervisedObjective(rows), evaluation_set)
    return tune(job, loaded=loaded, settings=settings, folder=folder, description=description)


def _settings_of(settings: TrainingSettings, loaded: LoadedModel, method: Literal["dpo", "sft"]) -> TrainingSettings:
    """The settings with their precision decided, if they are those of `method`."""
    if settings.method != method:
        function = {"dpo": "cst.train", "sft": "cst.fine_tune"}[method]
        raise TrainingError(
            f"training.method is {settings.method}, and {function} is for {method}. Set method={method}, or call the "
            "other function (cst.train for dpo, cst.fine_tune for sft)."
        )
    return with_precision(settings, loaded.model)


def _demonstrated(
    demonstrations: Sequence[Demonstration], loaded: LoadedModel, settings: TrainingSettings
) -> list[Row]:
    max_length, where = _length_limit(loaded, settings)
    tokenized = tokenize_demonstrations(demonstrations, loaded.renderer)
    rows = fitted(tokenized, max_length, cut_long=settings.cut_long, drop_long=settings.drop_long, where=where)
    return [with_inputs(row) for row in rows] if settings.train_on_inputs else rows


def _length_limit(loaded: LoadedModel, settings: TrainingSettings) -> tuple[int, str]:
    """The longest row in tokens, and what sets the limit."""
    longest = getattr(loaded.model.config.get_text_config(), "max_position_embeddings", None)
    if settings.max_length is None:
        return (longest or 2**31), f"the model's limit of {longest} tokens"
    if longest is not None and settings.max_length > longest:
        raise TrainingError(
            f"training.max_length={settings.max_length} is more than the {longest} tokens that {loaded.path} takes; "
            f"set it to {longest} at most."
        )
    return settings.max_length, f"training.max_length={settings.max_length}"


def _start_of(loaded: LoadedModel, settings: TrainingSettings, rows: Sequence[Row]) -> dict[str, str]:
    """What log-probs of the rows under the start model depend on, by name."""
    return {
        "weights": loaded.fingerprint,
        "template": fingerprint(loaded.renderer.describe()),
        "tokens": fingerprint_of_tokens(rows),
        "dtype": f"{loaded.model.dtype}, mixed_precision={settings.mixed_precision}",
    }


def _identity_of(settings: TrainingSettings, evaluation_set: EvaluationSet) -> dict[str, Any]:
    """What tuned weights depend on besides the start model and the rows."""
    apart = {"logging_steps", "save_steps", "reference", "report_to", "gradient_checkpointing"}
    return {"training": settings.model_dump(mode="json", exclude=apart), **evaluation_set.identity}


@final
@dataclass(frozen=True)
class PreferenceObjective:
    """Chosen responses before rejected ones, by a preference loss; satisfies `step.Objective`.

    `reference` [N, 2] float64: log-probs of chosen and rejected under the start model, in nats, on the device; `file`
    is where they are kept. `loss` is a user's own; without one it is that of `training.loss_type`.
    """

    width: ClassVar[int] = len(RowMeters._fields)

    rows: Sequence[Row]
    reference: Tensor
    settings: TrainingSettings
    file: Path
    loss: PreferenceLoss | None = None

    def units(self, rows: Sequence[int]) -> int:
        """The loss of a step is a mean over rows."""
        return len(rows)

    def terms(self, rows: Sequence[int], scored: ResponseLogps) -> tuple[Tensor, Tensor]:
        """See Objective; log-probs are [B, 2], chosen and rejected.

        Raises:
            TrainingError: A user's loss doesn't give one number a row.
        """
        settings = self.settings
        policy, reference = _pair(scored.logps, scored.lengths), _pair(self.reference[list(rows)], scored.lengths)
        preference_loss = (self.loss or (ipo_loss if settings.loss_type == "ipo" else dpo_loss))(
            policy, reference, beta=settings.beta
        )
        if preference_loss.shape != (len(rows),):
            raise TrainingError(
                f"loss={self.loss!r} gave {list(preference_loss.shape)} numbers for {len(rows)} rows; give each row's "
                "own loss, unreduced."
            )
        nll = nll_of(policy)
        loss = preference_loss + settings.nll_weight * nll if settings.nll_weight else preference_loss
        meters = RowMeters(
            loss=loss,
            preference_loss=preference_loss,
            nll=nll,
            margin=margin_of(policy, reference),
            chosen_logps=policy.chosen.logps,
            rejected_logps=policy.rejected.logps,
            reference_chosen_logps=reference.chosen.logps,
            reference_rejected_logps=reference.rejected.logps,
            chosen_tokens=policy.chosen.lengths,
        )
        return loss, torch.stack(meters, dim=1).detach()

    def line(self, rows: Sequence[int], meters: Tensor, update: Update) -> StepMetrics:
        """See Objective."""
        return step_metrics(RowMeters(*meters.unbind(1)), [self.rows[row].group for row in rows], update)

    def check_start(self, meters: Tensor, *, is_exact: bool) -> None:
        """Before its first update the policy is the reference, so that every margin is 0; see Objective.

        What a user's loss is then isn't known, and isn't checked.
        """
        if self.loss is not None:
            return
        settings, found = self.settings, float(RowMeters(*meters.unbind(1)).preference_loss.mean())
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


@final
@dataclass(frozen=True)
class SupervisedObjective:
    """Negative log-likelihood of the learned tokens of a step, divided by their number; satisfies `step.Objective`.

    Every token has the same weight, however rows are split over passes and processes: what Hugging Face's trainer calls
    `num_items_in_batch`.
    """

    width: ClassVar[int] = 2
    """Meters are the loss and the learned tokens."""

    rows: Sequence[Row]

    def units(self, rows: Sequence[int]) -> int:
        """The loss of a step is a mean over tokens."""
        return sum(self.rows[row].learned for row in rows)

    def terms(self, rows: Sequence[int], scored: ResponseLogps) -> tuple[Tensor, Tensor]:
        """See Objective; log-probs are [B, 1]."""
        del rows
        loss = -scored.logps[:, 0]
        return loss, torch.stack([loss.detach(), scored.lengths[:, 0]], dim=1)

    def line(self, rows: Sequence[int], meters: Tensor, update: Update) -> SupervisedStepMetrics:
        """See Objective."""
        nll, tokens = meters.unbind(1)
        return supervised_step_metrics(nll, tokens, [self.rows[row].group for row in rows], update)

    def check_start(self, meters: Tensor, *, is_exact: bool) -> None:
        """Nothing is known of a start model's loss: see Objective."""
