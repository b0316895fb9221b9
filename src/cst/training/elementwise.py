"""What decoder layers compute between matrix products, in few passes over memory: RMS norm, SwiGLU, rotary embedding.

Values and gradients are those of transformers' modules; sums and scales are float32, or float64 where the input is.
Only inputs are kept for the backward pass, which computes the rest again. Weights of norms are taken as frozen.
"""

from typing import Any, cast

import torch
from torch import Tensor
from torch.nn import functional


def rms_norm(states: Tensor, weight: Tensor, epsilon: float, dtype: torch.dtype) -> Tensor:
    """RMS norm x / sqrt(mean x^2 + epsilon) * weight of the last dimension, as `dtype` (arXiv 1910.07467)."""
    return cast(Tensor, _RMSNorm.apply(states, weight, epsilon, dtype))


def swiglu(gate: Tensor, up: Tensor) -> Tensor:
    """SwiGLU, gate * sigmoid(gate) * up (arXiv 2002.05202)."""
    return cast(Tensor, _SwiGLU.apply(gate, up))


def rotate(states: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Rotary embedding (arXiv 2104.09864), pairs half a head apart: states [..., heads, D], cos and sin [..., 1, D].

    Computed in the more exact of the two types, and given in that of `states`.
    """
    return cast(Tensor, _Rotation.apply(states, cos, sin))


def _exact(states: Tensor) -> Tensor:
    return states.to(torch.promote_types(states.dtype, torch.float32))


class _RMSNorm(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,  # noqa: ANN401 - torch gives it no type
        states: Tensor,
        weight: Tensor,
        epsilon: float,
        dtype: torch.dtype,
    ) -> Tensor:
        exact = _exact(states)
        square = torch.linalg.vector_norm(exact, dim=-1, keepdim=True).square_()
        scale = square.div_(states.shape[-1]).add_(epsilon).rsqrt_()
        ctx.save_for_backward(states, scale, weight)
        return (exact * scale).mul_(weight).to(dtype)

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor | None, ...]:  # noqa: ANN401
        """With s the scale and g = weight * grad: s g - x s^3 mean(g x)."""
        states, scale, weight = ctx.saved_tensors
        exact, grad = _exact(states), grad_outputs[0].to(scale.dtype) * weight.to(scale.dtype)
        mean = torch.linalg.vecdot(exact, grad)[..., None].div_(states.shape[-1])
        grad.addcmul_(exact, mean.mul_(scale.square()), value=-1).mul_(scale)
        return grad.to(states.dtype), None, None, None


class _SwiGLU(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, gate: Tensor, up: Tensor) -> Tensor:  # noqa: ANN401
        ctx.save_for_backward(gate, up)
        return functional.silu(gate).mul_(up)

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor, Tensor]:  # noqa: ANN401
        gate, up = ctx.saved_tensors
        (grad,) = grad_outputs
        grad_gate = torch.ops.aten.silu_backward(grad * up, gate)
        return grad_gate, functional.silu(gate).mul_(grad)


class _Rotation(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, states: Tensor, cos: Tensor, sin: Tensor) -> Tensor:  # noqa: ANN401
        ctx.save_for_backward(cos, sin)
        low, high = sin.chunk(2, -1)
        return _turned(states, cos, -low, high)

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor | None, ...]:  # noqa: ANN401
        cos, sin = ctx.saved_tensors
        low, high = sin.chunk(2, -1)
        return _turned(grad_outputs[0], cos, high, -low), None, None


def _turned(states: Tensor, cos: Tensor, to_low: Tensor, to_high: Tensor) -> Tensor:
    """Half a head each: (low cos + high to_low, high cos + low to_high)."""
    exact = states.to(torch.promote_types(states.dtype, cos.dtype))
    (low, high), out = exact.chunk(2, -1), exact * cos
    out_low, out_high = out.chunk(2, -1)
    out_low.addcmul_(high, to_low)
    out_high.addcmul_(low, to_high)
    return out.to(states.dtype)
