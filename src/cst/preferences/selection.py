"""Which rows are trained on: none whose prompt is held out, and of each task as many as the mix says.

Rows that aren't are counted, task by task. This file knows no recipe and no folder.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated

from pydantic import Field

from cst.preferences.mixing import Unit, mix
from cst.records import Preference, Prompt, Record, Text
from cst.texts import text_of_turns

Count = Annotated[int, Field(ge=0)]


class TaskRows(Record):
    """What became of a task's rows: `held_out` have a held-out prompt, `left_out` were not drawn by the mix."""

    task: Text
    rows: Count
    held_out: Count
    left_out: Count

    @property
    def kept(self) -> int:
        """Rows that are trained on."""
        return self.rows - self.held_out - self.left_out


@dataclass(frozen=True)
class Selection:
    """For each row whether it is trained on, and what became of the rows of each task."""

    keeps: Sequence[bool]
    counts: tuple[TaskRows, ...]


def select(
    rows: Iterable[Preference], *, held_out: Iterable[Prompt], weights: Mapping[str, float] | None, seed: int = 0
) -> Selection:
    """The rows without those that ask what a held-out prompt asks, mixed by `weights` unless these are None.

    Rows are gone through once, and none is kept: `itertools.compress(rows, selection.keeps)` gives the selected ones.

    Raises:
        DataError: As for `mix`.
    """
    asked = {text_of_turns(prompt) for prompt in held_out}
    units = [(_unit(row), text_of_turns(row) in asked) for row in rows]
    trained = [unit for unit, is_held_out in units if not is_held_out]
    drawn = iter(mix(trained, weights, seed=seed) if weights is not None else [True] * len(trained))
    keeps = [not is_held_out and next(drawn) for _, is_held_out in units]
    return Selection(keeps, tuple(_counts(units, keeps)))


def _unit(row: Preference) -> Unit:
    """Rows of one pair are one unit, in whichever order, so that mirrored rows stay together; told by a hash."""
    return Unit(row.task, hash((text_of_turns(row), frozenset((row.chosen, row.rejected)))))


def _counts(units: Sequence[tuple[Unit, bool]], keeps: Sequence[bool]) -> Iterator[TaskRows]:
    rows = Counter(unit.task for unit, _ in units)
    held_out = Counter(unit.task for unit, is_held_out in units if is_held_out)
    kept = Counter(unit.task for (unit, _), keep in zip(units, keeps, strict=True) if keep)
    for task, n in rows.items():
        yield TaskRows(task=task, rows=n, held_out=held_out[task], left_out=n - held_out[task] - kept[task])
