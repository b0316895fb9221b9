"""The rows of a step to packs: which rows are computed together, and by which process.

A row's two responses stay together, because its loss needs both. The plan is a function of numbers alone.
"""

from collections.abc import Sequence
from itertools import pairwise

from cst.errors import TrainingError
from cst.models.rendering import TokenSequence
from cst.training.packs import shared_length

Pair = tuple[TokenSequence, TokenSequence]
"""Chosen and rejected response of a row, after the same prompt."""


def micro_packs(pairs: Sequence[Pair], *, token_budget: int, rank: int = 0, world_size: int = 1) -> list[list[int]]:
    """The numbers of the pairs that one process computes, a pack of at most `token_budget` unique tokens at a time.

    Pairs whose prompts begin alike stand together, and a pair is never divided: one that is larger than the budget
    stands alone. Packs are dealt out largest first, each to the process that has least, and each pair is dealt once.
    """
    order = sorted(range(len(pairs)), key=lambda number: (_prompt(pairs[number]), number))
    first = sum(_new_tokens(pairs[number], None) for number in order[:1])
    total = first + sum(_new_tokens(pairs[b], pairs[a]) for a, b in pairwise(order))
    limit = min(token_budget, -(-total // world_size)) if world_size > 1 else token_budget
    packs: list[tuple[int, list[int]]] = []
    for number in order:
        before = packs[-1] if packs else (0, [])
        grown = before[0] + _new_tokens(pairs[number], pairs[before[1][-1]] if before[1] else None)
        if before[1] and grown <= limit:
            packs[-1] = (grown, [*before[1], number])
        else:
            packs.append((_new_tokens(pairs[number], None), [number]))
    return _dealt(packs, world_size)[rank]


def _dealt(packs: Sequence[tuple[int, list[int]]], world_size: int) -> list[list[list[int]]]:
    loads, shares = [0] * world_size, [list[list[int]]() for _ in range(world_size)]
    for size, numbers in sorted(packs, key=lambda pack: (-pack[0], pack[1])):
        least = loads.index(min(loads))
        loads[least] += size
        shares[least].append(numbers)
    return shares


def _prompt(pair: Pair) -> tuple[int, ...]:
    chosen, _ = pair
    return chosen.tokens[: chosen.response_start]


def _new_tokens(pair: Pair, before: Pair | None) -> int:
    """Unique tokens that a pair adds to a pack behind another; the last token of a response needs no place."""
    prompt = _prompt(pair)
    responses = sum(len(side.tokens) - len(prompt) - 1 for side in pair)
    return len(prompt) + responses - (shared_length(_prompt(before), prompt) if before is not None else 0)


def check_rows(pairs: Sequence[Pair], token_budget: int) -> None:
    """Make sure that each pair fits into a pack of the size that the user set.

    Raises:
        TrainingError: One doesn't.
    """
    sizes = [_new_tokens(pair, None) for pair in pairs]
    large = sum(size > token_budget for size in sizes)
    if large:
        raise TrainingError(
            f"training.tokens_per_pack={token_budget} is smaller than {large} of {len(sizes)} rows; "
            f"raise it to {max(sizes)}, or leave it out."
        )
