"""Attention in a pack: each token sees itself, what stands before it in its node, and the path from there to the root.

It enters unmodified models through transformers' attention interface, and a pack's structure reaches it as a keyword
argument that the models hand down. Nodes of like size are computed together in a bucket, as batched matrix products
over keys and values gathered along their paths; only a bucket is padded. On a CPU that is faster than torch's flash
attention for short stretches (2 threads, bfloat16, six heads of 64, 2,048 tokens forward and backward: nodes of 16
tokens 10 against 28 ms, of 64 tokens 9 against 19 ms, of 400 tokens 31 against 35 ms, of 1,024 tokens 54 against 49
ms). On CUDA a varlen kernel over the gathered keys (`torch.nn.attention.varlen`) could take the place of `_attend` and
`_attend_backward`.

The first half of this file says where attention finds its numbers, the second computes. It knows neither losses nor
sequences.
"""

import math
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers import AttentionInterface, PreTrainedModel

from cst.errors import TrainingError
from cst.training.packing.packs import Node
from cst.training.packing.response_head import in_autocast_type

TREE_ATTENTION = "cst_tree"
"""The name of this attention in transformers' interface."""

_OF_NO_CONCERN = frozenset({"position_ids", "use_cache", "output_attentions", "output_hidden_states", "is_causal"})

QUERY_BLOCK = 128
"""Queries that are computed at once: keys behind them are left out, which halves the work of long nodes."""

FREE_SCORES = 4096
"""How many more scores a bucket may hold than its nodes need: about what starting one more costs (CPU)."""


@dataclass(frozen=True)
class Block:
    """Some of the queries of a bucket's nodes, and the keys that any of them sees.

    `mask` [queries, M] is added to the scores of the last M keys: -inf where a query doesn't see a key. `hidden` [B, H]
    is true where the first H keys are padding; None where none is.
    """

    queries: slice
    keys: slice
    mask: Tensor
    hidden: Tensor | None


@dataclass(frozen=True)
class Bucket:
    """B nodes of like size: places in the pack of their queries [B, n] and of their keys [B, P + n].

    Keys are the path, padded on the left to P, and the node itself, padded on the right: query i is P + i - c tokens
    behind key c in every node. `hidden` [B, H] is true on the left padding, of H tokens at most.
    """

    queries: Tensor
    keys: Tensor
    hidden: Tensor
    _blocks: dict[tuple[int | None, torch.dtype], list[Block]] = field(
        default_factory=dict[tuple[int | None, torch.dtype], list[Block]]
    )

    @property
    def path(self) -> int:
        """P, in tokens."""
        return self.keys.shape[1] - self.queries.shape[1]

    def blocks(self, window: int | None, dtype: torch.dtype) -> list[Block]:
        """Its queries in blocks, for layers with that sliding window and scores of that type; made once."""
        if (window, dtype) not in self._blocks:
            starts = range(0, self.queries.shape[1], QUERY_BLOCK)
            self._blocks[window, dtype] = [self._block(first, window, dtype) for first in starts]
        return self._blocks[window, dtype]

    def _block(self, first: int, window: int | None, dtype: torch.dtype) -> Block:
        last = min(first + QUERY_BLOCK, self.queries.shape[1])
        left = 0 if window is None else max(0, self.path + first + 1 - window)
        masked = self.path + first if window is None else left  # without a window each query sees what is before it
        device = self.queries.device
        queries = torch.arange(self.path + first, self.path + last, device=device)
        distance = queries[:, None] - torch.arange(masked, self.path + last, device=device)
        unseen = distance < 0 if window is None else (distance < 0) | (distance >= window)
        mask = torch.zeros_like(unseen, dtype=dtype).masked_fill_(unseen, -math.inf)
        hidden = self.hidden[:, left:]
        return Block(slice(first, last), slice(left, self.path + last), mask, hidden if hidden.numel() else None)


@dataclass(frozen=True)
class Gathering:
    """Queries or keys of tokens' heads, which lie as [T * heads] rows, at places: [B, heads, n] of bucket after bucket.

    `rows`: which row stands at each place, and any at `padding`. `uses` and `starts`: the places of each row, row by
    row, as torch's embedding_bag takes them. `shapes`: [B * heads, n] of each bucket.
    """

    rows: Tensor
    padding: Tensor
    uses: Tensor
    starts: Tensor
    shapes: tuple[tuple[int, int], ...]

    @classmethod
    def of(cls, indices: Sequence[Tensor], heads: int, row_heads: int, size: int) -> "Gathering":
        """From each bucket's tokens [B, n] (-1: padding), of `size` in all, whose `row_heads` are shared by `heads`."""
        device = indices[0].device
        head = torch.arange(heads, device=device)[:, None] // (heads // row_heads)
        by_head = [(index[:, None] * row_heads + head).masked_fill(index[:, None] < 0, -1) for index in indices]
        rows = torch.cat([index.flatten() for index in by_head])
        real = (rows >= 0).nonzero()[:, 0]
        ordered, order = rows[real].sort(stable=True)
        starts = torch.searchsorted(ordered, torch.arange(size * row_heads, device=device))
        shapes = tuple((len(index) * heads, index.shape[1]) for index in indices)
        return cls(rows.clamp(min=0), (rows < 0).nonzero()[:, 0], real[order], starts, shapes)

    def gather(self, states: Tensor) -> Tensor:
        """[T, heads, D] -> [places, D]."""
        return functional.embedding(self.rows, states.reshape(-1, states.shape[-1]))

    def scatter(self, places: Tensor) -> Tensor:
        """Each row's sum over its places: [places, D] -> [rows, D]; 16-bit sums are rounded once."""
        return functional.embedding_bag(self.uses, places, self.starts, mode="sum")

    def by_bucket(self, places: Tensor) -> list[Tensor]:
        """Each bucket's part of all places: [places, D] -> views [B * heads, n, D]."""
        parts = places.split([lines * columns for lines, columns in self.shapes])
        return [part.view(*shape, -1) for part, shape in zip(parts, self.shapes, strict=True)]


