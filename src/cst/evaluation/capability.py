"""Multiple-choice capability sets, answered by the log-prob of each choice as the model's whole response.

Each choice is scored as `log p(choice, end of turn | question)`, summed over tokens, in nats; the highest sum is the
model's answer (`correct`, as lm-eval's `acc`). The same sums divided by the choice's length in UTF-8 bytes give
`correct_normalised` (lm-eval's `acc_norm`), beside it. Unlike lm-eval, the question goes through the chat template and
the end of the turn belongs to the choice. This file doesn't know what a set is about.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from cst.errors import DataError
from cst.evaluation.comparisons import difference_interval, mcnemar, paired_counts
from cst.evaluation.intervals import wilson
from cst.progress import track
from cst.records import Message, MultipleChoiceItem, Record, Text

if TYPE_CHECKING:
    from cst.models.loading import LoadedModel
    from cst.models.rendering import TokenSequence

Count = Annotated[int, Field(ge=0)]
Rate = Annotated[float, Field(ge=0, le=1)]
Difference = Annotated[float, Field(ge=-1, le=1)]

NO_CONFIGURATION = "none"


class CapabilityAnswer(Record):
    """One item as one model answered it: `logps[i]` nats for choice i, end of turn included; `bytes` its length."""

    item_id: Text
    set: Text
    model: Text
    configuration: Text
    system_prompt: str | None
    answer: Count
    logps: tuple[float, ...]
    bytes: tuple[int, ...]

    @property
    def is_correct(self) -> bool:
        """The right choice has the highest log-prob (the first of equals)."""
        return _argmax(self.logps) == self.answer

    @property
    def is_correct_normalised(self) -> bool:
        """The right choice has the highest log-prob per byte."""
        return _argmax([logp / size for logp, size in zip(self.logps, self.bytes, strict=True)]) == self.answer


class CapabilityChange(Record):
    """A model's accuracy minus the start model's on the same items, with its 95 % interval and exact McNemar test."""

    against: Text
    difference: Difference
    low: Difference
    high: Difference
    only_model: Count
    only_against: Count
    p_value: Rate


class CapabilityScore(Record):
    """Accuracy of a model on a set: `correct` of `n` items, Wilson interval; `change` against the start model."""

    model: Text
    set: Text
    configuration: Text
    correct: Count
    correct_normalised: Count
    n: Count
    low: Rate
    high: Rate
    change: CapabilityChange | None = None

    @property
    def rate(self) -> float | None:
        """Accuracy, or None for an empty set."""
        return self.correct / self.n if self.n else None


def _argmax(values: Sequence[float]) -> int:
    return max(range(len(values)), key=lambda index: values[index])


def capability_answers(
    items: Sequence[MultipleChoiceItem],
    loaded: "LoadedModel",
    *,
    model_name: str,
    configuration: str = NO_CONFIGURATION,
    system_prompt: str | None = None,
    batch_size: int = 64,
) -> list[CapabilityAnswer]:
    """Score every choice of every item, `batch_size` choices at once.

    Raises:
        DataError: a question with a choice is longer than the model can read.
    """
    sequences = [sequence for item in items for sequence in _choices(item, loaded, system_prompt)]
    logps = iter(_response_logps(loaded, sequences, batch_size, f"capability {model_name}"))
    return [
        CapabilityAnswer(
            item_id=item.id,
            set=item.set,
            model=model_name,
            configuration=configuration,
            system_prompt=system_prompt,
            answer=item.answer,
            logps=tuple(next(logps) for _ in item.choices),
            bytes=tuple(len(choice.encode()) for choice in item.choices),
        )
        for item in items
    ]


def _choices(item: MultipleChoiceItem, loaded: "LoadedModel", system_prompt: str | None) -> "list[TokenSequence]":
    system = () if system_prompt is None else (Message(role="system", content=system_prompt),)
    messages = (*system, Message(role="user", content=item.question))
    sequences = [loaded.renderer.example(messages, choice) for choice in item.choices]
    limit = getattr(loaded.model.config, "max_position_embeddings", None)
    longest = max(len(sequence.tokens) for sequence in sequences)
    if isinstance(limit, int) and longest > limit:
        raise DataError(
            f"capability item {item.id!r} takes {longest} tokens and the model reads {limit}; drop or shorten the item"
        )
    return sequences


def _response_logps(
    loaded: "LoadedModel", sequences: "Sequence[TokenSequence]", batch_size: int, description: str
) -> list[float]:
    """Summed log-prob of each response in nats; longest first, so that rows of a batch are of a length."""
    from cst.models.response_logps import response_logps

    order = sorted(range(len(sequences)), key=lambda index: (-len(sequences[index].tokens), index))
    batches = [order[start : start + batch_size] for start in range(0, len(order), batch_size)]
    logps = [0.0] * len(sequences)
    for indices in track(batches, description=description, weight=len):
        for index, logp in zip(indices, response_logps(loaded, [sequences[i] for i in indices]), strict=True):
            logps[index] = logp
    return logps


def capability_scores(answers: Sequence[CapabilityAnswer], *, base: str | None = "base") -> list[CapabilityScore]:
    """One score per (model, set, configuration), in the order of first appearance.

    Where `base` answered the same set under the same configuration, the other models' scores carry their change.

    Raises:
        DataError: a model and `base` answered different items of a set.
    """
    groups: dict[tuple[str, str, str], list[CapabilityAnswer]] = {}
    for answer in answers:
        groups.setdefault((answer.model, answer.set, answer.configuration), []).append(answer)
    scores: list[CapabilityScore] = []
    for (model, set_name, configuration), group in groups.items():
        start = groups.get((base, set_name, configuration)) if base and model != base else None
        scores.append(_score(group, _change(group, start) if start else None))
    return scores


def _score(group: Sequence[CapabilityAnswer], change: CapabilityChange | None) -> CapabilityScore:
    correct = sum(answer.is_correct for answer in group)
    interval = wilson(correct, len(group))
    return CapabilityScore(
        model=group[0].model,
        set=group[0].set,
        configuration=group[0].configuration,
        correct=correct,
        correct_normalised=sum(answer.is_correct_normalised for answer in group),
        n=len(group),
        low=interval.low,
        high=interval.high,
        change=change,
    )


def _change(group: Sequence[CapabilityAnswer], start: Sequence[CapabilityAnswer]) -> CapabilityChange:
    before = {answer.item_id: answer.is_correct for answer in start}
    if [answer.item_id for answer in group] != list(before):
        raise DataError(
            f"{group[0].model} and {start[0].model} answered different items of set {group[0].set!r} "
            f"({len(group)} and {len(start)}); answer the set anew with both"
        )
    pairs = [(answer.is_correct, before[answer.item_id]) for answer in group]
    counts = paired_counts(pairs)
    interval = difference_interval(counts, [float(a) - float(b) for a, b in pairs], [])
    return CapabilityChange(
        against=start[0].model,
        difference=(counts.only_a - counts.only_b) / counts.n,
        low=interval.low,
        high=interval.high,
        only_model=counts.only_a,
        only_against=counts.only_b,
        p_value=mcnemar(counts.only_a, counts.only_b),
    )
