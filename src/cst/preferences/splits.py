"""Training, validation and test rows, apart by prompt and by near-duplicates of prompts.

Where a row goes depends on the seed and on the first prompt of its group alone, so rows that are added later move none
of those before them. (A new row that links two groups moves the later of the two.)
"""

import math
import random
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TypeVar

from cst.errors import DataError
from cst.near_duplicates import near_duplicate_groups
from cst.records import Demonstration, Preference, Prompt
from cst.store import seed_of
from cst.texts import text_of_turns

R = TypeVar("R", Prompt, Preference, Demonstration)


def split(
    rows: Sequence[R], shares: Mapping[str, float], *, seed: int = 0, groups: Sequence[int] | None = None
) -> dict[str, list[R]]:
    """The rows of each part, in order; `shares` are the parts' names and shares, such as `{"train": .9, "test": .1}`.

    `groups` gives for each row the index of the first row of its group, all rows of which go to one part; by default
    the groups of rows whose prompts say nearly the same. Shares are kept in the mean over groups, and not exactly.

    Raises:
        DataError: The shares don't sum to 1, or there isn't one group index for each row.
    """
    _reject_shares(shares)
    texts = [text_of_turns(row) for row in rows]
    groups = near_duplicate_groups(texts) if groups is None else groups
    if len(groups) != len(rows) or any(first > index for index, first in enumerate(groups)):
        raise DataError(f"{len(rows)} rows need {len(rows)} group indices, none above its own row's; see `split`.")
    parts: dict[str, list[R]] = {name: [] for name in shares}
    for row, first in zip(rows, groups, strict=True):
        parts[part_of(texts[first], shares, seed=seed)].append(row)
    return parts


def hold_out(rows: Sequence[R], share: float, *, where: str, seed: int = 0) -> tuple[list[R], list[R]]:
    """The rows to train on, and those held out: a `share` of the near-duplicate groups; `where` stands in the error.

    Raises:
        DataError: Nothing would be held out, or nothing left to train on.
    """
    if not share:
        return list(rows), []
    parts = split(rows, {"train": 1 - share, "held out": share}, seed=seed)
    if not all(parts.values()):
        groups = len(set(near_duplicate_groups([text_of_turns(row) for row in rows])))
        raise DataError(
            f"{where}={share:g} leaves {len(parts['train'])} of {len(rows)} rows to train on: their prompts are alike "
            f"and fall into {groups} groups, each of which stays whole. Name another share, or a file to hold out."
        )
    return parts["train"], parts["held out"]


def hold_out_rows(rows: Sequence[R], n: int, *, where: str, seed: int = 0) -> tuple[list[R], list[R]]:
    """The rows to train on, in order, and those set apart: whole near-duplicate groups that fit into `n` rows.

    Groups are gone through in an order that the seed draws. Where groups are large, fewer than `n` rows are set apart;
    `where` stands in the error.

    Raises:
        DataError: Nothing would be set apart, or nothing left to train on.
    """
    if not n:
        return list(rows), []
    groups = near_duplicate_groups([text_of_turns(row) for row in rows])
    sizes, left, chosen = Counter(groups), n, set[int]()
    for group in random.Random(f"{seed}/{where}").sample(list(sizes), len(sizes)):
        if sizes[group] <= left:
            left -= sizes[group]
            chosen.add(group)
    apart = [row for row, group in zip(rows, groups, strict=True) if group in chosen]
    kept = [row for row, group in zip(rows, groups, strict=True) if group not in chosen]
    if not (apart and kept):
        raise DataError(
            f"{where}={n} leaves {len(kept)} of {len(rows)} rows to train on: their prompts fall into {len(sizes)} "
            "groups that say nearly the same, each of which stays whole. Name another number."
        )
    return kept, apart


def part_of(key: str, shares: Mapping[str, float], *, seed: int = 0) -> str:
    """The part that a key falls into: a number in [0, 1) from SHA-256 of seed and key, against the shares in order."""
    drawn = seed_of(f"{seed}|{key}") / 2**64
    for name, share in shares.items():
        drawn -= share
        if drawn < 0:
            return name
    return max(shares, key=shares.__getitem__)  # what rounding left over of the sum


def _reject_shares(shares: Mapping[str, float]) -> None:
    if not shares or min(shares.values()) < 0 or not math.isclose(sum(shares.values()), 1):
        raise DataError(f"The shares {dict(shares)} don't sum to 1 without a negative one. Correct them.")
