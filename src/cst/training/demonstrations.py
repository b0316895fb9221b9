"""Demonstrations as rows of a training: rendered, cut where that is asked for, and told what is learned of them.

This file knows no model, only token numbers.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import final

from cst.models.rendering import Renderer, TokenSequence
from cst.records import Demonstration, Message
from cst.training.batches import within_length


@final
@dataclass(frozen=True)
class TokenizedDemonstration:
    """One demonstration as a token sequence, which ends with the end-of-turn token if it isn't `cut`."""

    id: str
    task: str
    sequence: TokenSequence
    cut: bool = False

    @property
    def group(self) -> str:
        """See batches.Row."""
        return self.task

    @property
    def sequences(self) -> tuple[TokenSequence, ...]:
        """See batches.Row."""
        return (self.sequence,)

    @property
    def longest(self) -> int:
        """See batches.Row."""
        return len(self.sequence.tokens)

    @property
    def labels(self) -> int:
        """How many tokens are learned."""
        return len(self.sequence.tokens) - self.sequence.response_start


def tokenize_demonstrations(
    demonstrations: Sequence[Demonstration], renderer: Renderer
) -> list[TokenizedDemonstration]:
    """Render each demonstration once: what is learned are the response and its end token."""
    return [_tokenize(demonstration, renderer) for demonstration in demonstrations]


def _tokenize(demonstration: Demonstration, renderer: Renderer) -> TokenizedDemonstration:
    messages = list(demonstration.turns)
    if demonstration.system_prompt is not None:
        messages.insert(0, Message(role="system", content=demonstration.system_prompt))
    sequence = renderer.example(messages, demonstration.response)
    return TokenizedDemonstration(demonstration.id, demonstration.task, sequence)


def fitted(
    rows: Sequence[TokenizedDemonstration], max_length: int, *, cut_long: bool, drop_long: bool, where: str
) -> list[TokenizedDemonstration]:
    """The rows that fit into `max_length` tokens, with `cut_long` because they are cut there; `where` names the limit.

    A row of which nothing of the response would be left is dropped.

    Raises:
        TrainingError: There are no rows, a row is too long and neither `cut_long` nor `drop_long` is on, or no row is
            left.
    """
    if cut_long:
        rows = [_cut(row, max_length) for row in rows if row.sequence.response_start < max_length] or rows
    remedy = "cut them there with training.cut_long=true, or drop such rows with training.drop_long=true"
    return within_length(rows, max_length, drop_long=drop_long or cut_long, where=where, remedy=remedy)


def _cut(row: TokenizedDemonstration, max_length: int) -> TokenizedDemonstration:
    """The row's first tokens: where there were more, the end token isn't among them."""
    if row.longest <= max_length:
        return row
    kept = TokenSequence(row.sequence.tokens[:max_length], row.sequence.response_start)
    return replace(row, sequence=kept, cut=True)


def with_inputs(row: TokenizedDemonstration) -> TokenizedDemonstration:
    """The same row, of which all tokens but the first are learned, which has none before it."""
    return replace(row, sequence=TokenSequence(row.sequence.tokens, 1))
