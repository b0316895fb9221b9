"""What the prompts of a batch begin with alike, so that it is computed once.

All prompts of a safety configuration begin with one of its few system prompts, all of a template with its opening. This
file knows tokens, no model.
"""

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

WORTH = 0.9
"""Heads are shared where at most this share of the tokens is then computed: they take a forward pass of their own."""


@dataclass(frozen=True)
class SharedHeads:
    """What prompts begin with, to one depth: prompt r begins with `heads[owners[r]]` and has a token more at least.

    Heads are distinct. Where sharing doesn't pay, the depth is 0 and the one head empty.
    """

    heads: list[tuple[int, ...]]
    owners: list[int]

    @property
    def depth(self) -> int:
        """Tokens of each head."""
        return len(self.heads[0])


def shared_heads(prompts: Sequence[Sequence[int]]) -> SharedHeads:
    """The heads with which the fewest tokens are to be computed, padding counted."""
    rows = [tuple(prompt) for prompt in prompts]
    depth = _cheapest_depth(rows)
    heads = {head: index for index, head in enumerate(dict.fromkeys(row[:depth] for row in rows))}
    return SharedHeads(list(heads), [heads[row[:depth]] for row in rows])


def _cheapest_depth(rows: Sequence[tuple[int, ...]]) -> int:
    """Sorted, only neighbours need comparing: each pair that parts before a depth adds a head to that depth."""
    parts_at = sorted(_alike(first, second) for first, second in pairwise(sorted(rows)))
    width = max(map(len, rows))

    def computed(depth: int) -> int:
        heads = 1 + bisect_left(parts_at, depth)
        return heads * depth + len(rows) * (width - depth)

    best = min(range(min(map(len, rows))), key=computed)
    return best if computed(best) <= WORTH * computed(0) else 0


def _alike(first: Sequence[int], second: Sequence[int]) -> int:
    """How many tokens two prompts begin with alike."""
    return next(
        (i for i, (a, b) in enumerate(zip(first, second, strict=False)) if a != b), min(len(first), len(second))
    )
