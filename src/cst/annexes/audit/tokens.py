"""What a tokenizer and its chat template make of rows: how long they get, and which can't be rendered at all."""

from collections.abc import Iterable
from statistics import median
from typing import Any

from cst.annexes.audit.record import EXAMPLES, Finding, Tokens, share
from cst.errors import RenderingError
from cst.models.folders import CONFIG_FILE, local_folder
from cst.models.loading import load_renderer
from cst.models.rendering import Renderer
from cst.preferences.sources import Found
from cst.records import Message, Preference, Prompt
from cst.runs.workshop import model_folder
from cst.store import read_json


def tokens(rows: Iterable[Found[Prompt] | Found[Preference]], model: str, max_length: int | None) -> Tokens:
    """Every row rendered as for training; system prompts are folded into the user's turn where they have no place.

    Raises:
        ModelError: There is no such tokenizer.
        RenderingError: It has no chat template, or an unusable one.
    """
    path = model_folder(model)
    renderer, folds = _renderer(path)
    limit = max_length or _limit(path)
    sizes: list[int] = []
    folded = 0
    unrendered: list[str] = []
    over_long: list[str] = []
    for found in rows:
        folded += folds and bool(found.record.system_prompt)
        try:
            sizes.append(_length(renderer, found.record))
        except RenderingError:
            unrendered.append(found.place)
        else:
            over_long += [found.place] if limit is not None and sizes[-1] > limit else []
    n = len(sizes) + len(unrendered)
    return Tokens(
        tokenizer=model,
        boundary=renderer.shape.boundary,
        max_length=limit,
        median=round(median(sizes or [0])),
        longest=max(sizes, default=0),
        folded=share(folded, n),
        findings=(_finding("can't be rendered", unrendered, n), _finding("longer than the model takes", over_long, n)),
    )


def _finding(fault: str, places: list[str], n: int) -> Finding:
    return Finding(fault=fault, rows=share(len(places), n), places=tuple(places[:EXAMPLES]))


def _renderer(path: str) -> tuple[Renderer, bool]:
    """The renderer of a model, and whether it folds system prompts because the template takes none."""
    renderer = load_renderer(path)
    folds = renderer.shape.rejection is not None
    return (load_renderer(path, system_policy="fold_into_user") if folds else renderer), folds


def _limit(path: str) -> int | None:
    """The positions that a model has, by its config.json; None where it doesn't say."""
    file = local_folder(path) / CONFIG_FILE
    config: dict[str, Any] = read_json(file) if file.is_file() else {}
    return config.get("text_config", config).get("max_position_embeddings")


def _length(renderer: Renderer, record: Prompt | Preference) -> int:
    """Tokens of a row: of a preference with the longer answer, its end token included; of a prompt alone."""
    system = [Message(role="system", content=record.system_prompt)] if record.system_prompt else []
    messages = [*system, *record.turns]
    if isinstance(record, Prompt):
        return len(renderer.prompt(messages))
    return max(len(renderer.example(messages, answer).tokens) for answer in (record.chosen, record.rejected))
