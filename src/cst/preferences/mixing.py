"""Rows of several tasks in given proportions: no row twice, no pair torn apart, the same for the same seed.

This file knows a row's task and what stands or falls with it, and nothing else of rows.
"""

import random
from collections.abc import Iterator, Mapping, Sequence
from fractions import Fraction
from typing import NamedTuple

from cst.errors import DataError


class Unit(NamedTuple):
    """What a row belongs to: rows of equal units are drawn together or not at all."""

    task: str
    pair: int


def mix(rows: Sequence[Unit], weights: Mapping[str, float], *, seed: int = 0) -> list[bool]:
    """For each row whether it is drawn: of each task as many rows as its weight says, without replacement.

    They are as many as the weights allow until one task has no rows left. Units stay whole, so a task may fall short
    of its weight by less than its largest unit. A task of weight 0 is left out.

    Raises:
        DataError: A task has rows and no weight, or a weight and no rows; a weight is negative, or all are 0.
    """
    by_task: dict[str, dict[Unit, list[int]]] = {}
    for index, unit in enumerate(rows):
        by_task.setdefault(unit.task, {}).setdefault(unit, []).append(index)
    _refuse_weights(weights, by_task)
    available = {task: sum(map(len, units.values())) for task, units in by_task.items()}
    drawn = [False] * len(rows)
    for task, count in counts(weights, _most(weights, available)).items():
        for index in _draw(list(by_task[task].values()), count, f"{seed}/{task}"):
            drawn[index] = True
    return drawn


def _draw(units: Sequence[list[int]], count: int, seed: str) -> Iterator[int]:
    """The rows of whole units, in an order that the seed draws, up to `count`."""
    for unit in random.Random(seed).sample(units, len(units)):
        if len(unit) <= count:
            count -= len(unit)
            yield from unit


def counts(weights: Mapping[str, float], n: int) -> dict[str, int]:
    """`n` split by weights, by largest remainder (Hamilton); of equal remainders the first one wins."""
    exact = {task: Fraction(weight) * n / sum(map(Fraction, weights.values())) for task, weight in weights.items()}
    made = {task: int(share) for task, share in exact.items()}
    short = n - sum(made.values())
    for task in sorted(exact, key=lambda task: made[task] - exact[task])[:short]:
        made[task] += 1
    return made


def _most(weights: Mapping[str, float], available: Mapping[str, int]) -> int:
    """The most rows of which no task's exact share is more than it has."""
    total = sum(map(Fraction, weights.values()))
    return min(int(available[task] * total / Fraction(weight)) for task, weight in weights.items() if weight > 0)


def _refuse_weights(weights: Mapping[str, float], by_task: Mapping[str, object]) -> None:
    unweighted, unknown = sorted(by_task.keys() - weights.keys()), sorted(weights.keys() - by_task.keys())
    if unknown:
        raise DataError(f"The mix names the tasks {unknown}, but there are only rows of {sorted(by_task)}. Correct it.")
    if unweighted:
        raise DataError(f"The tasks {unweighted} have no weight, only {sorted(weights)}. Give them one; 0 leaves out.")
    if not weights or min(weights.values()) < 0 or not sum(weights.values()):
        raise DataError(f"The weights {dict(weights)} can't be mixed by. None may be negative, one must be above 0.")
