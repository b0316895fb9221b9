"""What an audit keeps of each row, and what it finds wrong with rows: alone, among one another, and as tokens."""

import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from statistics import median, quantiles
from typing import TYPE_CHECKING, Any

from cst.annexes.audit.record import Finding, Kind, Lengths, LengthShortcut, Tokens, beginning, finding, share
from cst.errors import RenderingError
from cst.miniature import model_folder
from cst.near_duplicates import near_duplicate_groups, nearest_known
from cst.preferences.sources import Found
from cst.recipe.synthesis import GateSettings
from cst.records import Message, Preference, Prompt
from cst.store import read_json
from cst.texts import (
    ends_mid_sentence,
    has_persona_artefact,
    likeness,
    refusal_phrase,
    speaks_of_revision,
    text_of_turns,
)

if TYPE_CHECKING:
    from cst.models.rendering import Renderer

DEFAULTS = GateSettings()
"""The thresholds are the defaults of synthesis."""


@dataclass(frozen=True, slots=True)
class RowFacts:
    """One row. `lengths` are in characters, by column; for a prompt, `faults`, `answers` and `refuses` are empty.

    `answers` are hashes of chosen and rejected, `refuses` says for each whether it begins as a refusal.
    """

    place: str
    identity: str
    task: str
    configuration: str
    system_prompt: str | None
    asked: str
    lengths: Mapping[str, int]
    faults: tuple[str, ...] = ()
    answers: tuple[int, ...] = ()
    refuses: tuple[bool, ...] = ()


PAIR_FAULTS: Mapping[str, Callable[[Preference, str], bool]] = {
    "chosen speaks of a revision": lambda row, asked: speaks_of_revision(row.chosen, asked),
    "rejected speaks of a revision": lambda row, asked: speaks_of_revision(row.rejected, asked),
    "chosen bears marks of a persona": lambda row, _: has_persona_artefact(row.chosen),
    "rejected bears marks of a persona": lambda row, _: has_persona_artefact(row.rejected),
    "chosen ends mid-sentence": lambda row, _: ends_mid_sentence(row.chosen),
    "rejected ends mid-sentence": lambda row, _: ends_mid_sentence(row.rejected),
    "chosen and rejected nearly equal": lambda row, _: (
        likeness(row.chosen, row.rejected) >= (DEFAULTS.nearly_equal or 1)
    ),
}
"""Faults of a preference row by itself; `findings` adds those that only several rows show."""

BOTH_REFUSE = "chosen and rejected both refuse"


def facts_of(found: Found[Prompt] | Found[Preference]) -> RowFacts:
    """What is kept of a row. Texts that many rows share are interned: a system prompt may be long."""
    record, asked = found.record, text_of_turns(found.record)
    system_prompt = record.system_prompt and sys.intern(record.system_prompt)
    lengths = {"system prompt": len(system_prompt or ""), "prompt": len(asked)}
    common = RowFacts(found.place, record.id, sys.intern(record.task), "", system_prompt, asked, lengths)
    if isinstance(record, Prompt):
        return common
    refuses = (refusal_phrase(record.chosen) is not None, refusal_phrase(record.rejected) is not None)
    faults = [fault for fault, is_there in PAIR_FAULTS.items() if is_there(record, asked)]
    return replace(
        common,
        configuration=sys.intern(record.configuration),
        lengths={**lengths, "chosen": len(record.chosen), "rejected": len(record.rejected)},
        faults=(*faults, *([BOTH_REFUSE] if all(refuses) else [])),
        answers=(hash(record.chosen), hash(record.rejected)),
        refuses=refuses,
    )


SHORTCUT = 0.8
"""A rule by length is a fault where the whole interval of the share of pairs that it gets right lies above this. "Long
if uncensored, short if harmless" gets 94 % of the paper's released pairs right; 50 % is chance."""


def lengths(rows: Sequence[RowFacts]) -> list[Lengths]:
    """Quartiles of each column, over the rows that have it."""
    columns = rows[0].lengths if rows else {}
    return [_of_column(column, [row.lengths[column] for row in rows]) for column in columns]


def _of_column(column: str, values: Sequence[int]) -> Lengths:
    lower, median, upper = quantiles(values, n=4, method="inclusive") if len(values) > 1 else [values[0]] * 3
    return Lengths(
        column=column,
        shortest=min(values),
        lower_quartile=round(lower),
        median=round(median),
        upper_quartile=round(upper),
        longest=max(values),
    )


@dataclass(frozen=True)
class LengthRule:
    """The longer answer where it is longer by more than `threshold`, else the shorter; or the other way round."""

    prefers_longer: bool
    threshold: int
    right: int


