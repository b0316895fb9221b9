"""One optimizer step: its precision, its learning rate, gradients of its rows from all processes, and the update.

The loss of a step is the sum over all its rows, divided by what the objective says. How those rows are split into
forward passes and over processes is a matter of memory and speed: each row's gradient is divided alike, and the
gradients are summed. This file knows no plan and writes no file.
"""

import math
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Protocol, cast

import torch
from accelerate import Accelerator
from peft.helpers import disable_input_dtype_casting
from torch import Tensor, nn
from torch.optim import AdamW
from transformers import PreTrainedModel

from cst.errors import TrainingError
from cst.models.loading import is_exact
from cst.models.logps import ResponseLogps
from cst.recipe.training import TrainingSettings
from cst.store import fingerprint
from cst.training.batches import Row
from cst.training.folder import CHECKPOINTS, checkpoints, trained
from cst.training.meters import StepLine, Update
from cst.training.packing.logps import language_model
from cst.training.scoring import Scorer, autocast, passes_of


class Objective(Protocol):
    """What is made of the log-probs of rows, which are known by their numbers."""

    width: ClassVar[int]
    """How many meters a row has."""

    def units(self, rows: Sequence[int]) -> int:
        """What the sum of these rows' losses is divided by to give that of a step: how many rows, or tokens."""
        ...

    def terms(self, rows: Sequence[int], scored: ResponseLogps) -> tuple[Tensor, Tensor]:
        """Of B rows with log-probs [B, sequences of a row]: losses with their gradient [B], and meters [B, width].

        Both are float64; the first meter is the loss, and none carries a gradient.
        """
        ...

    def line(self, rows: Sequence[int], meters: Tensor, update: Update) -> StepLine:
        """What is told of a step, of the meters of all its N rows, [N, width]."""
        ...

    def check_start(self, meters: Tensor, *, is_exact: bool) -> None:
        """Make sure that the meters of the first step are those of the start model, as far as that can be told.

        Low bits may differ, and more than these where the model isn't exact, but computed in 16 bits.

        Raises:
            TrainingError: They aren't.
        """
        ...


@dataclass(frozen=True)
class Work:
    """What every step needs and none changes, but for the policy's weights."""

    rows: Sequence[Row]
    objective: Objective
    policy: nn.Module
    settings: TrainingSettings
    accelerator: Accelerator
    scorer: Scorer
    folder: Path


def with_precision(settings: TrainingSettings, model: PreTrainedModel) -> TrainingSettings:
    """The settings with `mixed_precision` decided: bf16 where `model`'s weights have 16 bits, none otherwise.

    Weights of 16 bits have given up exact results for speed, and without autocast peft would compute a float32 adapter
    in float32. Weights in float32, the default on a CPU, stay exact. GPUs older than bfloat16 only emulate it.
    """
    if settings.mixed_precision != "auto":
        return settings
    computes_bf16 = model.device.type != "cuda" or torch.cuda.is_bf16_supported(including_emulation=False)
    bf16 = model.dtype in (torch.bfloat16, torch.float16) and computes_bf16
    return settings.model_copy(update={"mixed_precision": "bf16" if bf16 else "no"})


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
    decays = {"linear": 1 - progress, "cosine": (1 + math.cos(math.pi * progress)) / 2, "constant": 1.0}
    return settings.learning_rate * decays[settings.lr_scheduler_type]


def make_optimizer(policy: nn.Module, settings: TrainingSettings) -> AdamW:
    """AdamW with torch's betas and epsilon; only matrices decay, as in Hugging Face's trainer."""
    parameters = list(trained(policy).values())
    groups = [
        {"params": [p for p in parameters if p.ndim >= 2], "weight_decay": settings.weight_decay},
        {"params": [p for p in parameters if p.ndim < 2], "weight_decay": 0.0},
    ]
    return AdamW([group for group in groups if group["params"]], lr=settings.learning_rate)


def take_step(work: Work, optimizer: AdamW, rows: Sequence[int], *, step: int, epoch: float, rate: float) -> StepLine:
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
    line = work.objective.line(rows, meters, Update(step, epoch, learning_rate=rate, grad_norm=norm))
    if step == 1:
        exact = work.settings.mixed_precision == "no" and is_exact(language_model(work.policy))
        work.objective.check_start(meters, is_exact=exact)
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


def _accumulate(work: Work, rows: Sequence[int]) -> Tensor:
    """Gradients of this process's share of the step, and the meters of all rows, from all processes, on the CPU."""
    accelerator, units = work.accelerator, work.objective.units(rows)
    told = torch.zeros(len(rows), work.objective.width, dtype=torch.float64, device=accelerator.device)
    # Autocast casts what the adapter reads; peft would cast it to the adapter's float32 before that, and back again.
    casts_once = disable_input_dtype_casting(work.policy, active=work.settings.mixed_precision == "bf16")
    with work.scorer.ready(work.policy), casts_once:
        for each in passes_of(rows, work.rows, model=work.policy, scorer=work.scorer, accelerator=accelerator):
            numbers = [rows[position] for position in each.positions]
            with autocast(accelerator, work.settings):
                scored = work.scorer.score(work.policy, [work.rows[row] for row in numbers])
            loss, meters = work.objective.terms(numbers, scored)
            (loss.sum() * (each.counts / units)).backward()
            if each.counts:
                told[each.positions] = meters
    return cast(Tensor, accelerator.reduce(told, "sum")).cpu()


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


def _assert_finite(work: Work, meters: Tensor, norm: float, rows: Sequence[int], step: int) -> None:
    losses = meters[:, 0]
    bad = [work.rows[row].id for row, fine in zip(rows, losses.isfinite().tolist(), strict=True) if not fine]
    if not bad and torch.tensor(norm).isfinite():
        return
    what = f"the loss of {len(bad)} of {len(rows)} rows ({bad[0]!r} first)" if bad else f"the gradient norm ({norm})"
    kept = checkpoints(work.folder / CHECKPOINTS)
    last = f"The last good checkpoint is {kept[-1]}" if kept else "There is no checkpoint yet"
    raise TrainingError(
        f"Training stopped at step {step}: {what} is not finite. {last}. "
        "Lower training.learning_rate, or look at the rows, and train in another folder."
    )
