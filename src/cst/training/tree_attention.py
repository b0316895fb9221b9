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
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor, nn
from transformers import AttentionInterface, PreTrainedModel

from cst.errors import TrainingError
from cst.training.tree_plan import QUERY_BLOCK, Bucket, Places, TreePlan

TREE_ATTENTION = "cst_tree"
"""The name of this attention in transformers' interface."""

_OF_NO_CONCERN = frozenset({"position_ids", "use_cache", "output_attentions", "output_hidden_states", "is_causal"})


@dataclass(frozen=True)
class _Rules:
    """How a layer scores: `scaling` of products, tokens in the sliding `window`, `softcap` of scores (None: none)."""

    scaling: float
    window: int | None
    softcap: float | None


@dataclass(frozen=True)
class _Block:
    """Queries `first` to `last` of a bucket's nodes and the keys `left` to `right` that any of them sees."""

    first: int
    last: int
    left: int
    right: int


def _blocks(bucket: Bucket, rules: _Rules) -> Iterator[_Block]:
    own = bucket.queries.shape[1]
    for first in range(0, own, QUERY_BLOCK):
        last = min(first + QUERY_BLOCK, own)
        left = 0 if rules.window is None else max(0, bucket.path + first + 1 - rules.window)
        yield _Block(first, last, left, bucket.path + last)


def _weights(query: Tensor, key: Tensor, bucket: Bucket, block: _Block, rules: _Rules) -> tuple[Tensor, Tensor | None]:
    """Attention weights [B * heads, queries, keys] of a block, and tanh(score / softcap) where scores are capped."""
    scores = _products(query[:, block.first : block.last], key[:, block.left : block.right].transpose(1, 2), rules)
    capped = None
    if rules.softcap is not None:
        capped = scores.div_(rules.softcap).tanh_()
        scores = capped * rules.softcap
    first = bucket.path + block.first - block.left if rules.window is None else 0  # each query sees what is before it
    scores[..., first:] += _mask(bucket.path, block, first, rules, scores)
    if bucket.hidden is not None and block.left < bucket.path:
        hidden = bucket.hidden[:, block.left :]
        by_node = scores.view(len(hidden), -1, *scores.shape[1:])
        by_node[..., : hidden.shape[1]].masked_fill_(hidden[:, None, None], -math.inf)
    return scores.softmax(-1), capped


def _products(queries: Tensor, keys: Tensor, rules: _Rules) -> Tensor:
    return torch.baddbmm(queries.new_empty(()), queries, keys, beta=0, alpha=rules.scaling)


def _mask(path: int, block: _Block, first: int, rules: _Rules, like: Tensor) -> Tensor:
    """What is added to scores of a block's keys from the one at `first` on: -inf where a query doesn't see a key."""
    queries = torch.arange(path + block.first, path + block.last, device=like.device)
    distance = queries[:, None] - torch.arange(block.left + first, block.right, device=like.device)
    unseen = distance < 0 if rules.window is None else (distance < 0) | (distance >= rules.window)
    return torch.zeros_like(unseen, dtype=like.dtype).masked_fill_(unseen, -math.inf)


def _attend(query: Tensor, key: Tensor, value: Tensor, bucket: Bucket, rules: _Rules, out: Tensor) -> None:
    """Outputs of a bucket into `out`; all tensors are [B * heads, n or P + n, D]."""
    for block in _blocks(bucket, rules):
        weights, _ = _weights(query, key, bucket, block, rules)
        out[:, block.first : block.last] = torch.bmm(weights, value[:, block.left : block.right])


def _attend_backward(
    states: Sequence[Tensor], grad_out: Tensor, bucket: Bucket, rules: _Rules, grads: Sequence[Tensor]
) -> None:
    """Gradients of query, key and value of a bucket into `grads`; the weights are computed again."""
    query, key, value = states
    grad_query, grad_key, grad_value = grads
    for block in _blocks(bucket, rules):
        queries, keys = slice(block.first, block.last), slice(block.left, block.right)
        weights, capped = _weights(query, key, bucket, block, rules)
        grad_value[:, keys].baddbmm_(weights.transpose(1, 2), grad_out[:, queries])
        grad_weights = torch.bmm(grad_out[:, queries], value[:, keys].transpose(1, 2))
        grad_scores = torch.ops.aten._softmax_backward_data(grad_weights, weights, -1, weights.dtype)
        if capped is not None:
            grad_scores.mul_(1 - capped.square())
        grad_query[:, queries] = _products(grad_scores, key[:, keys], rules)
        grad_key[:, keys].baddbmm_(grad_scores.transpose(1, 2), query[:, queries], alpha=rules.scaling)


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
        queries, keys, values = places.queries.gather(query), places.keys.gather(key), places.keys.gather(value)
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
        queries, keys, values = places.queries.gather(query), places.keys.gather(key), places.keys.gather(value)
        grad_out = places.queries.gather(grad_outputs[0]).index_fill_(0, places.padding, 0)
        grad_q, grad_k, grad_v = torch.empty_like(queries), torch.zeros_like(keys), torch.zeros_like(values)
        for bucket in ctx.plan.buckets:
            q, d_o, d_q = (bucket.of_queries(states, heads) for states in (queries, grad_out, grad_q))
            k, v, d_k, d_v = (bucket.of_keys(states, heads) for states in (keys, values, grad_k, grad_v))
            _attend_backward((q, k, v), d_o, bucket, ctx.rules, (d_q, d_k, d_v))
        of_query = places.queries.scatter(grad_q).view_as(query)
        of_key, of_value = places.keys.scatter(grad_k).view_as(key), places.keys.scatter(grad_v).view_as(value)
        return of_query, of_key, of_value, None, None


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
