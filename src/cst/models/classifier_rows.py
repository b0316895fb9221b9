"""Conversations as the rows that a sequence classifier reads: three layouts, cut on the question's side where too long.

A classifier's own truncation drops the end of a row, which is the answer: the very text that is to be judged. Here the
oldest exchanges go first, then the beginning of the question, and only then the end of the answer, which is told.
No text becomes a special token. This file knows no model.
"""

import copy
from bisect import bisect_left
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, TypeAlias, cast

from transformers import PreTrainedTokenizerBase

from cst.errors import ModelError
from cst.models.guarded_tokenizer import GuardedTokenizer, template_of
from cst.records import Message
from cst.texts import fill

LayoutKind: TypeAlias = Literal["template", "two_segments", "chat_template"]
"""`template`: text with `{prompt}` and `{answer}`, once an exchange; `two_segments`: all that comes before the answer,
and the answer, with the tokenizer's separator between them; `chat_template`: the tokenizer's own."""

Conversation: TypeAlias = Sequence[Message]
"""user, assistant, ..., user, assistant; the last turn is the answer that is judged."""


@dataclass(frozen=True)
class ClassifierRow:
    """Tokens as the model takes them, special ones included; `segments` are the token types, where it has any."""

    tokens: tuple[int, ...]
    segments: tuple[int, ...] | None = None


@dataclass(frozen=True)
class FittedRow:
    """A row that is short enough, and the characters that were left out for it.

    `question_lost` counts those of the question's beginning and of all before it, `answer_lost` those of the answer's
    end.
    """

    row: ClassifierRow
    question_lost: int = 0
    answer_lost: int = 0


Layout: TypeAlias = Callable[[Conversation], ClassifierRow]


def layout_of(kind: LayoutKind, tokenizer: PreTrainedTokenizerBase, *, template: str) -> Layout:
    """The layout of that kind; `template` is for the first kind alone.

    Raises:
        RenderingError: The tokenizer has no chat template, and one is needed.
    """
    if kind == "chat_template":
        return _chat_layout(GuardedTokenizer(tokenizer, template_of(tokenizer)))
    own: Any = copy.deepcopy(tokenizer)
    own.model_max_length = 10**9  # its warning about long texts: they are cut here

    def row(*texts: str) -> ClassifierRow:
        made = own(*texts, truncation=False, split_special_tokens=True)
        segments = made.get("token_type_ids")
        return ClassifierRow(tuple(made["input_ids"]), None if segments is None else tuple(segments))

    if kind == "two_segments":
        return lambda talk: row("\n\n".join(turn.content for turn in talk[:-1]), talk[-1].content)
    return lambda talk: row("".join(_exchanges(template, talk)))


def _exchanges(template: str, talk: Conversation) -> list[str]:
    pairs = zip(talk[::2], talk[1::2], strict=True)
    return [fill(template, {"prompt": asked.content, "answer": answer.content}) for asked, answer in pairs]


def _chat_layout(tokenizer: GuardedTokenizer) -> Layout:
    def row(talk: Conversation) -> ClassifierRow:
        turns = [{"role": turn.role, "content": turn.content} for turn in talk]
        return ClassifierRow(tuple(tokenizer.tokens(turns, opens_answer=False)))

    return row


def fitted(talk: Conversation, layout: Layout, max_length: int) -> FittedRow:
    """The conversation in at most `max_length` tokens.

    Raises:
        ModelError: Not even one character of the answer fits.
    """
    for first in range(0, len(talk), 2):
        row = layout(talk[first:])
        if len(row.tokens) <= max_length:
            return FittedRow(row, _characters(talk[:first]))
    made = _cut_exchange(talk[-2].content, talk[-1].content, layout, max_length)
    return replace(made, question_lost=made.question_lost + _characters(talk[:-2]))


def _characters(turns: Conversation) -> int:
    return sum(len(turn.content) for turn in turns)


def _cut_exchange(question: str, answer: str, layout: Layout, max_length: int) -> FittedRow:
    def row(start: int, lost: int) -> ClassifierRow:
        """Without the first `start` characters of the question and the last `lost` of the answer."""
        asked = Message(role="user", content=question[start:])
        return layout([asked, Message(role="assistant", content=answer[: len(answer) - lost])])

    start = _first_that_fits(len(question), lambda cut: row(cut, 0), max_length)
    if start is not None:
        return FittedRow(row(start, 0), start)
    lost = _first_that_fits(len(answer) - 1, lambda cut: row(len(question), cut), max_length)
    if lost is None:
        raise ModelError(f"max_length={max_length} leaves no room for a single character of an answer. Raise it.")
    return FittedRow(row(len(question), lost), len(question), lost)


def _first_that_fits(most: int, row_without: Callable[[int], ClassifierRow], max_length: int) -> int | None:
    """How few of `most` characters have to go, by bisection; None where it doesn't fit without all of them."""

    def fits(cut: int) -> bool:
        return len(row_without(cut).tokens) <= max_length

    found = bisect_left(range(most + 1), True, key=fits)
    return found if found <= most else None


def longest_row(tokenizer: PreTrainedTokenizerBase, config: object) -> int | None:
    """Tokens that a classifier takes at most, as far as its tokenizer or its configuration say so."""
    positions = getattr(cast(Any, config).get_text_config(), "max_position_embeddings", None)
    said = [n for n in (cast(int, tokenizer.model_max_length), positions) if n is not None and 0 < n < 10**9]
    return min(said, default=None)
