"""Attention in a pack: each token sees itself, what stands before it in its node, and the path from there to the root.

It enters unmodified models through transformers' attention interface, and a pack's structure reaches it as a keyword
argument that the models hand down. Nodes of like size are computed together as batched matrix products over keys and
values gathered along their paths; only here is anything padded. On a CPU that is faster than torch's flash attention
for short stretches (2 threads, bfloat16, six heads of 64, 2,048 tokens forward and backward: nodes of 16 tokens 10
against 28 ms, of 64 tokens 9 against 19 ms, of 400 tokens 31 against 35 ms, of 1,024 tokens 54 against 49 ms). On CUDA
a varlen kernel over the gathered keys (`torch.nn.attention.varlen`) could take the place of `_attend` and
`_attend_backward`.

This file knows nodes and attention, and neither losses nor sequences.
"""

import math
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor, nn
from transformers import AttentionInterface, PreTrainedModel

from cst.errors import TrainingError
from cst.training.tree_plan import Block, Bucket, Places, TreePlan

TREE_ATTENTION = "cst_tree"
"""The name of this attention in transformers' interface."""

_OF_NO_CONCERN = frozenset({"position_ids", "use_cache", "output_attentions", "output_hidden_states", "is_causal"})


@dataclass(frozen=True)
class _Rules:
    """How a layer scores: `scaling` of products, tokens in the sliding `window`, `softcap` of scores (None: none)."""

    scaling: float
    window: int | None
    softcap: float | None


def _weights(query: Tensor, key: Tensor, block: Block, rules: _Rules) -> tuple[Tensor, Tensor | None]:
    """Attention weights [B * heads, queries, keys] of a block, and tanh(score / softcap) where scores are capped."""
    scores = torch.bmm(query, key.transpose(1, 2))
    capped = None
    if rules.softcap is not None:
        capped = scores.div_(rules.softcap).tanh_()
        scores = capped * rules.softcap
    scores[..., -block.mask.shape[1] :] += block.mask
    if block.hidden is not None:
        by_node = scores.view(len(block.hidden), -1, *scores.shape[1:])
        by_node[..., : block.hidden.shape[1]].masked_fill_(block.hidden[:, None, None], -math.inf)
    return torch.softmax(scores, -1, out=scores), capped


def _attend(query: Tensor, key: Tensor, value: Tensor, bucket: Bucket, rules: _Rules, out: Tensor) -> None:
    """Outputs of a bucket into `out`; all tensors are [B * heads, n or P + n, D].

    Keys are made contiguous, because 16-bit products on a CPU take long over the transpose of a part (forward and
    backward of a pack together a fifth longer).
    """
    for block in bucket.blocks(rules.window, query.dtype):
        keys, values = (states[:, block.keys].contiguous() for states in (key, value))
        weights, _ = _weights(query[:, block.queries], keys, block, rules)
        out[:, block.queries] = torch.bmm(weights, values)


def _attend_backward(
    states: Sequence[Tensor], grad_out: Tensor, bucket: Bucket, rules: _Rules, grads: Sequence[Tensor]
) -> None:
    """Gradients of query, key and value of a bucket into `grads`; the weights are computed again."""
    query, key, value = states
    grad_query, grad_key, grad_value = grads
    for block in bucket.blocks(rules.window, query.dtype):
        keys, values = (states[:, block.keys].contiguous() for states in (key, value))
        queries, grad_outs = (states[:, block.queries].contiguous() for states in (query, grad_out))
        weights, capped = _weights(queries, keys, block, rules)
        grad_value[:, block.keys].baddbmm_(weights.transpose(1, 2), grad_outs)
        grad_weights = torch.bmm(grad_outs, values.transpose(1, 2))
        grad_scores = torch.ops.aten._softmax_backward_data(grad_weights, weights, -1, weights.dtype)
        if capped is not None:
            grad_scores.mul_(1 - capped.square())
        grad_query[:, block.queries] = torch.bmm(grad_scores, keys)
        grad_key[:, block.keys].baddbmm_(grad_scores.transpose(1, 2), queries)


