"""Decoder layers computed with fewer and cheaper operations while packs are scored; the model is as it was afterwards.

Whether the values are the model's own is asked of the model, as `packable` does. This file knows no losses.
"""

from collections.abc import Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from cst.models.rendering import TokenSequence
from cst.training.fast_modules import stand_in
from cst.training.packable import TOLERANCE, TOLERANCE_16_BIT
from cst.training.packed import hidden_states
from cst.training.packs import plan_packs
from cst.training.tree_attention import attending_in_trees


@contextmanager
def computing_fast(model: PreTrainedModel) -> Generator[None]:
    """Stand-ins take the place of modules of `model` that they are known for, while the context is open.

    Parameters and their names stay. It computes packs only (see `attending_in_trees`); a context that is opened while
    gradients are disabled serves only while they are. Frozen weights that autocast would cast each time are cast once
    and kept until the context ends, unless the model recomputes activations to save memory.
    """
    replaced = list(_replaced(model.base_model, keeps=not model.is_activation_checkpointing))
    try:
        for place in replaced:
            setattr(place.parent, place.name, place.fast)
        yield
    finally:
        for place in replaced:
            setattr(place.parent, place.name, place.stock)


@dataclass(frozen=True)
class _Place:
    """A module's attribute, the module there, and what stands in for it."""

    parent: nn.Module
    name: str
    stock: nn.Module
    fast: nn.Module


def _replaced(parent: nn.Module, *, keeps: bool) -> Iterator[_Place]:
    for name, child in parent.named_children():
        fast = stand_in(child, keeps=keeps)
        if fast is None:
            yield from _replaced(child, keeps=keeps)
        else:
            yield _Place(parent, name, child, fast)


def computes_alike(model: PreTrainedModel) -> bool:
    """Whether a small pack has the same hidden states in the context. `model`, in evaluation mode, can be packed."""
    difference = hidden_difference(model)
    exact = model.dtype in (torch.float32, torch.float64)
    return difference <= (TOLERANCE if exact else TOLERANCE_16_BIT)


@torch.no_grad()
def hidden_difference(model: PreTrainedModel) -> float:
    """How far hidden states of a pack are from the model's own, as a share of the size of the latter."""
    vocabulary = cast(Tensor, model.get_input_embeddings().weight).shape[0]
    (pack,) = plan_packs([TokenSequence(tuple(token % vocabulary for token in range(24)), 12)], 64)
    with attending_in_trees(model):
        expected = hidden_states(model, pack).double()
        with computing_fast(model):
            found = hidden_states(model, pack).double()
    return float(((found - expected).square().mean() / expected.square().mean()).sqrt())
