"""Rows as tokens, and tokens to batches: what is trained on, in which order, in which step.

The plan of the steps is a pure function of numbers, so that a resumed run walks the same way. A row over the limit is
refused, or dropped and counted, and not cut here. This file knows no model, only token numbers.
"""

import hashlib
import random
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import count, islice
from typing import Protocol, TypeVar, final

from cst.errors import TrainingError
from cst.models.rendering import Renderer, TokenSequence
from cst.records import Message, Preference


class Row(Protocol):
    """A row of a training: token sequences that are computed together, because its loss needs them all."""

    @property
    def id(self) -> str:
        """Its name."""
        ...

    @property
    def group(self) -> str:
        """What its figures are told under: a configuration, a task."""
        ...

    @property
    def sequences(self) -> tuple[TokenSequence, ...]:
        """As many in every row of a training."""
        ...

    @property
    def longest(self) -> int:
        """Tokens of the longest of them, prompt included."""
        ...


R = TypeVar("R", bound=Row)


@final
@dataclass(frozen=True)
class TokenizedPreference:
    """One preference as two token sequences after the same prompt; both end with the end-of-turn token."""

    id: str
    configuration: str
    chosen: TokenSequence
    rejected: TokenSequence

    @property
    def group(self) -> str:
        """See Row."""
        return self.configuration

    @property
    def sequences(self) -> tuple[TokenSequence, ...]:
        """See Row."""
        return self.chosen, self.rejected

    @property
    def longest(self) -> int:
        """See Row."""
        return max(len(self.chosen.tokens), len(self.rejected.tokens))


def sequences_of(rows: Sequence[Row]) -> list[TokenSequence]:
    """The first sequence of every row, then the second of every row, and so on."""
    return [sequence for side in zip(*(row.sequences for row in rows), strict=True) for sequence in side]


def tokenize(preferences: Sequence[Preference], renderer: Renderer) -> list[TokenizedPreference]:
    """Render each preference once: the same prompt before the chosen and before the rejected response."""
    return [_tokenize(preference, renderer) for preference in preferences]


def _tokenize(preference: Preference, renderer: Renderer) -> TokenizedPreference:
    messages = list(preference.turns)
    if preference.system_prompt is not None:
        messages.insert(0, Message(role="system", content=preference.system_prompt))
    return TokenizedPreference(
        id=preference.id,
        configuration=preference.configuration,
        chosen=renderer.example(messages, preference.chosen),
        rejected=renderer.example(messages, preference.rejected),
    )


def within_length(
    rows: Sequence[R],
    max_length: int,
    *,
    drop_long: bool,
    where: str,
    remedy: str = "drop such rows with training.drop_long=true",
) -> list[R]:
    """The rows that fit into `max_length` tokens; errors name the limit by `where`, and a `remedy`.

    Raises:
        TrainingError: There are no rows, a row is too long and `drop_long` is off, or no row is left.
    """
    if not rows:
        raise TrainingError("training got 0 rows. Give it at least one.")
    fitting = [row for row in rows if row.longest <= max_length]
    if len(fitting) < len(rows) and not drop_long:
        raise TrainingError(_too_long(rows, max_length, where, remedy))
    if not fitting:
        raise TrainingError(f"{where} leaves no room for any of {len(rows)} rows. Make room, or take other rows.")
    return fitting


def _too_long(rows: Sequence[Row], max_length: int, where: str, remedy: str) -> str:
    lengths = [len(sequence.tokens) for row in rows for sequence in row.sequences]
    long = sum(length > max_length for length in lengths)
    first = next(row.id for row in rows if row.longest > max_length)
    return (
        f"{where} leaves no room for {long} of {len(lengths)} responses (the first in row {first!r}; the longest needs "
        f"{max(lengths)} tokens). Make room for them, or {remedy}."
    )


def plan_steps(
    n_rows: int, *, seed: int, epochs: int, rows_per_step: int, max_steps: int | None = None
) -> list[list[int]]:
    """Row indices of each optimizer step: every epoch is a shuffle of all rows, and its last step may be smaller.

    A function of its arguments alone. `max_steps` stands above `epochs`, as in Hugging Face's trainer: fewer steps
    cut the plan, more repeat the rows.
    """
    steps_per_epoch = -(-n_rows // rows_per_step)
    wanted = max_steps if max_steps is not None else steps_per_epoch * epochs
    endless = (step for epoch in count() for step in _epoch(n_rows, f"{seed}/{epoch}", rows_per_step))
    return list(islice(endless, wanted))


def _epoch(n_rows: int, seed: str, rows_per_step: int) -> list[list[int]]:
    order = list(range(n_rows))
    random.Random(seed).shuffle(order)
    return [order[start : start + rows_per_step] for start in range(0, n_rows, rows_per_step)]


def micro_batches(
    step: Sequence[int], rows: Sequence[Row], *, size: int, rank: int = 0, world_size: int = 1
) -> list[list[int]]:
    """Positions in `step` that one process computes, `size` rows at a time, rows of like length together.

    The rows are dealt out by length, so that processes have about the same work; each position is dealt once.
    """
    by_length = sorted(range(len(step)), key=lambda position: (rows[step[position]].longest, position))
    mine = by_length[rank::world_size]
    return [mine[start : start + size] for start in range(0, len(mine), size)]


def fingerprint_of_tokens(rows: Sequence[Row]) -> str:
    """SHA-256 of ids, groups, tokens and response starts, in order."""
    digest = hashlib.sha256()
    for row in rows:
        digest.update(repr((row.id, row.group, *((s.response_start, s.tokens) for s in row.sequences))).encode())
    return digest.hexdigest()