class _TreeAttention(torch.autograd.Function):
    """Query [T, heads, D], key [T, key heads, D], value [T, key heads, E] -> [T, heads, E].

    Only these three are kept for the backward pass.
    """

    @staticmethod
    def forward(
        ctx: Any,  # noqa: ANN401 - torch gives it no type
        query: Tensor,
        key: Tensor,
        value: Tensor,
        plan: TreePlan,
        rules: _Rules,
    ) -> Tensor:
        ctx.save_for_backward(query, key, value)
        ctx.plan, ctx.rules = plan, rules
        heads = query.shape[1]
        places = plan.places(heads, key.shape[1])
        queries, keys, values = _gathered(places, query, key, value, rules)
        out = values.new_empty(len(queries), values.shape[1])
        for bucket in plan.buckets:
            q, o = bucket.of_queries(queries, heads), bucket.of_queries(out, heads)
            k, v = bucket.of_keys(keys, heads), bucket.of_keys(values, heads)
            _attend(q, k, v, bucket, rules, o)
        return places.queries.scatter(out).view(len(query), heads, -1)

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor | None, ...]:  # noqa: ANN401
        query, key, value = ctx.saved_tensors
        heads = query.shape[1]
        places: Places = ctx.plan.places(heads, key.shape[1])
        queries, keys, values = _gathered(places, query, key, value, ctx.rules)
        grad_out = places.queries.gather(grad_outputs[0]).index_fill_(0, places.padding, 0)
        grad_q, grad_k, grad_v = torch.empty_like(queries), torch.zeros_like(keys), torch.zeros_like(values)
        for bucket in ctx.plan.buckets:
            q, d_o, d_q = (bucket.of_queries(states, heads) for states in (queries, grad_out, grad_q))
            k, v, d_k, d_v = (bucket.of_keys(states, heads) for states in (keys, values, grad_k, grad_v))
            _attend_backward((q, k, v), d_o, bucket, ctx.rules, (d_q, d_k, d_v))
        of_query = places.queries.scatter(grad_q.mul_(ctx.rules.scaling)).view_as(query)
        of_key, of_value = places.keys.scatter(grad_k).view_as(key), places.keys.scatter(grad_v).view_as(value)
        return of_query, of_key, of_value, None, None


def _gathered(places: Places, query: Tensor, key: Tensor, value: Tensor, rules: _Rules) -> tuple[Tensor, ...]:
    """Queries, times the layer's scaling, keys and values at their padded places: [places, D] each."""
    return places.queries.gather(query).mul_(rules.scaling), places.keys.gather(key), places.keys.gather(value)


def tree_attention(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    *,
    scaling: float | None = None,
    dropout: float = 0.0,
    sliding_window: int | None = None,
    softcap: float | None = None,
    tree: TreePlan | None = None,
    **others: object,
) -> tuple[Tensor, None]:
    """What transformers calls in each layer: query [1, heads, T, D], key and value [1, key heads, T, D].

    Returns the outputs [1, T, heads, D], and None for the weights, which are never whole.

    Raises:
        TrainingError: No pack came with the call, or the layer asks for something that isn't known here.
    """
    strange = [name for name, value in others.items() if name not in _OF_NO_CONCERN and value is not None]
    if tree is None or attention_mask is not None or dropout or strange or not _is_understood(module, sliding_window):
        raise TrainingError(
            f"{type(module).__name__} can't attend in packs: pack {'missing' if tree is None else 'given'}, mask "
            f"{'none' if attention_mask is None else 'given'}, dropout {dropout}, sliding window {sliding_window}, "
            f"further arguments {strange or 'none'}. Use the plain path for this model."
        )
    window = None if sliding_window is None or sliding_window >= tree.longest else sliding_window
    scale = query.shape[-1] ** -0.5 if scaling is None else scaling
    states = (_working(part)[0].transpose(0, 1) for part in (query, key, value))
    out = cast(Tensor, _TreeAttention.apply(*states, tree, _Rules(scale, window, softcap)))
    return out[None], None


def _is_understood(module: nn.Module, sliding_window: int | None) -> bool:
    """Whether a layer attends causally to everything, or to a window that it names and doesn't leave to its mask."""
    config, layer = getattr(module, "config", None), getattr(module, "layer_idx", None)
    kinds = getattr(config, "layer_types", None)
    if kinds is None or layer is None:
        slides = bool(getattr(config, "sliding_window", None)) and getattr(config, "use_sliding_window", True)
    else:
        slides = kinds[layer] == "sliding_attention"
        if not slides and kinds[layer] != "full_attention":
            return False
    return getattr(module, "is_causal", True) and (sliding_window is not None or not slides)


def _working(states: Tensor) -> Tensor:
    """In autocast's type where it is on, as torch's own attention has it."""
    kind = states.device.type
    if torch.is_autocast_enabled(kind) and states.dtype != torch.float64:
        return states.to(torch.get_autocast_dtype(kind))
    return states


@contextmanager
def attending_in_trees(model: PreTrainedModel) -> Generator[None]:
    """`model` attends in packs while the context is open, and as before after it; contexts may be nested.

    Where layers are computed again in the backward pass (gradient checkpointing), it must be open there too.
    """
    before = cast(str, cast(Any, model.config)._attn_implementation)
    AttentionInterface.register(TREE_ATTENTION, tree_attention)
    model.set_attn_implementation(TREE_ATTENTION)
    try:
        yield
    finally:
        model.set_attn_implementation(before)
