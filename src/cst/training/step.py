"""One optimizer step: gradients of its rows, summed over forward passes and processes, and the update.

The loss of a step is the mean over all its rows. How those rows are split into forward passes and over processes is a
matter of memory and speed: each row's gradient is weighed by 1 / rows, and the gradients are summed. This file knows
no plan and writes no file.
"""

from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import torch
from accelerate import Accelerator
from torch import Tensor, nn
from torch.optim import AdamW

from cst.errors import TrainingError
from cst.models.quantization import is_exact
from cst.recipe import TrainingSettings
from cst.store import fingerprint
from cst.training.batches import TokenizedPreference
from cst.training.checkpoints import checkpoints, trained
from cst.training.logps import ResponseLogps
from cst.training.loss import PairLogps, dpo_loss, loss_at_reference
from cst.training.meters import RowMeters, StepMetrics, step_metrics
from cst.training.packed import language_model
from cst.training.results import CHECKPOINTS, REFERENCE
from cst.training.scoring import Scorer
from cst.training.sharding import passes

FIRST_LOSS_TOLERANCE = 1e-4
"""How far the first loss may be from ln 2, in nats, with float32 weights: what low bits of batching leave open."""

FIRST_LOSS_TOLERANCE_BF16 = 1e-2
"""The same where weights or arithmetic have 16 bits or fewer."""


@dataclass(frozen=True)
class Work:
    """What every step needs and none changes, but for the policy's weights.

    `reference` [N, 2] float64: log-probs of chosen and rejected under the start model, in nats, on the device.
    """

    rows: Sequence[TokenizedPreference]
    reference: Tensor
    policy: nn.Module
    settings: TrainingSettings
    accelerator: Accelerator
    scorer: Scorer
    folder: Path


def autocast(accelerator: Accelerator, settings: TrainingSettings) -> torch.autocast:
    """The forward pass in bfloat16, if asked for: not accelerate's, which fixes one type for the life of a process."""
    return torch.autocast(accelerator.device.type, torch.bfloat16, enabled=settings.mixed_precision == "bf16")


def make_optimizer(policy: nn.Module, settings: TrainingSettings) -> AdamW:
    """AdamW with torch's betas and epsilon; only matrices decay, as in Hugging Face's trainer."""
    parameters = list(trained(policy).values())
    groups = [
        {"params": [p for p in parameters if p.ndim >= 2], "weight_decay": settings.weight_decay},
        {"params": [p for p in parameters if p.ndim < 2], "weight_decay": 0.0},
    ]
    return AdamW([group for group in groups if group["params"]], lr=settings.learning_rate)


def take_step(
    work: Work, optimizer: AdamW, rows: Sequence[int], *, step: int, epoch: float, rate: float
) -> StepMetrics:
    """One optimizer step on these rows: the policy's weights change in place; the metrics are of before.

    Raises:
        TrainingError: Loss or gradient isn't finite, or the first loss isn't that of the start model.
    """
    with _seeded(work, step):
        meters = _accumulate(work, rows)
    parameters = list(trained(work.policy).values())
    _sum_over_processes(work.accelerator, parameters)
    norm = float(nn.utils.clip_grad_norm_(parameters, work.settings.max_grad_norm))
    _assert_finite(work, meters, norm, rows, step)
    names = [work.rows[row].configuration for row in rows]
    line = step_metrics(meters, names, step=step, epoch=epoch, learning_rate=rate, grad_norm=norm)
    if step == 1:
        _assert_first_loss(work, line)
    for group in optimizer.param_groups:
        group["lr"] = rate
    optimizer.step()
    optimizer.zero_grad()
    return line


@contextmanager
def _seeded(work: Work, step: int) -> Generator[None]:
    """Dropout's numbers come from seed, step and process alone, and no one else's generator moves."""
    device = work.accelerator.device
    words = fingerprint(work.settings.seed, step, work.accelerator.process_index)
    with torch.random.fork_rng([device] if device.type == "cuda" else []):
        torch.manual_seed(int(words[:15], 16))
        yield


