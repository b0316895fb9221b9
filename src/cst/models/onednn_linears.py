"""Linear layers of float32 by oneDNN's product, where torch would take that of its BLAS.

torch computes float32 products by MKL, which leaves an AMD processor half idle: 64 rows of 384 numbers times 32,000 x
384 weights run at 102 GFLOP/s by MKL and at 148 by oneDNN, 384 x 1024 at 158 and 192 (EPYC, two threads, torch 2.13,
medians of seven). Values differ in their low bits. This file knows no tokens.
"""

from collections.abc import Callable, Generator
from contextlib import contextmanager
from functools import partial
from typing import TypeAlias, TypeGuard, cast

import torch
from torch import Tensor, nn
from torch.nn import functional

Product: TypeAlias = Callable[..., Tensor]

ROWS = 8
"""From so many rows on: a single row is a product of matrix and vector, for which MKL is the faster one."""

MULTIPLY_ADDS = 2**23
"""From so much work on: oneDNN takes some 15 microseconds more to begin, in which MKL ends a product of 32 rows of 128
numbers. Layers of 128 to 576 numbers break even between 4 and 10 million, on one thread and on two."""


@contextmanager
def multiplying_by_onednn(model: nn.Module) -> Generator[None]:
    """While the context is open, linear layers of `model` that keep float32 on a CPU compute so, without gradients."""
    product = _product()
    chosen = [layer for layer in model.modules() if _is_known(layer)] if product else []
    for layer in chosen:
        layer.forward = partial(_forward, layer, cast(Product, product))
    try:
        yield
    finally:
        for layer in chosen:
            del layer.forward


def _is_known(layer: nn.Module) -> TypeGuard[nn.Linear]:
    """A stock linear layer, whose forward nobody has replaced, of float32 on the CPU."""
    if type(layer) is not nn.Linear or "forward" in layer.__dict__:
        return False
    return layer.weight.dtype == torch.float32 and layer.weight.device.type == "cpu"


def _forward(layer: nn.Linear, product: Product, input: Tensor) -> Tensor:
    if input.dtype == torch.float32 and _pays(input.numel() // layer.in_features, layer):
        return product(input, layer.weight, layer.bias, "none", [], "")
    return functional.linear(input, layer.weight, layer.bias)


def _pays(rows: int, layer: nn.Linear) -> bool:
    return rows >= ROWS and rows * layer.weight.numel() >= MULTIPLY_ADDS


def _product() -> Product | None:
    """The operator that torch's own compiler uses for linear layers; None where this torch has none."""
    if not torch.backends.mkldnn.is_available():
        return None
    return cast(Product | None, getattr(torch.ops.mkldnn, "_linear_pointwise", None))
