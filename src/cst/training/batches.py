"""Rows as tokens, and tokens to batches: what is trained on, in which order, in which step.

The plan of the steps is a pure function of numbers, so that a resumed run walks the same way. A row over the limit is
rejected, or dropped and counted; a demonstration is cut where that is asked for. This file knows no model, only token
numbers.
"""

import hashlib
import random
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import count, islice
from typing import final

from cst.errors import TrainingError
from cst.models.rendering import Renderer, TokenSequence
from cst.records import Demonstration, Message, Preference


@final
@dataclass(frozen=True)
class Row:
    """A row of a training as token sequences, which are computed together because its loss needs them all.

    A preference has two, chosen before rejected, after the same prompt; a demonstration has one. Each ends with the
    end-of-turn token, unless the row was `cut`. `group` is what its figures are told under: a configuration or a task.
    """

    id: str
    group: str
    sequences: tuple[TokenSequence, ...]
    cut: bool = False

    @property
    def chosen(self) -> TokenSequence:
        """A preference's chosen response after its prompt."""
        return self.sequences[0]

    @property
    def rejected(self) -> TokenSequence:
        """A preference's rejected response after its prompt."""
        return self.sequences[1]

    @property
    def longest(self) -> int:
        """Tokens of the longest sequence, prompt included."""
        return max(len(sequence.tokens) for sequence in self.sequences)

    @property
    def learned(self) -> int:
        """How many tokens are labels: those of the responses, end tokens included."""
        return sum(len(sequence.tokens) - sequence.response_start for sequence in self.sequences)


def sequences_of(rows: Sequence[Row]) -> list[TokenSequence]:
    """The first sequence of every row, then the second of every row, and so on."""
    return [sequence for side in zip(*(row.sequences for row in rows), strict=True) for sequence in side]


def tokenize(preferences: Sequence[Preference], renderer: Renderer) -> list[Row]:
    """Render each preference once: the same prompt before the chosen and before the rejected response."""
    return [
        Row(row.id, row.configuration, tuple(renderer.example(_messages(row), r) for r in (row.chosen, row.rejected)))
        for row in preferences
    ]


def tokenize_demonstrations(demonstrations: Sequence[Demonstration], renderer: Renderer) -> list[Row]:
    """Render each demonstration once: what is learned are the response and its end token."""
    return [Row(row.id, row.task, (renderer.example(_messages(row), row.response),)) for row in demonstrations]


def _messages(row: Preference | Demonstration) -> list[Message]:
    system = [] if row.system_prompt is None else [Message(role="system", content=row.system_prompt)]
    return [*system, *row.turns]


def fitted(rows: Sequence[Row], max_length: int, *, drop_long: bool, where: str, cut_long: bool = False) -> list[Row]:
    """The rows that fit into `max_length` tokens, with `cut_long` because they are cut there; `where` names the limit.

    Only demonstrations are cut. A row of which nothing of the response would be left is dropped.

    Raises:
        TrainingError: There are no rows, a row is too long and neither `cut_long` nor `drop_long` is on, or no row is
            left.
    """
    if not rows:
        raise TrainingError("training got 0 rows. Give it at least one.")
    if cut_long:
        fitting = [_cut(row, max_length) for row in rows if row.sequences[0].response_start < max_length]
    else:
        fitting = [row for row in rows if row.longest <= max_length]
    if len(fitting) < len(rows) and not (cut_long or drop_long):
        lengths = [len(sequence.tokens) for row in rows for sequence in row.sequences]
        first = next(row.id for row in rows if row.longest > max_length)
        cut = "cut them there with training.cut_long=true, or " if len(rows[0].sequences) == 1 else ""
        raise TrainingError(
            f"{where} leaves no room for {sum(length > max_length for length in lengths)} of {len(lengths)} responses "
            f"(the first in row {first!r}; the longest needs {max(lengths)} tokens). Make room for them, or {cut}drop "
            "such rows with training.drop_long=true."
        )
    if not fitting:
        raise TrainingError(f"{where} leaves no room for any of {len(rows)} rows. Make room, or take other rows.")
    return fitting


def _cut(row: Row, max_length: int) -> Row:
    """The row's first tokens: where there were more, the end token isn't among them."""
    if row.longest <= max_length:
        return row
    (whole,) = row.sequences
    return replace(row, sequences=(TokenSequence(whole.tokens[:max_length], whole.response_start),), cut=True)


def with_inputs(row: Row) -> Row:
    """The same row, of which all tokens but the first are learned, which has none before it."""
    return replace(row, sequences=(TokenSequence(row.sequences[0].tokens, 1),))


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
