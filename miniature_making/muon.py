"""Muon with its Newton-Schulz steps batched over matrices of one shape.

The update is `torch.optim.Muon`'s with `adjust_lr_fn="match_rms_adamw"` (a test compares them). A small model has many
small matrices; one by one, their products cost a fifth of a training step on a CPU.
"""

from collections.abc import Mapping

import torch
from torch import Tensor

COEFFICIENTS = (3.4445, -4.775, 2.0315)
STEPS = 5


def orthogonalize(matrices: Tensor) -> Tensor:
    """The nearest semi-orthogonal matrices, roughly: singular values come out between .7 and 1.2.

    `matrices` [K, M, N]; quintic Newton-Schulz iteration in bfloat16 (Jordan et al., 2024).
    """
    a, b, c = COEFFICIENTS
    is_tall = matrices.shape[1] > matrices.shape[2]
    x = (matrices.mT if is_tall else matrices).bfloat16()
    x = x / x.norm(dim=(1, 2), keepdim=True).clamp(min=1e-7)
    for _ in range(STEPS):
        gram = x @ x.mT
        x = a * x + (b * gram + c * (gram @ gram)) @ x
    return x.mT if is_tall else x


class Muon:
    """Momentum, orthogonalized, at a rate that matches AdamW's root mean square (0.2 sqrt(max(M, N)))."""

    def __init__(self, named: Mapping[str, Tensor], *, momentum: float = 0.95, weight_decay: float = 0.05) -> None:
        self.named = dict(named)
        self.momentum = momentum
        self.weight_decay = weight_decay
        self.buffers = {name: torch.zeros_like(parameter) for name, parameter in self.named.items()}
        shapes = sorted({tuple(parameter.shape) for parameter in self.named.values()})
        self.groups = [[n for n, p in self.named.items() if tuple(p.shape) == shape] for shape in shapes]

    @torch.no_grad()
    def step(self, learning_rate: float) -> None:
        """One update of every matrix that has a gradient; gradients are cleared."""
        for group in self.groups:
            parameters = [self.named[name] for name in group]
            buffers = [self.buffers[name] for name in group]
            gradients = [p.grad if p.grad is not None else torch.zeros_like(p) for p in parameters]
            torch._foreach_lerp_(buffers, gradients, 1 - self.momentum)  # pyright: ignore[reportPrivateUsage, reportPrivateImportUsage]
            wanted = torch.stack(gradients).lerp(torch.stack(buffers), self.momentum)
            updates = orthogonalize(wanted).to(wanted.dtype)
            scale = learning_rate * 0.2 * max(parameters[0].shape) ** 0.5
            for parameter, update in zip(parameters, updates, strict=True):
                parameter.mul_(1 - learning_rate * self.weight_decay).sub_(update, alpha=scale)
                parameter.grad = None