@dataclass(frozen=True)
class TreePlan:
    """What the layers need to know of a pack of `size` tokens: its nodes in buckets; `longest` is its deepest path."""

    size: int
    longest: int
    buckets: tuple[Bucket, ...]
    _places: dict[tuple[int, int], tuple[Gathering, Gathering]] = field(
        default_factory=dict[tuple[int, int], tuple[Gathering, Gathering]]
    )

    @classmethod
    def of(cls, nodes: Sequence[Node], device: torch.device) -> "TreePlan":
        """The plan of a pack's nodes."""
        buckets: list[Bucket] = []
        for members in _alike(nodes):
            queries, keys = _padded(nodes, members)
            depths = [node.depth for node in members]
            hidden = (keys[:, : max(depths) - min(depths)] < 0).to(device)
            buckets.append(Bucket(queries.to(device), keys.to(device), hidden))
        longest = max(node.depth + len(node) for node in nodes)
        return cls(sum(len(node) for node in nodes), longest, tuple(buckets))

    def places(self, heads: int, key_heads: int) -> tuple[Gathering, Gathering]:
        """Queries and keys of layers whose `heads` query heads share `key_heads` key heads; made once."""
        if (heads, key_heads) not in self._places:
            self._places[heads, key_heads] = (
                Gathering.of([bucket.queries for bucket in self.buckets], heads, heads, self.size),
                Gathering.of([bucket.keys for bucket in self.buckets], heads, key_heads, self.size),
            )
        return self._places[heads, key_heads]


def _alike(nodes: Sequence[Node]) -> Iterator[list[Node]]:
    """Nodes in buckets, the longest first: another begins where padding would cost more than a bucket does."""
    bucket: list[Node] = []
    path = needed = 0
    for node in sorted(nodes, key=lambda node: (-len(node), -node.depth)):
        own, alone = len(bucket[0] if bucket else node), _scores(1, len(node), node.depth)
        if _scores(len(bucket) + 1, own, max(path, node.depth)) > needed + alone + FREE_SCORES:
            yield bucket
            bucket, path, needed = [], 0, 0
        bucket.append(node)
        path, needed = max(path, node.depth), needed + alone
    yield bucket


def _scores(nodes: int, own: int, path: int) -> int:
    """Scores of one head for so many nodes of `own` tokens behind paths of `path` tokens."""
    return nodes * own * (path + min(own, (own + QUERY_BLOCK) // 2))


def _padded(nodes: Sequence[Node], members: Sequence[Node]) -> tuple[Tensor, Tensor]:
    """A bucket's queries [B, n] and keys [B, P + n], with -1 where they are padded."""
    own, path = max(len(node) for node in members), max(node.depth for node in members)
    queries = torch.full((len(members), own), -1)
    keys = torch.full((len(members), path + own), -1)
    for line, node in enumerate(members):
        queries[line, : len(node)] = torch.arange(node.start, node.stop)
        keys[line, path : path + len(node)] = torch.arange(node.start, node.stop)
        end, ancestor = path, node.parent
        while ancestor is not None:
            above = nodes[ancestor]
            keys[line, end - len(above) : end] = torch.arange(above.start, above.stop)
            end, ancestor = end - len(above), above.parent
    return queries, keys


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
        of_queries, of_keys = plan.places(query.shape[1], key.shape[1])
        queries, keys, values = of_queries.gather(query).mul_(rules.scaling), of_keys.gather(key), of_keys.gather(value)
        out = values.new_empty(len(queries), values.shape[1])
        parts = (*map(of_queries.by_bucket, (queries, out)), *map(of_keys.by_bucket, (keys, values)))
        for bucket, q, o, k, v in zip(plan.buckets, *parts, strict=True):
            _attend(q, k, v, bucket, rules, o)
        return of_queries.scatter(out).view(*query.shape[:2], -1)

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor | None, ...]:  # noqa: ANN401
        query, key, value = ctx.saved_tensors
        plan, rules = cast(TreePlan, ctx.plan), cast(_Rules, ctx.rules)
        of_queries, of_keys = plan.places(query.shape[1], key.shape[1])
        queries, keys, values = of_queries.gather(query).mul_(rules.scaling), of_keys.gather(key), of_keys.gather(value)
        grad_out = of_queries.gather(grad_outputs[0]).index_fill_(0, of_queries.padding, 0)
        grad_q, grad_k, grad_v = torch.empty_like(queries), torch.zeros_like(keys), torch.zeros_like(values)
        parts = (
            *map(of_queries.by_bucket, (queries, grad_out, grad_q)),
            *map(of_keys.by_bucket, (keys, values, grad_k, grad_v)),
        )
        for bucket, q, d_o, d_q, k, v, d_k, d_v in zip(plan.buckets, *parts, strict=True):
            _attend_backward((q, k, v), d_o, bucket, rules, (d_q, d_k, d_v))
        of_query = of_queries.scatter(grad_q.mul_(rules.scaling)).view_as(query)
        return of_query, of_keys.scatter(grad_k).view_as(key), of_keys.scatter(grad_v).view_as(value), None, None


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
    states = (in_autocast_type(part)[0].transpose(0, 1) for part in (query, key, value))
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
