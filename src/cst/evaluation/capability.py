"""Capability scores: the mean of an item's metric, its interval, and its paired change against the start model.

This file knows what was answered and not how (`harness`).
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Annotated, TypeAlias

from pydantic import Field

from cst.errors import DataError
from cst.evaluation.comparisons import mcnemar, paired_counts
from cst.evaluation.scores import Count
from cst.intervals import IntervalMethod, bootstrap, newcombe, wilson
from cst.records import Record, Text

Rate = Annotated[float, Field(ge=0, le=1)]
Difference = Annotated[float, Field(ge=-1, le=1)]

ItemKey: TypeAlias = tuple[str, str]
"""An item's id and hash."""


class AskedSet(Record):
    """What one model was asked: a set, how, and under which system prompt.

    `set` is a task of lm-eval or a group of them. `chat_template` is the SHA-256 of the template, None for plain text.
    """

    set: Text
    model: Text
    configuration: Text
    system_prompt: str | None
    chat_template: Text | None
    num_fewshot: Count
    metric: Text


class CapabilityAnswer(AskedSet):
    """One item as one model answered it.

    `item_hash` is lm-eval's hash of the item. `value` is its metric: 0 or 1 for an accuracy, a share for TruthfulQA's
    mc2, None where it is no number. `target` is what the task calls right, `logps[i]` nats of choice i.
    """

    item_id: Text
    item_hash: Text
    value: Rate | None
    target: str
    logps: tuple[float, ...]


class CapabilityChange(Record):
    """A model's mean minus the start model's on the same items, with its 95 % interval.

    Where every item is 0 or 1, `only_model` and `only_against` count the items that one of the two got right, and
    `p_value` is the exact McNemar test's.
    """

    against: Text
    difference: Difference
    low: Difference
    high: Difference
    only_model: Count | None = None
    only_against: Count | None = None
    p_value: Rate | None = None


class CapabilityScore(AskedSet):
    """Mean of the metric over `n` items; `unscored` ones gave no number. `change` is against the start model."""

    mean: Rate | None
    n: Count
    unscored: Count
    low: Rate
    high: Rate
    interval: IntervalMethod
    change: CapabilityChange | None = None

    @property
    def rate(self) -> float | None:
        """`mean`, under the name that every score has for it."""
        return self.mean


def capability_scores(groups: Iterable[Sequence[CapabilityAnswer]], *, base: str) -> Iterator[CapabilityScore]:
    """One score for each group of answers, which are of one set by one model under one configuration.

    Groups may be read one by one; those of `base` come first. The others' scores carry their change against it.

    Raises:
        DataError: A model and `base` answered different items of a set.
    """
    start: dict[tuple[str, str], dict[ItemKey, float | None]] = {}
    for group in groups:
        asked = AskedSet.model_validate(group[0].model_dump(include=set(AskedSet.model_fields)))
        values = {(answer.item_id, answer.item_hash): answer.value for answer in group}
        place = (asked.set, asked.configuration)
        if asked.model == base:
            start[place] = values
        before = start.get(place) if asked.model != base else None
        yield _score(asked, values, None if before is None else changed(asked, values, before, base))


def _score(asked: AskedSet, values: Mapping[ItemKey, float | None], change: CapabilityChange | None) -> CapabilityScore:
    scored = [value for value in values.values() if value is not None]
    interval = wilson(round(sum(scored)), len(scored)) if _is_binary(scored) else bootstrap(scored)
    return CapabilityScore(
        **asked.model_dump(),
        mean=sum(scored) / len(scored) if scored else None,
        n=len(scored),
        unscored=len(values) - len(scored),
        low=interval.low,
        high=interval.high,
        interval=interval.method,
        change=change,
    )


def _is_binary(values: Iterable[float]) -> bool:
    return all(value in (0, 1) for value in values)


def changed(
    asked: AskedSet, values: Mapping[ItemKey, float | None], before: Mapping[ItemKey, float | None], base: str
) -> CapabilityChange | None:
    """The mean of `values` minus that of `before`, which `base` gave, paired by item; None where nothing pairs.

    Raises:
        DataError: They are values of different items.
    """
    if values.keys() != before.keys():
        raise DataError(
            f"{asked.model} and {base} answered different items of set {asked.set!r} ({len(values)} and "
            f"{len(before)}, {len(values.keys() & before.keys())} of them the same); answer the set anew with both"
        )
    pairs = [(a, b) for key, a in values.items() if a is not None and (b := before[key]) is not None]
    if not pairs:
        return None
    differences = [a - b for a, b in pairs]
    counts = paired_counts([(a == 1, b == 1) for a, b in pairs])
    is_binary = _is_binary(value for pair in pairs for value in pair)
    interval = newcombe(counts) if is_binary else bootstrap(differences)
    return CapabilityChange(
        against=base,
        difference=sum(differences) / len(pairs),
        low=interval.low,
        high=interval.high,
        only_model=counts.only_a if is_binary else None,
        only_against=counts.only_b if is_binary else None,
        p_value=mcnemar(counts.only_a, counts.only_b) if is_binary else None,
    )
