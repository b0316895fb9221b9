"""Sequences to packs: trees of unique tokens, so that neither padding nor a shared prefix is computed twice.

A pack is a forest of at most three levels: what prompts begin with alike (a system prompt), the rest of a prompt, and
the responses to it. Its nodes stand parent before child, each a stretch of tokens that sees itself and its path. The
plan is a function of numbers alone: this file knows neither tensors nor models.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from cst.errors import TrainingError
from cst.models.rendering import TokenSequence

Tokens = tuple[int, ...]


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

    `tokens` and `positions` [T]: each unique token with its depth. `rows` [R]: which sequences it holds, by their
    number in the plan. Of label i of N: `predictors[i]` is the place in the pack whose logits speak of it,
    `labels[i]` the token, `owners[i]` the place of its sequence in `rows`.
    """

    tokens: Tokens
    positions: tuple[int, ...]
    nodes: tuple[Node, ...]
    rows: tuple[int, ...]
    predictors: tuple[int, ...]
    labels: Tokens
    owners: tuple[int, ...]


def plan_packs(sequences: Sequence[TokenSequence], token_budget: int) -> list[Pack]:
    """Packs of at most `token_budget` unique tokens that hold each sequence once; one that is larger stands alone.

    The last token of a sequence predicts nothing and is left out.

    Raises:
        TrainingError: A response is empty, or has no token before it that could predict it.
    """
    for number, sequence in enumerate(sequences):
        if not 0 < sequence.response_start < len(sequence.tokens):
            raise TrainingError(
                f"Sequence {number} of {len(sequences)} has {len(sequence.tokens)} tokens and a response from token "
                f"{sequence.response_start} on; a response needs a token, and one before it. Render it again."
            )
    bins: list[_Bin] = []
    for block in _blocks(sequences, token_budget):
        _put(block, bins, token_budget)
    return [_assemble(filled, sequences) for filled in bins]


@dataclass(frozen=True)
class _Block:
    """A prompt with some of its responses: what is never divided further. `shared` tokens of the prompt are a trunk."""

    prompt: Tokens
    shared: int
    rows: tuple[int, ...]
    size: int

    @property
    def trunk(self) -> Tokens:
        return self.prompt[: self.shared]


@dataclass
class _Bin:
    """A pack while it is filled: blocks by their trunk."""

    blocks: dict[Tokens, list[_Block]] = field(default_factory=dict[Tokens, list[_Block]])
    size: int = 0

    def grown(self, block: _Block) -> int:
        """Its size with one block more."""
        return self.size + block.size + (0 if block.trunk in self.blocks else block.shared)

    def add(self, block: _Block) -> None:
        self.size = self.grown(block)
        self.blocks.setdefault(block.trunk, []).append(block)


def _put(block: _Block, bins: list[_Bin], token_budget: int) -> None:
    """Into the first pack with room that holds its trunk already, or else into the first with room, or a new one."""
    fitting = [filled for filled in bins if filled.grown(block) <= token_budget]
    related = [filled for filled in fitting if block.trunk in filled.blocks]
    if not fitting:
        bins.append(_Bin())
    next(iter(related or fitting or bins[-1:])).add(block)


def _blocks(sequences: Sequence[TokenSequence], token_budget: int) -> Iterator[_Block]:
    """All blocks, trunk by trunk, the largest of a trunk first."""
    rows: dict[Tokens, list[int]] = {}
    for row, sequence in enumerate(sequences):
        rows.setdefault(prompt_of(sequence), []).append(row)
    for prompts, shared in _groups(sorted(rows)):
        blocks = [block for p in prompts for block in _divided(p, shared, rows[p], sequences, token_budget)]
        yield from sorted(blocks, key=lambda block: -block.size)


def _divided(
    prompt: Tokens, shared: int, rows: Sequence[int], sequences: Sequence[TokenSequence], token_budget: int
) -> Iterator[_Block]:
    """The responses to one prompt in as few blocks as the budget allows."""
    own, held, size = len(prompt) - shared, [], 0
    for row in rows:
        length = len(sequences[row].tokens) - len(prompt) - 1
        if held and len(prompt) + size + length > token_budget:
            yield _Block(prompt, shared, tuple(held), own + size)
            held, size = [], 0
        held.append(row)
        size += length
    yield _Block(prompt, shared, tuple(held), own + size)


def _groups(prompts: Sequence[Tokens]) -> Iterator[tuple[Sequence[Tokens], int]]:
    """Sorted prompts in groups, each with how many tokens its members share: the split that shares the most tokens.

    Prompts that begin alike stand side by side, so that groups are stretches; n prompts that share s tokens save
    (n - 1) s of them. `best[i]` is what can be saved from prompt i on, and where its group ends; of equals, the
    smaller group.
    """
    alike = [shared_length(a, b) for a, b in pairwise(prompts)]
    best = [(0, 0, 0)] * len(prompts) + [(0, 0, 0)]
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


def prompt_of(sequence: TokenSequence) -> Tokens:
    """What others may share of a sequence: its prompt or, where the labels begin with its second token, all of it.

    The last token is never shared, because it has no place in a pack.
    """
    return sequence.tokens[:-1] if sequence.response_start == 1 else sequence.tokens[: sequence.response_start]


def shared_length(a: Tokens, b: Tokens) -> int:
    """How many tokens two prompts begin with alike."""
    return next((i for i, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), min(len(a), len(b)))


@dataclass
class _Draft:
    """A pack while it is written out."""

    tokens: list[int] = field(default_factory=list[int])
    nodes: list[Node] = field(default_factory=list[Node])

    def grow(self, tokens: Tokens, parent: int | None) -> int | None:
        """Add a node under `parent` and give its number; no tokens make no node, and the parent stays the last."""
        if not tokens:
            return parent
        depth = 0 if parent is None else self.nodes[parent].depth + len(self.nodes[parent])
        self.nodes.append(Node(len(self.tokens), len(self.tokens) + len(tokens), parent, depth))
        self.tokens.extend(tokens)
        return len(self.nodes) - 1

    def path(self, node: int | None) -> list[int]:
        """The places from the root to the end of a node."""
        if node is None:
            return []
        found = self.nodes[node]
        return [*self.path(found.parent), *range(found.start, found.stop)]


def _assemble(filled: _Bin, sequences: Sequence[TokenSequence]) -> Pack:
    draft, rows = _Draft(), list[int]()
    predictors, labels, owners = list[int](), list[int](), list[int]()
    for trunk, blocks in filled.blocks.items():
        root = draft.grow(trunk, None)
        for block in blocks:
            stem = draft.grow(block.prompt[block.shared :], root)
            for row in block.rows:
                tokens, first = sequences[row].tokens, sequences[row].response_start
                leaf = draft.grow(tokens[len(block.prompt) : -1], stem)
                predictors += draft.path(leaf)[first - 1 :]
                labels += tokens[first:]
                owners += [len(rows)] * (len(tokens) - first)
                rows.append(row)
    return Pack(
        tokens=tuple(draft.tokens),
        positions=tuple(node.depth + i for node in draft.nodes for i in range(len(node))),
        nodes=tuple(draft.nodes),
        rows=tuple(rows),
        predictors=tuple(predictors),
        labels=tuple(labels),
        owners=tuple(owners),
    )
