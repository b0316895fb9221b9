"""Rows to packs: which rows are computed together and by which process, and the tree of unique tokens that they form.

A pack is a forest of at most three levels: what prompts begin with alike (a system prompt), the rest of a prompt, and
the responses to it. Its nodes stand parent before child, each a stretch of tokens that sees itself and its path. The
plan is a function of numbers alone: this file knows neither tensors nor models.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

from cst.errors import TrainingError
from cst.models.rendering import TokenSequence

Tokens = tuple[int, ...]

Together = Sequence[TokenSequence]
"""The sequences of a row: responses to one prompt. Its loss needs them all, so a row is never divided."""


@dataclass(frozen=True)
class Node:
    """Tokens `start` to `stop` of a pack; `parent` is the number of the node before them, None at a root.

    `depth` is how many tokens its path to the root holds: the position of its first token.
    """

    start: int
    stop: int
    parent: int | None
    depth: int

    def __len__(self) -> int:
        return self.stop - self.start


@dataclass(frozen=True)
class Pack:
    """A forest of tokens and the labels that it predicts.

    `tokens` and `positions` [T]: each unique token with its depth. Of label i of N: `predictors[i]` is the place in the
    pack whose logits speak of it, `labels[i]` the token, `owners[i]` the number of the sequence that it belongs to.
    """

    tokens: Tokens
    positions: tuple[int, ...]
    nodes: tuple[Node, ...]
    predictors: tuple[int, ...]
    labels: Tokens
    owners: tuple[int, ...]


def pack_of(sequences: Sequence[TokenSequence]) -> Pack:
    """One pack that holds each sequence once. The last token of a sequence predicts nothing and is left out.

    Raises:
        TrainingError: A response is empty, or has no token before it that could predict it.
    """
    numbers: dict[Tokens, list[int]] = {}
    for number, sequence in enumerate(sequences):
        if not 0 < sequence.response_start < len(sequence.tokens):
            raise TrainingError(
                f"Sequence {number} of {len(sequences)} has {len(sequence.tokens)} tokens and a response from token "
                f"{sequence.response_start} on; a response needs a token, and one before it. Render it again."
            )
        numbers.setdefault(_shareable(sequence), []).append(number)
    tokens, nodes = list[int](), list[Node]()
    paths: dict[int, list[int]] = {}
    for prompts, shared in _groups(sorted(numbers)):
        trunk = _grow(nodes, tokens, prompts[0][:shared], None)
        for prompt in prompts:
            stem = _grow(nodes, tokens, prompt[shared:], trunk)
            for number in numbers[prompt]:
                paths[number] = _path(nodes, _grow(nodes, tokens, sequences[number].tokens[len(prompt) : -1], stem))
    labels = {number: sequences[number].tokens[sequences[number].response_start :] for number in paths}
    return Pack(
        tokens=tuple(tokens),
        positions=tuple(node.depth + i for node in nodes for i in range(len(node))),
        nodes=tuple(nodes),
        predictors=tuple(place for number, path in paths.items() for place in path[-len(labels[number]) :]),
        labels=tuple(label for own in labels.values() for label in own),
        owners=tuple(number for number, own in labels.items() for _ in own),
    )


def _grow(nodes: list[Node], tokens: list[int], more: Tokens, parent: int | None) -> int | None:
    """Add a node under `parent` in place and give its number; no tokens make no node, and the parent stays the last."""
    if not more:
        return parent
    depth = 0 if parent is None else nodes[parent].depth + len(nodes[parent])
    nodes.append(Node(len(tokens), len(tokens) + len(more), parent, depth))
    tokens.extend(more)
    return len(nodes) - 1


def _path(nodes: Sequence[Node], node: int | None) -> list[int]:
    """The places from the root to the end of a node."""
    if node is None:
        return []
    return [*_path(nodes, nodes[node].parent), *range(nodes[node].start, nodes[node].stop)]


def _shareable(sequence: TokenSequence) -> Tokens:
    """What others may share of a sequence: its prompt or, where the labels begin with its second token, all of it.

    The last token is never shared, because it has no place in a pack.
    """
    return sequence.tokens[:-1] if sequence.response_start == 1 else sequence.tokens[: sequence.response_start]


def _groups(prompts: Sequence[Tokens]) -> Iterator[tuple[Sequence[Tokens], int]]:
    """Sorted prompts in groups, each with how many tokens its members share: the split that shares the most tokens.

    Prompts that begin alike stand side by side, so that groups are stretches; n prompts that share s tokens save
    (n - 1) s of them. `best[i]` is what can be saved from prompt i on, where its group ends and what it shares; of
    equals, the smaller group.
    """
    alike = [_shared_length(a, b) for a, b in pairwise(prompts)]
    best = [(0, 0, 0)] * (len(prompts) + 1)
    for first in range(len(prompts) - 1, -1, -1):
        shared = len(prompts[first])
        best[first] = (best[first + 1][0], first + 1, 0)
        for last in range(first + 1, len(prompts)):
            shared = min(shared, alike[last - 1])
            saved = (last - first) * shared + best[last + 1][0]
            if saved > best[first][0]:
                best[first] = (saved, last + 1, shared)
            if not shared:
                break
    first = 0
    while first < len(prompts):
        _, end, shared = best[first]
        yield prompts[first:end], shared
        first = end


def _shared_length(a: Tokens, b: Tokens) -> int:
    return next((i for i, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), min(len(a), len(b)))


def micro_packs(rows: Sequence[Together], *, token_budget: int, rank: int = 0, world_size: int = 1) -> list[list[int]]:
    """The numbers of the rows that one process computes, a pack of at most `token_budget` unique tokens at a time.

    Rows whose prompts begin alike stand together, and a row that is larger than the budget stands alone. Packs are
    dealt out largest first, each to the process that has least, and each row is dealt once. What is shared is counted
    between neighbours: a pack shares a little less where its rows begin alike in many ways.
    """
    order = sorted(range(len(rows)), key=lambda number: (_shareable(rows[number][0]), number))
    neighbours = zip(order, [None, *order], strict=False)
    total = sum(_new_tokens(rows[number], None if before is None else rows[before]) for number, before in neighbours)
    limit = min(token_budget, -(-total // world_size)) if world_size > 1 else token_budget
    packs: list[tuple[int, list[int]]] = []
    for number in order:
        if packs:
            size, held = packs[-1]
            grown = size + _new_tokens(rows[number], rows[held[-1]])
            if grown <= limit:
                packs[-1] = (grown, [*held, number])
                continue
        packs.append((_new_tokens(rows[number]), [number]))
    return _dealt(packs, world_size)[rank]


def _dealt(packs: Sequence[tuple[int, list[int]]], world_size: int) -> list[list[list[int]]]:
    loads, shares = [0] * world_size, [list[list[int]]() for _ in range(world_size)]
    for size, numbers in sorted(packs, key=lambda pack: (-pack[0], pack[1])):
        least = loads.index(min(loads))
        loads[least] += size
        shares[least].append(numbers)
    return shares


def _new_tokens(row: Together, before: Together | None = None) -> int:
    """Unique tokens that a row adds to a pack behind another; the last token of a response needs no place."""
    prompts = {_shareable(sequence) for sequence in row}
    own = sum(map(len, prompts)) + sum(len(sequence.tokens) - len(_shareable(sequence)) - 1 for sequence in row)
    return own - (_shared_length(_shareable(before[0]), _shareable(row[0])) if before is not None else 0)


def check_rows(rows: Sequence[Together], token_budget: int) -> None:
    """Make sure that each row fits into a pack of the size that the user set.

    Raises:
        TrainingError: One doesn't.
    """
    sizes = [_new_tokens(row) for row in rows]
    large = sum(size > token_budget for size in sizes)
    if large:
        raise TrainingError(
            f"training.tokens_per_pack={token_budget} is smaller than {large} of {len(sizes)} rows; "
            f"raise it to {max(sizes)}, or leave it out."
        )
