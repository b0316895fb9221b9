"""Rubrics: what a chat model is asked when it judges, and which side each label of its answer means.

A rubric is a text file with placeholders, which may begin with lines `LABEL = original|revised|none` and a line `---`;
or a row of FastChat's judge prompts. This file knows no model, and not how a reply is read.
"""

import json
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import permutations
from pathlib import Path
from typing import Self

from pydantic import model_validator

from cst.errors import RecipeError
from cst.judges.neutralising import QUOTED_LABEL, fold, has_label
from cst.recipe.judges import ChatJudgeSettings, RubricFile
from cst.records import Record, Side, Text
from cst.store import parse_record, read_json, read_records, read_text
from cst.texts import placeholders

SHIPPED = Path(__file__).parent / "rubrics"
SHIPPED_NAMES = ("harmlessness", "honesty", "over_refusal", "persona", "refusal")

ANSWER = frozenset({"answer", "response"})
PLACEHOLDERS = ANSWER | {"prompt", "question", "system_prompt", "nonce"}

PAPERS_WORDS = ("evaluate the harmlessness of the response", "binary 0 or 1")
PAPERS_LABELS: Mapping[str, Side | None] = {"[[0]]": Side.ORIGINAL, "[[1]]": Side.REVISED}
"""The judge prompt in the README of the paper's repository: "1 if the response is safe (harmless) and 0 if it is
uncensored". Templates that keep both its phrases are taken for it."""

_LABEL_LINE = re.compile(r"(\S.*?) = (original|revised|none)\s*")


class Rubric(Record):
    """A template, and its labels with their sides; None is for labels that name neither (unscored)."""

    name: Text
    template: Text
    labels: dict[Text, Side | None]
    system_prompt: Text | None = None

    @property
    def is_framed(self) -> bool:
        """Whether its verdict is known by a nonce."""
        return "nonce" in placeholders(self.template)

    @property
    def needs_system_prompt(self) -> bool:
        """Whether it asks about the system prompt that the data brings."""
        return "system_prompt" in placeholders(self.template)

    @model_validator(mode="after")
    def _can_be_used(self) -> Self:
        fault = self._fault()
        if fault is not None:
            raise RecipeError(f"Rubric {self.name!r} {fault}")
        return self

    def _fault(self) -> str | None:
        asked = placeholders(self.template)
        if unknown := sorted(asked - PLACEHOLDERS):
            return f"asks for {{{unknown[0]}}}, but only {sorted(PLACEHOLDERS)} can be filled in. Correct the name."
        if not asked & ANSWER:
            return "has no place for the answer. Put {answer} where it is to stand."
        if missing := [side.value for side in Side if side not in self.labels.values()]:
            return (
                f"has no label for the side {' or '.join(missing)} among {list(self.labels)}. Give its labels sides: "
                'as lines `LABEL = revised` before a line `---`, or as `labels: {"[[1]]": revised, "[[0]]": original}` '
                "in the recipe."
            )
        for part, whole in permutations(self.labels, 2):
            if part.casefold() in whole.casefold():
                return f"has the label {part!r}, which is a part of {whole!r}. Choose labels that can't be mixed up."
        if blank := [label for label in self.labels if label != label.strip() or not fold(label).text.strip()]:
            return f"has the label {blank[0]!r}, which begins or ends with what isn't seen. Take that away."
        if has_label(QUOTED_LABEL, list(self.labels)):
            return f"has a label in {QUOTED_LABEL!r}, which stands for labels in texts that are judged. Change it."
        return None


def rubrics_of(settings: ChatJudgeSettings) -> dict[str, tuple[Rubric, ...]]:
    """The rubrics that each task is judged by.

    Raises:
        RecipeError: A name is neither shipped nor a file of the recipe, or a rubric can't be used.
        DataError: A file can't be read.
    """
    named = {name: _rubric(name, settings.rubric_files) for names in settings.rubrics.values() for name in names}
    return {task: tuple(named[name] for name in names) for task, names in settings.rubrics.items()}


def shipped_rubric(name: str) -> Rubric:
    """One of our own: harmlessness, honesty, over_refusal, persona, refusal."""
    return read_rubric(SHIPPED / f"{name}.txt", name=name)


def _rubric(name: str, files: Mapping[str, RubricFile]) -> Rubric:
    if name in files:
        return read_rubric(files[name].path, name=name, entry=files[name].entry, labels=files[name].labels)
    if name in SHIPPED_NAMES:
        return shipped_rubric(name)
    raise RecipeError(
        f"judge.rubrics names {name!r}, which is neither one of ours ({', '.join(SHIPPED_NAMES)}) nor in "
        f"judge.rubric_files ({list(files)}). Correct the name, or add the file there."
    )


def read_rubric(
    path: Path, *, name: str | None = None, entry: str | None = None, labels: Mapping[str, Side | None] | None = None
) -> Rubric:
    """A rubric from a text file, or from row `entry` of FastChat's judge prompts (`.json`, `.jsonl`).

    Labels are those given, or the file's own, or those of the paper's template where it is that.

    Raises:
        RecipeError: It can't be used, or the row isn't there or compares two answers.
        DataError: The file can't be read.
    """
    name = name or path.stem
    if path.suffix in (".json", ".jsonl"):
        row = _fastchat_row(path, entry)
        template, own, system_prompt = row.prompt_template, {}, row.system_prompt or None
    else:
        own, template = _labels_and_template(read_text(path), name)
        system_prompt = None
    chosen = labels or own or (PAPERS_LABELS if all(words in template for words in PAPERS_WORDS) else {})
    return Rubric(name=name, template=template, labels=dict(chosen), system_prompt=system_prompt)


def _labels_and_template(text: str, name: str) -> tuple[dict[str, Side | None], str]:
    head, rule, template = text.partition("\n---\n")
    lines = [_LABEL_LINE.fullmatch(line) for line in head.splitlines()]
    pairs = [(line[1], line[2]) for line in lines if line is not None]
    if not rule or len(pairs) < len(lines):
        return {}, text
    if twice := [label for label, times in Counter(label for label, _ in pairs).items() if times > 1]:
        raise RecipeError(f"Rubric {name!r} has the label {twice[0]!r} twice. Give each label one line.")
    return {label: None if side == "none" else Side(side) for label, side in pairs}, template


class FastChatPrompt(Record):
    """A row of FastChat's `judge_prompts.jsonl`; `type` is `single` where one answer is judged."""

    name: Text
    type: Text
    system_prompt: str = ""
    prompt_template: Text
    description: str = ""
    category: str = ""
    output_format: str = ""


def _fastchat_row(path: Path, entry: str | None) -> FastChatPrompt:
    rows = _fastchat_rows(path)
    chosen = [row for row in rows if entry in (None, row.name)]
    if len(chosen) != 1:
        names = [row.name for row in rows]
        raise RecipeError(f"{path} has the judge prompts {names}, and entry={entry!r} names {len(chosen)}. Name one.")
    if chosen[0].type != "single":
        raise RecipeError(
            f"{path}: judge prompt {chosen[0].name!r} is of type {chosen[0].type!r}, and answers are judged one by "
            "one. Name one of type 'single'."
        )
    return chosen[0]


def _fastchat_rows(path: Path) -> Sequence[FastChatPrompt]:
    if path.suffix == ".jsonl":
        return read_records(path, FastChatPrompt)
    value = read_json(path)
    rows = value if isinstance(value, list) else [value]
    return [parse_record(json.dumps(row), FastChatPrompt, str(path)) for row in rows]
