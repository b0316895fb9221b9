"""Modules that stand in for a model's own, over the same parameters: RMS norms, feed-forward, attention in trees, LoRA.

What stands in for what is decided by the names of transformers' classes (and peft's LoRA layer); a bias, dropout,
weights to train, hooks or another activation leave a module as it is. This file knows no model as a whole.
"""

from collections.abc import Sequence
from typing import Any, cast, final

import torch
from torch import Tensor, nn
from transformers.activations import SiLUActivation

from cst.training.elementwise import rms_norm, rotate, swiglu
from cst.training.grouped_lora import Projection, is_frozen, is_unhooked, project, projection_of, working_dtype
from cst.training.tree_attention import tree_attention

_NORMS = frozenset({"LlamaRMSNorm", "MistralRMSNorm", "Qwen3RMSNorm"})
_FEED_FORWARDS = frozenset({"LlamaMLP", "MistralMLP", "Qwen3MLP"})
_ATTENTIONS = frozenset({"LlamaAttention", "MistralAttention", "Qwen3Attention"})


def stand_in(module: nn.Module, *, keeps: bool) -> nn.Module | None:
    """What computes the same as `module` for less, or None. `keeps`: see Projection.

    Made while gradients are disabled, it serves only while they are.
    """
    name = type(module).__name__
    if not is_unhooked(module):
        return None
    if name in _NORMS:
        return _norm(module)
    if name in _FEED_FORWARDS:
        return _feed_forward(module, keeps)
    if name in _ATTENTIONS:
        return _attention(module, keeps)
    projection = projection_of(module, keeps=keeps)
    return None if projection is None or type(module) is nn.Linear else _Linear(module, projection)


class _StandIn(nn.Module):
    """Has the modules and parameters of `stock`, under the same names."""

    def __init__(self, stock: nn.Module) -> None:
        super().__init__()
        for name, child in stock.named_children():
            self.add_module(name, child)
        for name, parameter in stock.named_parameters(recurse=False):
            self.register_parameter(name, parameter)


@final
class _Norm(_StandIn):
    def __init__(self, stock: nn.Module) -> None:
        super().__init__(stock)
        self._epsilon = cast(float, stock.variance_epsilon)

    def forward(self, states: Tensor) -> Tensor:
        """In autocast's type at once, to which whatever reads a norm would cast it."""
        weight = cast(Tensor, self.weight)
        plain = torch.promote_types(states.dtype, weight.dtype)
        return rms_norm(states, weight, self._epsilon, working_dtype(states, plain))


def _norm(stock: nn.Module) -> _Norm | None:
    return _Norm(stock) if is_frozen(stock.weight) else None


@final
class _Linear(_StandIn):
    def __init__(self, stock: nn.Module, projection: Projection) -> None:
        super().__init__(stock)
        self._projection = projection

    def forward(self, states: Tensor) -> Tensor:
        return project(states, [self._projection])[0]


def _projections(stock: nn.Module, names: Sequence[str], keeps: bool) -> list[Projection] | None:
    """Those of all the children named, or None."""
    found = [projection_of(cast(nn.Module, getattr(stock, name)), keeps=keeps) for name in names]
    known = [projection for projection in found if projection is not None]
    return known if len(known) == len(found) else None


@final
class _FeedForward(_StandIn):
    def __init__(self, stock: nn.Module, projections: Sequence[Projection]) -> None:
        super().__init__(stock)
        self._gate, self._up, self._down = projections

    def forward(self, states: Tensor) -> Tensor:
        return project(swiglu(*project(states, [self._gate, self._up])), [self._down])[0]


def _feed_forward(stock: nn.Module, keeps: bool) -> _FeedForward | None:
    projections = _projections(stock, ("gate_proj", "up_proj", "down_proj"), keeps)
    if projections is None or not isinstance(stock.act_fn, nn.SiLU | SiLUActivation):
        return None
    return _FeedForward(stock, projections)


@final
class _Attention(_StandIn):
    def __init__(self, stock: nn.Module, projections: Sequence[Projection], norms: Sequence[_Norm]) -> None:
        super().__init__(stock)
        *self._inputs, self._output = projections
        self._norms = norms
        self._stock: tuple[Any] = (stock,)  # in a tuple, so that it isn't a child

    def forward(
        self,
        hidden_states: Tensor,
        position_embeddings: tuple[Tensor, Tensor],
        attention_mask: Tensor | None,
        **others: Any,  # noqa: ANN401 - for tree_attention to judge
    ) -> tuple[Tensor, None]:
        """As transformers' attention of these classes, but in trees whatever the model is set to."""
        (stock,) = self._stock
        outs = project(hidden_states, self._inputs)
        queries, keys, values = (states.unflatten(-1, (-1, stock.head_dim)) for states in outs)
        if self._norms:
            queries, keys = (norm(states) for norm, states in zip(self._norms, (queries, keys), strict=True))
        cos, sin = (part[..., None, :] for part in position_embeddings)
        turned = rotate(queries, cos, sin), rotate(keys, cos, sin)
        query, key, value = (states.transpose(1, 2) for states in (*turned, values))
        window = getattr(stock, "sliding_window", getattr(stock.config, "sliding_window", None))
        out, _ = tree_attention(
            stock, query, key, value, attention_mask, scaling=stock.scaling, sliding_window=window, **others
        )
        return project(out.flatten(-2), [self._output])[0], None


def _attention(stock: nn.Module, keeps: bool) -> _Attention | None:
    projections = _projections(stock, ("q_proj", "k_proj", "v_proj", "o_proj"), keeps)
    parts = [cast(nn.Module, getattr(stock, name)) for name in ("q_norm", "k_norm") if hasattr(stock, name)]
    norms = [norm for norm in map(_norm, parts) if norm is not None]
    if projections is None or len(norms) < len(parts) or not all(map(is_unhooked, parts)):
        return None
    return _Attention(stock, projections, norms)