def _accumulate(work: Work, rows: Sequence[int]) -> RowMeters:
    """Gradients of this process's share of the step, and the meters of all rows, from all processes, on the CPU."""
    accelerator = work.accelerator
    shares = work.scorer.shares(rows, work.rows, rank=accelerator.process_index, world_size=accelerator.num_processes)
    columns = torch.zeros(len(rows), RowMeters.width(), dtype=torch.float64, device=accelerator.device)
    shortest = min(range(len(rows)), key=lambda position: work.rows[rows[position]].longest)
    with work.scorer.ready(work.policy):
        for each in passes(shares, filler=shortest, model=language_model(work.policy), accelerator=accelerator):
            loss, meters = _forward(work, [rows[position] for position in each.positions])
            (loss.sum() * (each.counts / len(rows))).backward()
            if each.counts:
                columns[each.positions] = meters.stacked()
    return RowMeters.unstacked(cast(Tensor, accelerator.reduce(columns, "sum")).cpu())


def _forward(work: Work, rows: Sequence[int]) -> tuple[Tensor, RowMeters]:
    """Loss of each row, with its gradient, and the meters without: [B]."""
    settings = work.settings
    sides = [work.rows[row].chosen for row in rows] + [work.rows[row].rejected for row in rows]
    with autocast(work.accelerator, settings):
        both = work.scorer.score(work.policy, sides)
    policy = _pair(both.logps, both.lengths)
    reference = _pair(work.reference[list(rows)].T.flatten(), both.lengths)
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
    return terms.loss, meters


def _pair(logps: Tensor, lengths: Tensor) -> PairLogps:
    """Chosen rows first, rejected after them: [2 B] each."""
    chosen, rejected = logps.chunk(2)
    chosen_lengths, rejected_lengths = lengths.chunk(2)
    return PairLogps(ResponseLogps(chosen, chosen_lengths), ResponseLogps(rejected, rejected_lengths))


def _sum_over_processes(accelerator: Accelerator, parameters: Sequence[nn.Parameter]) -> None:
    """Sum each gradient over the processes, one of which may have had no row: in place.

    Torch's DistributedDataParallel does the same behind the last backward pass, and wants equally many passes of each
    process. One collective after the last pass is as good for an adapter, whose gradients are about a hundredth of the
    weights that each pass reads, and leaves processes free to have other numbers of passes.
    """
    if accelerator.num_processes == 1:
        return
    gradients = [torch.zeros_like(p) if p.grad is None else p.grad for p in parameters]
    total = cast(Tensor, accelerator.reduce(torch.cat([gradient.flatten() for gradient in gradients]), "sum"))
    for parameter, part in zip(parameters, total.split([p.numel() for p in parameters]), strict=True):
        parameter.grad = part.view_as(parameter)


def _assert_finite(work: Work, meters: RowMeters, norm: float, rows: Sequence[int], step: int) -> None:
    bad = [work.rows[row].id for row, fine in zip(rows, meters.loss.isfinite().tolist(), strict=True) if not fine]
    if not bad and torch.tensor(norm).isfinite():
        return
    what = f"the loss of {len(bad)} of {len(rows)} rows ({bad[0]!r} first)" if bad else f"the gradient norm ({norm})"
    kept = checkpoints(work.folder / CHECKPOINTS)
    last = f"The last good checkpoint is {kept[-1]}" if kept else "There is no checkpoint yet"
    raise TrainingError(
        f"Training stopped at step {step}: {what} is not finite. {last}. "
        "Lower training.learning_rate, or look at the rows, and train in another folder."
    )


def _assert_first_loss(work: Work, line: StepMetrics) -> None:
    """Before its first update the policy is the reference, so that every margin is 0."""
    settings = work.settings
    exact = settings.mixed_precision == "no" and is_exact(language_model(work.policy))
    tolerance = FIRST_LOSS_TOLERANCE if exact else FIRST_LOSS_TOLERANCE_BF16
    expected, slope = loss_at_reference(settings.beta, settings.loss_type)
    if abs(line.dpo_loss - expected) > tolerance * max(1.0, slope):
        raise TrainingError(
            f"The first {settings.loss_type} loss is {line.dpo_loss:.6f}, and a policy that is still the reference has "
            f"{expected:.6f} (tolerance {tolerance}). Either the start model's dropout is on, or "
            f"{work.folder / REFERENCE} is of another model: remove it and train again."
        )
