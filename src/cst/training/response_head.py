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
from torch.nn import functional
from torch.utils.checkpoint import checkpoint
from transformers import PreTrainedConfig

CHUNK_BYTES = 32 * 2**20
"""Size of a chunk of float32 logits: of 4 to 64 MiB the fastest (2 CPU threads, vocabulary of 32,000, bfloat16)."""


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
    hidden: Tensor, labels: Tensor, head: nn.Module, rule: LogitRule, *, chunk_bytes: int = CHUNK_BYTES
) -> Tensor:
    """Log-prob of a label given its hidden state, in nats: hidden [R, H], labels [R] -> [R].

    In float32, or in float64 where the logits are. `chunk_bytes` bounds what a chunk's float32 logits take.
    """
    rows = max(1, chunk_bytes // (4 * cast(Tensor, head.weight).shape[0]))
    if type(head) is nn.Linear and not any(parameter.requires_grad for parameter in head.parameters()):
        bias = cast(Tensor | None, head.bias)
        weight, bias = _working(head.weight), None if bias is None else _working(bias)
        return cast(Tensor, _FrozenHead.apply(hidden, labels, weight, bias, rule, rows))
    chunks = zip(hidden.split(rows), labels.split(rows), strict=True)
    score = partial(_score, head=head, rule=rule)
    return torch.cat([cast(Tensor, checkpoint(score, *chunk, use_reentrant=False)) for chunk in chunks])


def _score(hidden: Tensor, labels: Tensor, head: nn.Module, rule: LogitRule) -> Tensor:
    return _log_softmax(rule.apply(head(hidden))).gather(1, labels[:, None])[:, 0]


def _log_softmax(logits: Tensor) -> Tensor:
    return logits.log_softmax(-1, dtype=torch.promote_types(logits.dtype, torch.float32))


def _working(states: Tensor) -> Tensor:
    """In autocast's type where it is on: once, and not once a chunk."""
    kind = states.device.type
    if torch.is_autocast_enabled(kind) and states.dtype != torch.float64:
        return states.to(torch.get_autocast_dtype(kind))
    return states


class _FrozenHead(torch.autograd.Function):
    """Log-probs [R], with the gradient of each with respect to its hidden state kept for the backward pass [R, H]."""

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
        logps: list[Tensor] = []
        slopes: list[Tensor] = []
        for states, targets in zip(hidden.split(rows), labels.split(rows), strict=True):
            logits = rule.apply(functional.linear(states.to(weight.dtype), weight, bias))
            found = _log_softmax(logits)
            logps.append(found.gather(1, targets[:, None]))
            if hidden.requires_grad:
                slopes.append((_slope(found, logits, targets, rule) @ weight).neg_())
        if slopes:
            ctx.save_for_backward(torch.cat(slopes))
        ctx.dtype = hidden.dtype
        return torch.cat(logps)[:, 0]

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor | None, ...]:  # noqa: ANN401
        (slopes,) = ctx.saved_tensors
        return (slopes * grad_outputs[0][:, None]).to(ctx.dtype), None, None, None, None, None


def _slope(logps: Tensor, logits: Tensor, labels: Tensor, rule: LogitRule) -> Tensor:
    """Gradient of -log-probs of labels with respect to the head's outputs, (p - onehot) times the rule's, [R, V].

    `logps` is overwritten.
    """
    slope = logps.exp_()
    slope[torch.arange(len(labels), device=labels.device), labels] -= 1
    if rule.softcap is not None:
        slope *= 1 - (logits / rule.softcap).square()
    return (slope if rule.scale == 1.0 else slope.mul_(rule.scale)).to(logits.dtype)
