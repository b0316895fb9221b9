"""Where attention in a pack finds its numbers: nodes of like size in buckets, and the way of rows into them and back.

A bucket is the only thing that is padded. This file knows nodes and places, and no arithmetic of attention.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor
from torch.nn import functional

from cst.training.packs import Node

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
    behind key c in every node. `hidden` [B, H] is true on the left padding, of H tokens at most. Its places come after
    `queries_before` and `keys_before` places of other buckets.
    """

    queries: Tensor
    keys: Tensor
    hidden: Tensor
    queries_before: int
    keys_before: int
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

    def of_queries(self, states: Tensor, heads: int) -> Tensor:
        """The bucket's part of all query places: [places, D] -> a view [B * heads, n, D]."""
        return _part(states, self.queries, self.queries_before, heads)

    def of_keys(self, states: Tensor, heads: int) -> Tensor:
        """The bucket's part of all key places: [places, D] -> a view [B * heads, P + n, D]."""
        return _part(states, self.keys, self.keys_before, heads)


def _part(states: Tensor, index: Tensor, before: int, heads: int) -> Tensor:
    return states[before * heads : (before + index.numel()) * heads].view(len(index) * heads, index.shape[1], -1)


@dataclass(frozen=True)
class Gathering:
    """The same for tokens' heads, which lie as [T * heads] rows.

    `rows`: which row stands at each padded place, [B, heads, n] of one bucket after the other. `uses` and `starts`:
    the padded places of each row, row by row, as torch's embedding_bag takes them.
    """

    rows: Tensor
    uses: Tensor
    starts: Tensor

    def gather(self, states: Tensor) -> Tensor:
        """[T, heads, D] -> [places, D]."""
        return functional.embedding(self.rows, states.reshape(-1, states.shape[-1]))

    def scatter(self, places: Tensor) -> Tensor:
        """Each row's sum over its places: [places, D] -> [rows, D]; 16-bit sums are rounded once."""
        return functional.embedding_bag(self.uses, places, self.starts, mode="sum")


@dataclass(frozen=True)
class Places:
    """Both sides of the attention of a model's layer: its queries and its keys, and which query places are padding."""

    queries: Gathering
    keys: Gathering
    padding: Tensor


@dataclass(frozen=True)
class TreePlan:
    """What the layers need to know of a pack of `size` tokens: its nodes in buckets; `longest` is its deepest path."""

    size: int
    longest: int
    buckets: tuple[Bucket, ...]
    _places: dict[tuple[int, int], Places] = field(default_factory=dict[tuple[int, int], Places])

    @classmethod
    def of(cls, nodes: Sequence[Node], device: torch.device) -> "TreePlan":
        """The plan of a pack's nodes."""
        buckets: list[Bucket] = []
        for members in _alike(nodes):
            queries, keys = _padded(nodes, members)
            depths = [node.depth for node in members]
            hidden = (keys[:, : max(depths) - min(depths)] < 0).to(device)
            before = sum(b.queries.numel() for b in buckets), sum(b.keys.numel() for b in buckets)
            buckets.append(Bucket(queries.to(device), keys.to(device), hidden, before[0], before[1]))
        longest = max(node.depth + len(node) for node in nodes)
        return cls(sum(len(node) for node in nodes), longest, tuple(buckets))

    def places(self, heads: int, key_heads: int) -> Places:
        """For layers of `heads` query heads that share `key_heads` key heads; made once."""
        if (heads, key_heads) not in self._places:
            queries = [bucket.queries for bucket in self.buckets]
            keys = [bucket.keys for bucket in self.buckets]
            padding = torch.cat([_for_heads(index, heads, heads) for index in queries]) < 0
            self._places[heads, key_heads] = Places(
                queries=_gathering(queries, heads, heads, self.size),
                keys=_gathering(keys, heads, key_heads, self.size),
                padding=padding.nonzero()[:, 0],
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


def _for_heads(index: Tensor, heads: int, key_heads: int) -> Tensor:
    """Places of tokens [B, n] as rows of their heads, [B * heads * n]; padding stays negative."""
    head = torch.arange(heads, device=index.device) // (heads // key_heads)
    rows = index[:, None] * key_heads + head[:, None]
    return rows.masked_fill(index[:, None] < 0, -1).flatten()


def _gathering(indices: Sequence[Tensor], heads: int, key_heads: int, size: int) -> Gathering:
    rows = torch.cat([_for_heads(index, heads, key_heads) for index in indices])
    real = (rows >= 0).nonzero()[:, 0]
    ordered, order = rows[real].sort(stable=True)
    starts = torch.searchsorted(ordered, torch.arange(size * key_heads, device=rows.device))
    return Gathering(rows.clamp(min=0), real[order], starts)
