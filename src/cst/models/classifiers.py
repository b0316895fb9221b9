"""Sequence classifiers and reward models: conversations to rows of tokens, and rows to raw logits of one output.

A classifier's own truncation drops the end of a row, which is the answer: the very text to be judged. Here the oldest
exchanges go first, then the beginning of the question, and only then the end of the answer, which is counted. No text
becomes a special token. This file doesn't know what a score means.
"""

import copy
import math
from bisect import bisect_left
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, TypeAlias, cast

import torch
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from cst.errors import ModelError
from cst.models.guarded_tokenizer import GuardedTokenizer, template_of
from cst.models.loading import LoadedClassifier
from cst.progress import track
from cst.records import Message
from cst.texts import fill

LayoutKind: TypeAlias = Literal["template", "two_segments", "chat_template"]
"""`template`: text with `{prompt}` and `{answer}`, once per exchange; `two_segments`: everything before the answer,
then the answer, with the tokenizer's separator between them; `chat_template`: the tokenizer's own."""

Conversation: TypeAlias = Sequence[Message]
"""user, assistant, ..., user, assistant; the last turn is the answer that is judged."""


@dataclass(frozen=True)
class ClassifierRow:
    """Tokens as the model takes them, special ones included; `segments` are the token types, where it has any."""

    tokens: tuple[int, ...]
    segments: tuple[int, ...] | None = None


@dataclass(frozen=True)
class FittedRow:
    """A row that is short enough, and the characters that were cut for it.

    `question_lost` counts those cut from the beginning of the question and everything before it, `answer_lost` those
    cut from the end of the answer.
    """

    row: ClassifierRow
    question_lost: int = 0
    answer_lost: int = 0


Layout: TypeAlias = Callable[[Conversation], ClassifierRow]


def layout_of(kind: LayoutKind, tokenizer: PreTrainedTokenizerBase, *, template: str) -> Layout:
    """The layout of that kind; only the kind `template` reads `template`.

    Raises:
        RenderingError: The tokenizer has no chat template, and one is needed.
    """
    if kind == "chat_template":
        guarded = GuardedTokenizer(tokenizer, template_of(tokenizer))

        def chat_row(talk: Conversation) -> ClassifierRow:
            turns = [{"role": turn.role, "content": turn.content} for turn in talk]
            return ClassifierRow(tuple(guarded.tokens(turns, opens_answer=False)))

        return chat_row
    own: Any = copy.deepcopy(tokenizer)
    own.model_max_length = 10**9  # its warning about long texts: they are cut here

    def row(*texts: str) -> ClassifierRow:
        made = own(*texts, truncation=False, split_special_tokens=True)
        segments = made.get("token_type_ids")
        return ClassifierRow(tuple(made["input_ids"]), None if segments is None else tuple(segments))

    if kind == "two_segments":
        return lambda talk: row("\n\n".join(turn.content for turn in talk[:-1]), talk[-1].content)

    def exchanges(talk: Conversation) -> str:
        pairs = zip(talk[::2], talk[1::2], strict=True)
        return "".join(fill(template, {"prompt": asked.content, "answer": answer.content}) for asked, answer in pairs)

    return lambda talk: row(exchanges(talk))


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
    """How few of `most` characters have to go, by bisection; None where the row is too long without all of them."""

    def fits(cut: int) -> bool:
        return len(row_without(cut).tokens) <= max_length

    found = bisect_left(range(most + 1), True, key=fits)
    return found if found <= most else None


def longest_row(tokenizer: PreTrainedTokenizerBase, config: object) -> int | None:
    """The longest row in tokens that a classifier takes, or None where tokenizer and configuration name no limit."""
    positions = getattr(cast(Any, config).get_text_config(), "max_position_embeddings", None)
    said = [n for n in (cast(int, tokenizer.model_max_length), positions) if n is not None and 0 < n < 10**9]
    return min(said, default=None)


def output_index(loaded: LoadedClassifier, output: int | str) -> int:
    """The index of an output, given by its index or by the name of its label.

    Raises:
        ModelError: The model has no such output.
    """
    labels: dict[int, str] = cast(Any, loaded.model.config).id2label
    found = [index for index, label in labels.items() if output in (index, label)]
    if not found:
        raise ModelError(
            f"{loaded.path} has no output {output!r}; its outputs are {labels}. Name one by its index or its label."
        )
    return found[0]


def logits_of(
    loaded: LoadedClassifier, rows: Sequence[ClassifierRow], *, output: int, batch_size: int, description: str | None
) -> list[float]:
    """One logit for each row, in order. The longest rows go first, so that a lack of memory shows at once.

    A decoder that names no padding token can't tell where a padded row ends, so it reads row by row. Without a
    `description`, no progress is shown.

    Raises:
        ModelError: A logit is not finite.
    """
    padding: int | None = cast(Any, loaded.model.config).get_text_config().pad_token_id
    size = 1 if padding is None else batch_size
    order = sorted(range(len(rows)), key=lambda index: (-len(rows[index].tokens), index))
    batches = [order[start : start + size] for start in range(0, len(order), size)]
    found: dict[int, float] = {}
    for batch in batches if description is None else track(batches, description=description, weight=len):
        found.update(zip(batch, _logits(loaded, [rows[index] for index in batch], output, padding or 0), strict=True))
    logits = [found[index] for index in range(len(rows))]
    broken = next((index for index, logit in enumerate(logits) if not math.isfinite(logit)), None)
    if broken is not None:
        raise ModelError(
            f"{loaded.path} gave {logits[broken]} for row {broken}, which is no score. Check its weights, or load it "
            "with dtype: float32."
        )
    return logits


@torch.inference_mode()
def _logits(loaded: LoadedClassifier, rows: Sequence[ClassifierRow], output: int, padding: int) -> list[float]:
    model: Any = loaded.model
    inputs = {
        "input_ids": _padded([row.tokens for row in rows], padding),
        "attention_mask": _padded([(1,) * len(row.tokens) for row in rows], 0),
    }
    segments = [row.segments for row in rows if row.segments is not None]
    if segments:
        inputs["token_type_ids"] = _padded(segments, 0)
    logits = model(**{name: tensor.to(model.device) for name, tensor in inputs.items()}).logits
    return cast(list[float], logits[:, output].float().tolist())


def _padded(rows: Sequence[tuple[int, ...]], filler: int) -> Tensor:
    """`[rows, longest]`, filled up at the right."""
    longest = max(len(row) for row in rows)
    return torch.tensor([[*row, *[filler] * (longest - len(row))] for row in rows])
