"""Log-probs of response tokens from hidden states: the only place of the packed path where a vocabulary is in memory.

Rows are taken a chunk at a time. A row's log-prob depends on its own hidden state alone, so that its gradient can be
computed at once, while its logits are there, and waits for nothing but a factor: two matrix products instead of three,
and no logits are kept. Where the head itself is trained, chunks are computed again in the backward pass instead.
This file knows no packs and no attention.
"""

from dataclasses import dataclass
from functools import partial
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint
from transformers import PreTrainedConfig

CHUNK_BYTES = 24 * 2**20
"""Size of a chunk of float32 logits: of 8 to 64 MiB the fastest (a vocabulary of 32,000 in bfloat16 and float32)."""

LEAST_ROWS, LEAST_ROWS_OF_ACCELERATORS = 128, 1024
"""Rows that a chunk has where a vocabulary is large: with fewer, products wait for the head's weights. On two CPU
threads 32, 64, 128 and 512 rows reach 50, 74, 84 and 89 % of the peak; an H100 needs some 300 multiplications for each
16-bit number that it reads (data sheet: 989 TFLOP/s, 3.35 TB/s)."""


@dataclass(frozen=True)
class LogitRule:
    """What a model does to its head's outputs: times `scale`, then softcap * tanh(logits / softcap) if there is one."""

    scale: float = 1.0
    softcap: float | None = None

    @classmethod
    def of(cls, config: PreTrainedConfig) -> "LogitRule":
        """The rule of a model, by the names that transformers' configurations have for it (Cohere, Granite, Gemma)."""
        scale = getattr(config, "logit_scale", None) or 1.0
        return cls(
            scale / (getattr(config, "logits_scaling", None) or 1.0), getattr(config, "final_logit_softcapping", None)
        )

    def apply(self, logits: Tensor) -> Tensor:
        """Logits as the model gives them."""
        scaled = logits if self.scale == 1.0 else logits * self.scale
        return scaled if self.softcap is None else self.softcap * torch.tanh(scaled / self.softcap)


def label_logps(
    hidden: Tensor, labels: Tensor, head: nn.Module, rule: LogitRule, *, chunk_rows: int | None = None
) -> Tensor:
    """Log-prob of a label given its hidden state, in nats: hidden [R, H], labels [R] -> [R].

    In float32, or in float64 where the logits are. `chunk_rows`: how many rows' logits there are at once.
    """
    vocabulary = cast(Tensor, head.weight)
    least = LEAST_ROWS if vocabulary.device.type == "cpu" else LEAST_ROWS_OF_ACCELERATORS
    rows = chunk_rows or max(least, CHUNK_BYTES // (4 * vocabulary.shape[0]))
    if type(head) is nn.Linear and not any(parameter.requires_grad for parameter in head.parameters()):
        bias = cast(Tensor | None, head.bias)
        weight, bias = in_autocast_type(head.weight), None if bias is None else in_autocast_type(bias)  # once a pack
        return cast(Tensor, _FrozenHead.apply(hidden, labels, weight, bias, rule, rows))
    chunks = zip(hidden.split(rows), labels.split(rows), strict=True)
    score = partial(_score, head=head, rule=rule)
    return torch.cat([cast(Tensor, checkpoint(score, *chunk, use_reentrant=False)) for chunk in chunks])


def _score(hidden: Tensor, labels: Tensor, head: nn.Module, rule: LogitRule) -> Tensor:
    logits = rule.apply(head(hidden))
    return logits.log_softmax(-1, dtype=_wide(logits.dtype)).gather(1, labels[:, None])[:, 0]


def _wide(dtype: torch.dtype) -> torch.dtype:
    return torch.promote_types(dtype, torch.float32)


def in_autocast_type(states: Tensor) -> Tensor:
    """`states` in autocast's type where it is on, as torch's own products have them; float64 stays."""
    kind = states.device.type
    if torch.is_autocast_enabled(kind) and states.dtype != torch.float64:
        return states.to(torch.get_autocast_dtype(kind))
    return states


class _FrozenHead(torch.autograd.Function):
    """Log-probs [R]; the gradient of minus each with respect to its hidden state is kept for the backward pass [R, H].

    All chunks are computed in the same two [rows, V] of memory: fresh memory costs more time than what is done in it.
    """

    @staticmethod
    def forward(
        ctx: Any,  # noqa: ANN401 - torch gives it no type
        hidden: Tensor,
        labels: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        rule: LogitRule,
        rows: int,
    ) -> Tensor:
        products = weight.new_empty(min(rows, len(hidden)), len(weight))
        scores = torch.empty_like(products, dtype=_wide(weight.dtype))
        logps = scores.new_empty(len(hidden))
        slopes = torch.empty_like(hidden, dtype=weight.dtype) if hidden.requires_grad else None
        for first in range(0, len(hidden), rows):
            part = slice(first, first + rows)
            states, targets = hidden[part].to(weight.dtype), labels[part]
            product, score = products[: len(states)], scores[: len(states)]
            if bias is None:
                torch.mm(states, weight.T, out=product)
            else:
                torch.addmm(bias, states, weight.T, out=product)
            logits = rule.apply(product)
            logps[part] = _log_probs(logits, targets, score)
            if slopes is not None:
                product.copy_(_slopes(score, logits, targets, rule))
                torch.mm(product, weight, out=slopes[part])
        if slopes is not None:
            ctx.save_for_backward(slopes)
        ctx.dtype = hidden.dtype
        return logps

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor | None, ...]:  # noqa: ANN401
        (slopes,) = ctx.saved_tensors
        return (slopes * -grad_outputs[0][:, None]).to(ctx.dtype), None, None, None, None, None


def _log_probs(logits: Tensor, labels: Tensor, probabilities: Tensor) -> Tensor:
    """Log-probs of labels [rows]; all `probabilities` [rows, V] are written.

    The largest probability is exp(max - logsumexp), from which the logsumexp follows without an exponential more.
    """
    scores = probabilities.copy_(logits)
    below_top = scores.gather(1, labels[:, None])[:, 0] - scores.amax(-1)
    torch.softmax(scores, -1, out=probabilities)
    return below_top + probabilities.amax(-1).log()


def _slopes(probabilities: Tensor, logits: Tensor, labels: Tensor, rule: LogitRule) -> Tensor:
    """Gradient of -log-probs of labels with respect to the head's outputs, (p - onehot) times the rule's, [rows, V].

    `probabilities` are overwritten.
    """
    slopes = probabilities
    slopes[torch.arange(len(labels), device=labels.device), labels] -= 1
    if rule.softcap is not None:
        slopes *= 1 - (logits / rule.softcap).square()
    return slopes if rule.scale == 1.0 else slopes.mul_(rule.scale)
