"""Rows to raw logits of one output of a classifier, in batches of like length.

This file knows no text, and no meaning of a score.
"""

import math
from collections.abc import Sequence
from typing import Any, cast

import torch
from torch import Tensor

from cst.errors import ModelError
from cst.models.classifier_rows import ClassifierRow
from cst.models.loading import LoadedClassifier
from cst.progress import track


def output_index(loaded: LoadedClassifier, output: int | str) -> int:
    """The index of an output that is given by its index or by its label's name.

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
    """One logit a row, in order; the longest rows go first, so that what doesn't fit into memory shows at once.

    A decoder that names no padding token can't tell where a padded row ends, so it is asked row by row. Without a
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
