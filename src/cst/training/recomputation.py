"""Activations that are computed again in the backward pass where memory is too small to keep them.

Whether it is too small is measured on the policy and the rows themselves. Recomputation gives the same numbers to the
bit, so that a training may be interrupted with it and resumed without. The size of a pack isn't touched: low bits
depend on it, and they must not depend on how much memory happens to be free. This file knows no loss.
"""

import logging
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks
from torch.distributed.tensor import DTensor
from transformers.modeling_layers import GradientCheckpointingLayer

from cst.training.batches import Row
from cst.training.checkpoints import trained
from cst.training.packed import language_model
from cst.training.scoring import Packed
from cst.training.step import Work, autocast

logger = logging.getLogger(__name__)

HEADROOM = 2.4
"""What a pass takes at its peak, as a multiple of what autograd keeps of it: gradients, gathered keys, logits, gaps.

Seen on a CPU (resident memory, Llamas of width 384, some 2,000 tokens): in packs 2.3 to 2.6 in bfloat16 with 8 layers,
2.0 with 24, 2.4 to 3.1 in float32; padded 1.5 to 1.9. A GPU leaves fewer gaps, and has not been measured."""

USABLE = 0.9
"""Share of the free memory that is counted on: an allocator leaves gaps, and other programs want some."""


@contextmanager
def recomputing(policy: nn.Module, *, needed: bool) -> Generator[None]:
    """While open, `policy` keeps what goes into each of its layers and computes the rest again, if that is needed."""
    model = language_model(policy)
    layers = [layer for layer in model.modules() if isinstance(layer, GradientCheckpointingLayer)] if needed else []
    if needed:
        model.activation_checkpointing_enable({"use_reentrant": False})
    for layer in layers:
        layer.training = True  # a layer's own mode, not its parts': transformers recomputes in training alone
    try:
        yield
    finally:
        for layer in layers:
            layer.training = False
        if needed:
            model.activation_checkpointing_disable()
            model.disable_input_require_grads()


def must_recompute(work: Work, free: int | None) -> bool:
    """Whether activations are to be computed again: as the settings say or, if they leave it open, if they must.

    `free` is in bytes, None where it isn't known. All processes choose alike; the log says it once.
    """
    asked = work.settings.gradient_checkpointing
    if asked != "auto" or free is None:
        return asked is True
    need = memory_need(work)
    usable = USABLE * free
    lacking = torch.tensor(float(need.at(need.largest) > usable), device=work.accelerator.device)
    if not work.accelerator.reduce(lacking, "sum"):  # pyright: ignore[reportArgumentType]
        return False
    if work.accelerator.is_main_process:
        logger.warning(_reason(work, need, free))
    return True


@dataclass(frozen=True)
class MemoryNeed:
    """Bytes that a step takes above start model and adapter: `fixed`, and `per_token` of its largest pass.

    `largest` is how many tokens that pass has.
    """

    fixed: float
    per_token: float
    largest: int

    def at(self, tokens: int) -> float:
        """Bytes, where the largest pass has so many tokens."""
        return self.fixed + self.per_token * tokens

    def within(self, usable: float) -> int:
        """Tokens that a pass may have, for so many bytes."""
        return int((usable - self.fixed) / self.per_token)


def memory_need(work: Work) -> MemoryNeed:
    """Measured by forward passes of the shortest row and of the two shortest, and drawn on to the largest pass.

    What autograd keeps grows with the tokens of a pass, but for copies of weights in autocast's type. To that come the
    gradients, and AdamW's two moments, of all that is trained.
    """
    shortest = sorted(work.rows, key=lambda row: row.longest)
    passes = [shortest[:count] for count in (1, 2)]
    few, more = (work.scorer.tokens(rows) for rows in passes)
    low, high = (kept_bytes(work, rows) for rows in passes)
    per_token = (high - low) / (more - few) if more > few else low / few
    states = 3 * sum(parameter.nbytes for parameter in trained(work.policy).values())
    fixed = max(low - per_token * few, 0.0)
    return MemoryNeed(HEADROOM * fixed + states, HEADROOM * per_token, _largest_pass(work))


def kept_bytes(work: Work, rows: Sequence[Row]) -> int:
    """Bytes that autograd keeps of the policy's forward pass over `rows`, without those of parameters."""
    parameters = {_here(parameter).untyped_storage().data_ptr() for parameter in work.policy.parameters()}
    kept: dict[int, torch.UntypedStorage] = {}

    def keep(tensor: Tensor) -> None:
        storage = tensor.untyped_storage()
        kept[storage.data_ptr()] = storage  # held until all are counted, so that no other takes its place in memory

    device = work.accelerator.device
    own_numbers = torch.random.fork_rng([device] if device.type == "cuda" else [])
    hooks = saved_tensors_hooks(keep, _refuse_backward)
    with own_numbers, work.scorer.ready(work.policy), hooks, autocast(work.accelerator, work.settings):
        work.scorer.score(work.policy, rows)
    return sum(storage.nbytes() for place, storage in kept.items() if place not in parameters)


def _here(parameter: Tensor) -> Tensor:
    """What this process holds of a parameter, which may be sharded."""
    return parameter.to_local() if isinstance(parameter, DTensor) else parameter


def _refuse_backward(_kept: None) -> Tensor:
    raise RuntimeError("the pass was only counted, and has no backward pass")


def _largest_pass(work: Work) -> int:
    """Tokens of the largest pass that the rows make, but no more than a whole step of the longest rows has."""
    rows, settings = work.rows, work.settings
    passes = work.scorer.shares(range(len(rows)), rows, rank=0, world_size=1)
    largest = max(work.scorer.tokens([rows[row] for row in share]) for share in passes)
    step = settings.per_device_train_batch_size * settings.gradient_accumulation_steps
    longest = sorted(rows, key=lambda row: row.longest)[-step:]
    return min(largest, work.scorer.tokens(longest))


def _reason(work: Work, need: MemoryNeed, free: int) -> str:
    return (
        f"Activations are computed again in the backward pass, which takes longer: {need.largest} tokens at once need "
        f"{need.at(need.largest) / 1e9:.1f} GB, and {free / 1e9:.1f} GB are free; {_way_without(work, need, free)}."
    )


def _way_without(work: Work, need: MemoryNeed, free: int) -> str:
    if not isinstance(work.scorer, Packed):
        return "a smaller training.per_device_train_batch_size needs less"
    fitting = int(0.9 * need.within(USABLE * free))  # a pass of small packs shares a little less than a full one
    largest_row = max(work.scorer.tokens([row]) for row in work.rows)
    if largest_row > fitting:
        return f"even the largest row alone, {largest_row} tokens, doesn't fit otherwise"
    return f"training.tokens_per_pack={fitting} would fit without that"
