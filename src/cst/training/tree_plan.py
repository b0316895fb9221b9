"""Where attention in a pack finds its numbers: nodes of like size in buckets, and the way of rows into them and back.

A bucket is the only thing that is padded. This file knows nodes and places, and no arithmetic of attention.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor
from torch.nn import functional

from cst.training.packs import Node

QUERY_BLOCK = 128
"""Queries that are computed at once: keys behind them are left out, which halves the work of long nodes."""

WASTE = 1.1
"""How much larger than its nodes a bucket's padded scores may be."""

FREE_SCORES = 4096
"""Padded scores a bucket may hold beyond that: about what starting one more costs (2 CPU threads)."""


@dataclass(frozen=True)
class Bucket:
    """B nodes of like size: places in the pack of their queries [B, n] and of their keys [B, P + n].

    Keys are the path, padded on the left to P, and the node itself, padded on the right: query i is P + i - c tokens
    behind key c in every node. `hidden` [B, P] is true on the left padding, None where there is none. Its places come
    after `queries_before` and `keys_before` places of other buckets.
    """

    queries: Tensor
    keys: Tensor
    hidden: Tensor | None
    queries_before: int
    keys_before: int

    @property
    def path(self) -> int:
        """P, in tokens."""
        return self.keys.shape[1] - self.queries.shape[1]

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
            hidden = keys[:, : keys.shape[1] - queries.shape[1]] < 0
            before = [sum(b.queries.numel() for b in buckets), sum(b.keys.numel() for b in buckets)]
            any_hidden = hidden.to(device) if hidden.any() else None
            buckets.append(Bucket(queries.to(device), keys.to(device), any_hidden, *before))
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
    for node in sorted(nodes, key=lambda node: (-len(node), -node.depth)):
        grown = [*bucket, node]
        if _padded_scores(grown) > WASTE * sum(_padded_scores([each]) for each in grown) + FREE_SCORES:
            yield bucket
            grown = [node]
        bucket = grown
    if bucket:
        yield bucket


def _padded_scores(bucket: Sequence[Node]) -> int:
    """Scores of one head if these nodes are padded to the longest path and the longest node."""
    path, own = max(node.depth for node in bucket), max(len(node) for node in bucket)
    return len(bucket) * own * (path + min(own, (own + QUERY_BLOCK) // 2))


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
