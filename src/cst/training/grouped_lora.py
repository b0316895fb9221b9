"""Frozen linear layers under LoRA, those of one input together: y_i = x W_i^T + s_i (x A_i^T) B_i^T (arXiv 2106.09685).

peft computes them one by one in the adapter's type: it casts the input, scales and adds out of place, and leaves adding
up the gradients of the input to autograd. Here the A's of all layers make one product, sums are made inside products,
and everything has the type of the frozen weights, or autocast's where that is on. Gradients of A and B come out in
their own type. This file knows no models and no modules but linear ones.
"""

from collections.abc import Sequence
from itertools import chain
from typing import Any, cast, final

import torch
from peft.tuners.lora import Linear as LoraLinear
from torch import Tensor, nn


@final
class Projection:
    """A frozen weight W [out, in] with its adapter: A [r, in], B [out, r] and scaling s; r is 0 where there is none."""

    def __init__(self, weight: Tensor, a: Tensor, b: Tensor, scaling: float, *, keeps: bool) -> None:
        """`keeps`: a copy of W in the working type, if that is another one, is kept and not made each time."""
        self.weight, self.a, self.b, self.scaling = weight, a, b, scaling
        self._keeps = keeps
        self._kept = weight

    def weight_as(self, dtype: torch.dtype) -> Tensor:
        """W in that type."""
        if self.weight.dtype == dtype:
            return self.weight
        found = self._kept if self._kept.dtype == dtype else self.weight.to(dtype)
        if self._keeps:
            self._kept = found
        return found


def projection_of(module: nn.Module, *, keeps: bool) -> Projection | None:
    """That of a frozen linear layer without bias, plain or under one plain LoRA without dropout; None of all others."""
    if _is_frozen(module):
        weight = cast(nn.Linear, module).weight
        rows, columns = weight.shape
        return Projection(weight, weight.new_empty(0, columns), weight.new_empty(rows, 0), 1.0, keeps=keeps)
    if type(module) is not LoraLinear:
        return None
    names = [name for name in module.active_adapters if name in module.lora_A]
    if len(names) != 1 or not _is_plain(module, names[0]):
        return None
    (name,) = names
    a, b = (cast(nn.Linear, part[name]).weight for part in (module.lora_A, module.lora_B))
    return Projection(cast(Tensor, module.base_layer.weight), a, b, module.scaling[name], keeps=keeps)


def _is_plain(module: LoraLinear, name: str) -> bool:
    dropout = module.lora_dropout[name]
    special = module.merged or module.disable_adapters or module.fan_in_fan_out or name in module.lora_variant
    return (
        not special
        and (isinstance(dropout, nn.Identity) or not dropout.training)
        and _is_frozen(module.base_layer)
        and all(_is_bare(part[name]) for part in (module.lora_A, module.lora_B))
        and is_unhooked(module)
    )


def _is_frozen(module: nn.Module) -> bool:
    return _is_bare(module) and is_frozen(module.weight)


def _is_bare(module: nn.Module) -> bool:
    if type(module) is not nn.Linear or cast("Tensor | None", module.bias) is not None:
        return False
    return type(module.weight) is nn.Parameter and is_unhooked(module)


def is_unhooked(module: nn.Module) -> bool:
    """Whether nothing but `forward` runs when the module is called."""
    held: Any = module
    return not (held._forward_hooks or held._forward_pre_hooks or held._backward_hooks)


def is_frozen(weight: object) -> bool:
    """Whether `weight` is a plain parameter, whole and not quantized, of which no gradient would be computed now."""
    return type(weight) is nn.Parameter and not (weight.requires_grad and torch.is_grad_enabled())


def working_dtype(states: Tensor, otherwise: torch.dtype) -> torch.dtype:
    """Autocast's type where it is on, as for torch's own products."""
    kind = states.device.type
    if torch.is_autocast_enabled(kind) and otherwise != torch.float64:
        return torch.get_autocast_dtype(kind)
    return otherwise


def project(states: Tensor, projections: Sequence[Projection]) -> tuple[Tensor, ...]:
    """What the layers make of their common input: [..., in] -> [..., out] each."""
    dtype = working_dtype(states, projections[0].weight.dtype)
    weights = [projection.weight_as(dtype) for projection in projections]
    scalings = [projection.scaling for projection in projections]
    factors = [factor for projection in projections for factor in (projection.a, projection.b)]
    return cast("tuple[Tensor, ...]", _Projections.apply(states, weights, scalings, *factors))


class _Projections(torch.autograd.Function):
    """Input, all W and s, and A_1, B_1, A_2, ... -> all y. Kept for the backward pass: x and all x A^T."""

    @staticmethod
    def forward(
        ctx: Any,  # noqa: ANN401 - torch gives it no type
        states: Tensor,
        weights: list[Tensor],
        scalings: list[float],
        *factors: Tensor,
    ) -> tuple[Tensor, ...]:
        x = states.reshape(-1, states.shape[-1]).to(weights[0].dtype)
        downs, ups = _working(factors, scalings, x.dtype)
        inner = x @ downs.T
        outs = [x @ weight.T for weight in weights]
        for out, part, up in zip(outs, _split(inner, ups), ups, strict=True):
            out.addmm_(part, up.T)
        ctx.save_for_backward(x, inner, *factors)
        ctx.weights, ctx.scalings, ctx.dtype, ctx.shape = weights, scalings, states.dtype, states.shape
        return tuple(out.view(*states.shape[:-1], -1) for out in outs)

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Any, ...]:  # noqa: ANN401
        x, inner, *factors = ctx.saved_tensors
        downs, ups = _working(factors, ctx.scalings, x.dtype)
        grads = [grad.reshape(-1, grad.shape[-1]) for grad in grad_outputs]
        grad_inner = torch.empty_like(inner)
        for grad, part, up in zip(grads, _split(grad_inner, ups), ups, strict=True):
            torch.mm(grad, up, out=part)
        grad_downs = (x.T @ grad_inner).T.split([up.shape[1] for up in ups])
        grad_ups = [
            (part.T @ grad).T * scaling
            for part, grad, scaling in zip(_split(inner, ups), grads, ctx.scalings, strict=True)
        ]
        pairs = chain.from_iterable(zip(grad_downs, grad_ups, strict=True))
        grad_factors = [grad.to(factor.dtype) for grad, factor in zip(pairs, factors, strict=True)]
        return _grad_input(ctx, grads, grad_inner @ downs), None, None, *grad_factors


def _grad_input(ctx: Any, grads: Sequence[Tensor], through_adapters: Tensor) -> Tensor | None:  # noqa: ANN401
    """`through_adapters` is overwritten."""
    if not ctx.needs_input_grad[0]:
        return None
    for grad, weight in zip(grads, ctx.weights, strict=True):
        through_adapters.addmm_(grad, weight)
    return through_adapters.view(ctx.shape).to(ctx.dtype)


def _split(inner: Tensor, ups: Sequence[Tensor]) -> tuple[Tensor, ...]:
    return inner.split([up.shape[1] for up in ups], -1)


def _working(factors: Sequence[Tensor], scalings: Sequence[float], dtype: torch.dtype) -> tuple[Tensor, list[Tensor]]:
    """All A one below the other [sum of r, in], and each s B [out, r], in the working type."""
    downs = torch.cat([a.to(dtype) for a in factors[::2]])
    return downs, [(b * scaling).to(dtype) for b, scaling in zip(factors[1::2], scalings, strict=True)]
