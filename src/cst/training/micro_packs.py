"""The rows of a step to packs: which rows are computed together, and by which process.

The sequences of a row stay together, because its loss needs them all. The plan is a function of numbers alone.
"""

from collections.abc import Sequence
from itertools import pairwise

from cst.errors import TrainingError
from cst.models.rendering import TokenSequence
from cst.training.packs import prompt_of, shared_length

Together = Sequence[TokenSequence]
"""The sequences of a row: responses after the same prompt."""


def micro_packs(rows: Sequence[Together], *, token_budget: int, rank: int = 0, world_size: int = 1) -> list[list[int]]:
    """The numbers of the rows that one process computes, a pack of at most `token_budget` unique tokens at a time.

    Rows whose prompts begin alike stand together, and a row is never divided: one that is larger than the budget
    stands alone. Packs are dealt out largest first, each to the process that has least, and each row is dealt once.
    What is shared is counted between neighbours, of which a pack shares a little less where they begin alike in many
    ways.
    """
    order = sorted(range(len(rows)), key=lambda number: (prompt_of(rows[number][0]), number))
    first = sum(_new_tokens(rows[number], None) for number in order[:1])
    total = first + sum(_new_tokens(rows[b], rows[a]) for a, b in pairwise(order))
    limit = min(token_budget, -(-total // world_size)) if world_size > 1 else token_budget
    packs: list[tuple[int, list[int]]] = []
    for number in order:
        before = packs[-1] if packs else (0, [])
        grown = before[0] + _new_tokens(rows[number], rows[before[1][-1]] if before[1] else None)
        if before[1] and grown <= limit:
            packs[-1] = (grown, [*before[1], number])
        else:
            packs.append((_new_tokens(rows[number], None), [number]))
    return _dealt(packs, world_size)[rank]


def _dealt(packs: Sequence[tuple[int, list[int]]], world_size: int) -> list[list[list[int]]]:
    loads, shares = [0] * world_size, [list[list[int]]() for _ in range(world_size)]
    for size, numbers in sorted(packs, key=lambda pack: (-pack[0], pack[1])):
        least = loads.index(min(loads))
        loads[least] += size
        shares[least].append(numbers)
    return shares


def _new_tokens(row: Together, before: Together | None) -> int:
    """Unique tokens that a row adds to a pack behind another; the last token of a response needs no place."""
    prompts = {prompt_of(sequence) for sequence in row}
    own = sum(map(len, prompts)) + sum(len(sequence.tokens) - len(prompt_of(sequence)) - 1 for sequence in row)
    return own - (shared_length(prompt_of(before[0]), prompt_of(row[0])) if before is not None else 0)


def check_rows(rows: Sequence[Together], token_budget: int) -> None:
    """Make sure that each row fits into a pack of the size that the user set.

    Raises:
        TrainingError: One doesn't.
    """
    sizes = [_new_tokens(row, None) for row in rows]
    large = sum(size > token_budget for size in sizes)
    if large:
        raise TrainingError(
            f"training.tokens_per_pack={token_budget} is smaller than {large} of {len(sizes)} rows; "
            f"raise it to {max(sizes)}, or leave it out."
        )
