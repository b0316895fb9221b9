"""How many floating-point operations a step of preference training needs, from shapes alone.

A matrix product of [m, k] and [k, n] takes 2 m k n (Kaplan et al. 2020, arXiv 2001.08361, table 1). Frozen weights need
the gradient of their input and none of their own: once the forward's cost. The adapter's weights need both: twice.
Attention multiplies two activations, so that its backward costs twice its forward (Chowdhery et al. 2022, arXiv
2204.02311, appendix B); counted are the pairs that a causal mask lets through, where they count all. As there, nothing
that is computed again counts, and no padding. What is elementwise, the embedding and the optimizer are left out.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from cst.models.rendering import TokenSequence
from training_models import Size


@dataclass(frozen=True)
class Positions:
    """What a step has to compute.

    `tokens` go through the layers; `pairs` are of a token and one that it attends to, itself included; `scored` are
    positions whose next token's log-prob is asked for.
    """

    tokens: int
    pairs: int
    scored: int


def each_alone(sequences: Iterable[TokenSequence]) -> Positions:
    """Every sequence computed by itself, up to its last token but one, which nothing follows."""
    lengths = [(len(sequence.tokens) - 1, len(sequence.tokens) - sequence.response_start) for sequence in sequences]
    return Positions(
        tokens=sum(length for length, _ in lengths),
        pairs=sum(length * (length + 1) // 2 for length, _ in lengths),
        scored=sum(scored for _, scored in lengths),
    )


def prefixes_shared(sequences: Sequence[TokenSequence]) -> Positions:
    """Each distinct prefix computed once, however many sequences begin with it: no exact method needs less."""
    root: dict[int, Any] = {}
    tokens = pairs = 0
    for sequence in sequences:
        node = root
        for depth, token in enumerate(sequence.tokens[:-1], 1):
            if token not in node:
                node[token] = {}
                tokens += 1
                pairs += depth
            node = node[token]
    return Positions(tokens, pairs, each_alone(sequences).scored)


def step_flops(size: Size, *, vocabulary: int, rank: int, positions: Positions) -> int:
    """Operations of forward and backward with an adapter of rank `rank` on all linear layers but the head.

    The first layer's q, k and v are fed by frozen embeddings, and need no gradient of their input.
    """
    hidden, inner = size.hidden, size.intermediate
    shapes = 4 * [(hidden, hidden)] + 2 * [(hidden, inner)] + [(inner, hidden)]
    frozen = sum(rows * columns for rows, columns in shapes)
    adapter = rank * sum(rows + columns for rows, columns in shapes)
    unneeded = 3 * hidden * (hidden + rank)
    layers = positions.tokens * (size.layers * (4 * frozen + 6 * adapter) - 2 * unneeded)
    attention = size.layers * 3 * 4 * positions.pairs * hidden
    head = 4 * positions.scored * hidden * vocabulary
    return layers + attention + head
