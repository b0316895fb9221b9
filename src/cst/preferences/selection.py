"""Which preference rows are trained on, under which configuration each stands, and what held-out rows ask.

Rows are dropped where their prompt is held out and where the mix of tasks draws others; they are counted task by task.
Of several tasks, rows are drawn in given proportions: no row twice, no pair torn apart, the same for the same seed. A
row that names no configuration is assigned one by its system prompt. This file knows no recipe and no folder.
"""

import random
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Annotated, NamedTuple

from pydantic import Field

from cst.errors import DataError
from cst.near_duplicates import near_duplicate_groups
from cst.records import Preference, Prompt, Record, SafetyConfiguration, Text
from cst.texts import text_of_turns

Count = Annotated[int, Field(ge=0)]


class Unit(NamedTuple):
    """What a row belongs to: rows of equal units are drawn together or not at all."""

    task: str
    pair: int


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
    _reject_weights(weights, by_task)
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


def _reject_weights(weights: Mapping[str, float], by_task: Mapping[str, object]) -> None:
    unweighted, unknown = sorted(by_task.keys() - weights.keys()), sorted(weights.keys() - by_task.keys())
    if unknown:
        raise DataError(f"The mix names the tasks {unknown}, but there are only rows of {sorted(by_task)}. Correct it.")
    if unweighted:
        raise DataError(f"The tasks {unweighted} have no weight, only {sorted(weights)}. Give them one; 0 leaves out.")
    if not weights or min(weights.values()) < 0 or not sum(weights.values()):
        raise DataError(f"The weights {dict(weights)} can't be mixed by. None may be negative, one must be above 0.")


def under_configurations(
    rows: Iterable[Preference], configurations: Sequence[SafetyConfiguration], names: Collection[str] = ()
) -> list[Preference]:
    """The rows that stand under the configurations called `names` (any row by default), each naming its own.

    A row stands under the configuration of its task that has its system prompt as a wording; else, if it brings a
    system prompt, under the one of its task that has no wordings. Where there is none it is left as it is.

    Raises:
        DataError: `names` are given, and rows stand under no configuration.
    """
    found = [(row, configuration_of(row, configurations)) for row in rows]
    if names:
        _reject_unknown([row for row, name in found if name is None], len(found))
    named = [(row if name is None else row.model_copy(update={"configuration": name}), name) for row, name in found]
    return [row for row, name in named if not names or name in names]


def configuration_of(row: Preference, configurations: Sequence[SafetyConfiguration]) -> str | None:
    """The name of the configuration that a row stands under."""
    speaking = [configuration for configuration in configurations if row.task in configuration.tasks]
    for configuration in speaking:
        if row.system_prompt in (
            *configuration.wordings,
            *configuration.held_out_wordings,
            *configuration.unseen_wordings,
        ):
            return configuration.name
    unworded = [configuration.name for configuration in speaking if not configuration.wordings]
    return unworded[0] if row.system_prompt and len(unworded) == 1 else None


def _reject_unknown(rows: Sequence[Preference], n: int) -> None:
    if not rows:
        return
    found = Counter((row.task, row.system_prompt or "") for row in rows)
    (task, system_prompt), count = found.most_common(1)[0]
    raise DataError(
        f"{len(rows)} of {n} rows stand under no configuration, so that none can be left out for a model that names "
        f"its own: {count} of task {task!r} have the system prompt {system_prompt[:80]!r}. Add it to a "
        "configuration's wordings."
    )


NEAR = "near_duplicate"
"""The grouping of prompts that say nearly the same; a group is called after its first prompt."""


def prompts_of(rows: Iterable[Preference], configurations: Sequence[SafetyConfiguration]) -> list[Prompt]:
    """What rows ask, each question once, in the order of its first rows; a prompt has the id of its first row.

    A prompt brings a system prompt of its own only where some configuration has no wordings for its task: then one
    that is no configuration's wording, and the question stands once under each such. Prompts that say nearly the same
    name their group, which widens the intervals.
    """
    wordings = {text for c in configurations for text in (*c.wordings, *c.held_out_wordings, *c.unseen_wordings)}
    bring_their_own = {task for c in configurations if not c.wordings for task in c.tasks}
    found: dict[tuple[str, str], dict[str | None, Prompt]] = {}
    for row in rows:
        is_own = row.task in bring_their_own and row.system_prompt not in wordings
        own = (row.system_prompt or None) if is_own else None
        found.setdefault((row.task, text_of_turns(row)), {}).setdefault(own, _prompt(row, own))
    return _grouped(
        [prompt for under in found.values() for own, prompt in under.items() if own is not None or len(under) == 1]
    )


def _grouped(prompts: Sequence[Prompt]) -> list[Prompt]:
    firsts = near_duplicate_groups([text_of_turns(prompt) for prompt in prompts])
    several = {first for first, size in Counter(firsts).items() if size > 1}
    return [
        prompt.model_copy(update={"groups": {NEAR: prompts[first].id}}) if first in several else prompt
        for prompt, first in zip(prompts, firsts, strict=True)
    ]


def _prompt(row: Preference, system_prompt: str | None) -> Prompt:
    return Prompt(
        id=row.id,
        text=row.prompt,
        task=row.task,
        topic=row.topic,
        system_prompt=system_prompt,
        history=row.history,
    )