def best_rule(differences: Sequence[int]) -> LengthRule:
    """The rule that gets most pairs right; a difference is the length of the chosen answer less the rejected one's.

    The thresholds are all |differences|, and one below them (always the longer, or always the shorter). Every rule
    needs a difference, so a pair of equal lengths counts as half right; the sum is rounded down.
    """
    ties = differences.count(0)
    decided = sorted((abs(each), each > 0) for each in differences if each)
    longer = sum(is_longer for _, is_longer in decided)
    options = [LengthRule(True, 0, longer), LengthRule(False, 0, len(decided) - longer)]
    right = longer
    for size, alike in groupby(decided, key=lambda pair: pair[0]):
        right += sum(-1 if is_longer else 1 for _, is_longer in alike)
        options += [LengthRule(True, size, right), LengthRule(False, size, len(decided) - right)]
    best = max(options, key=lambda rule: rule.right)
    return LengthRule(best.prefers_longer, best.threshold, best.right + ties // 2)


def shortcuts(rows: Sequence[RowFacts], is_mirrored: Sequence[bool]) -> list[LengthShortcut]:
    """The best rule of each group: mirrored rows by system prompt, others by configuration.

    Over both orders of a mirrored pair together, lengths say nothing.
    """
    differences: dict[tuple[bool, str], list[int]] = {}
    for row, mirror in zip(rows, is_mirrored, strict=True):
        group = (mirror, (row.system_prompt or "none") if mirror else row.configuration)
        differences.setdefault(group, []).append(row.lengths["chosen"] - row.lengths["rejected"])
    return [
        _shortcut(f"system prompt {beginning(group)!r}" if mirror else group, values)
        for (mirror, group), values in differences.items()
    ]


def _shortcut(group: str, differences: Sequence[int]) -> LengthShortcut:
    rule = best_rule(differences)
    return LengthShortcut(
        group=group,
        prefers_longer=rule.prefers_longer,
        threshold=rule.threshold,
        right=share(rule.right, len(differences)),
    )


def findings(rows: Sequence[RowFacts], kind: Kind, held_out: Sequence[str] | None) -> list[Finding]:
    """Every fault that was looked for, found or not; `held_out` are texts not to be trained on."""
    found: dict[str, list[RowFacts]] = {}
    if kind == "preferences":
        found = {fault: [row for row in rows if fault in row.faults] for fault in (*PAIR_FAULTS, BOTH_REFUSE)}
        found["reversed under the same system prompt"] = _contradictions(rows)
    found["the same as an earlier row"] = _repeats(rows, lambda row: (row.system_prompt, row.asked, *row.answers))
    found["id stands twice"] = _repeats(rows, lambda row: row.identity)
    found["prompt near an earlier row's"] = _near_earlier(rows)
    if held_out is not None:
        found["prompt near a held-out one"] = _near_held_out(rows, held_out)
    return [finding(fault, [row.place for row in having], len(rows)) for fault, having in found.items()]


def _contradictions(rows: Sequence[RowFacts]) -> list[RowFacts]:
    """Rows whose pair also stands in the other order under the same system prompt: nothing can tell the two apart."""
    orders = {(row.system_prompt, row.asked, *row.answers) for row in rows}
    return [row for row in rows if (row.system_prompt, row.asked, *reversed(row.answers)) in orders]


def _repeats(rows: Sequence[RowFacts], key: Callable[[RowFacts], object]) -> list[RowFacts]:
    """Rows whose key an earlier row has."""
    first: dict[object, RowFacts] = {}
    return [row for row in rows if first.setdefault(key(row), row) is not row]


def _near_earlier(rows: Sequence[RowFacts]) -> list[RowFacts]:
    """Rows that ask nearly what an earlier row asks, under the same system prompt.

    The very same prompt doesn't count: rows may hold several pairs of answers to it, and a row that stands twice is
    another fault.
    """
    texts = list(dict.fromkeys(row.asked for row in rows))
    groups = near_duplicate_groups(texts, threshold=DEFAULTS.near_duplicates or 1)
    group_of = dict(zip(texts, groups, strict=True))
    first: dict[tuple[int, str | None], str] = {}
    return [row for row in rows if first.setdefault((group_of[row.asked], row.system_prompt), row.asked) != row.asked]


def _near_held_out(rows: Sequence[RowFacts], held_out: Sequence[str]) -> list[RowFacts]:
    texts = (row.asked for row in rows)
    near = nearest_known(texts, held_out, threshold=DEFAULTS.close_to_held_out or 1)
    return [row for row, known in zip(rows, near, strict=True) if known is not None]


def mirrored(rows: Sequence[RowFacts]) -> list[bool]:
    """For each row whether its pair also stands in the other order, under whatever system prompt."""
    orders = {(row.asked, *row.answers) for row in rows if row.answers}
    return [bool(row.answers) and (row.asked, *reversed(row.answers)) in orders for row in rows]


def tokens(rows: Iterable[Found[Prompt] | Found[Preference]], model: str, max_length: int | None) -> Tokens:
    """Every row rendered as for training; system prompts are folded into the user's turn where they have no place.

    `model` is a folder, a hub id or `miniature`; by default, `max_length` is what its config.json says.

    Raises:
        ModelError: There is no such tokenizer.
        RenderingError: It has no chat template, or an unusable one.
    """
    from cst.models.loading import load_renderer  # here: the rest of an audit does without torch

    path = model_folder(model)
    renderer = load_renderer(path)
    folds = renderer.shape.rejection is not None
    if folds:
        renderer = load_renderer(path, system_policy="fold_into_user")
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
        findings=(finding("can't be rendered", unrendered, n), finding("longer than the model takes", over_long, n)),
    )


def _limit(path: str) -> int | None:
    """The number of positions of a model by its config.json; None where it doesn't say."""
    from cst.models.folders import CONFIG_FILE, local_folder

    file = local_folder(path) / CONFIG_FILE
    config: dict[str, Any] = read_json(file) if file.is_file() else {}
    return config.get("text_config", config).get("max_position_embeddings")


def _length(renderer: "Renderer", record: Prompt | Preference) -> int:
    """Tokens of a row: a prompt, or a preference with its longer answer and the end token."""
    system = [Message(role="system", content=record.system_prompt)] if record.system_prompt else []
    messages = [*system, *record.turns]
    if isinstance(record, Prompt):
        return len(renderer.prompt(messages))
    return max(len(renderer.example(messages, answer).tokens) for answer in (record.chosen, record.rejected))
