"""Rows of several tasks in given proportions: exact counts, no row twice, the same for the same seed."""

import random
from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import TypeVar

from cst.errors import DataError
from cst.records import Preference, Prompt

R = TypeVar("R", Prompt, Preference)


def mix(rows: Sequence[R], weights: Mapping[str, float], *, n: int | None = None, seed: int = 0) -> list[R]:
    """`n` rows, of each task as many as its weight says, drawn without replacement and shuffled.

    By default as many as the weights allow until one task has no rows left. A task of weight 0 is left out.

    Raises:
        DataError: A task of the rows has no weight, a weight is negative or all are 0, or a task has too few rows.
    """
    by_task: dict[str, list[R]] = {task: [] for task in weights}
    for row in rows:
        by_task.setdefault(row.task, []).append(row)
    _refuse_weights(weights, by_task)
    available = {task: len(found) for task, found in by_task.items()}
    wanted = counts(weights, _most(weights, available) if n is None else n)
    mixed: list[R] = []
    for task, count in wanted.items():
        if count > available[task]:
            raise DataError(f"The mix takes {count} rows of {task!r}, and there are {available[task]}. Lower n.")
        mixed += random.Random(f"{seed}/{task}").sample(by_task[task], count)
    random.Random(seed).shuffle(mixed)
    return mixed


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
    unweighted = sorted(by_task.keys() - weights.keys())
    if unweighted:
        raise DataError(f"The tasks {unweighted} have no weight, only {sorted(weights)}. Give them one; 0 leaves out.")
    if not weights or min(weights.values()) < 0 or not sum(weights.values()):
        raise DataError(f"The weights {dict(weights)} can't be mixed by. None may be negative, one must be above 0.")
