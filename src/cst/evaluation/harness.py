"""Capability sets answered through lm-eval, in this process: each model, under each system prompt, task by task.

A task's answers are one file, written whole; what a killed run finished is read and not answered again. lm-eval's own
cache is never used: its keys leave the model out. This file knows no score.
"""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby, product
from pathlib import Path
from typing import Any

from lm_eval.api.task import Task
from lm_eval.evaluator import evaluate

from cst.errors import DataError
from cst.evaluation.capability import AskedSet, CapabilityAnswer
from cst.evaluation.harness_model import HarnessModel
from cst.evaluation.harness_tasks import FEWSHOT_SEED, CapabilitySet, quiet
from cst.models.loading import LoadedModel
from cst.progress import track
from cst.recipe import CapabilitySettings
from cst.store import read_records, write_records


@dataclass(frozen=True)
class _Part:
    """One task of a set, asked of one model under one system prompt."""

    model: str
    configuration: str
    system_prompt: str | None
    set: CapabilitySet
    task: Task

    @property
    def group(self) -> tuple[str, str, str]:
        return self.model, self.configuration, self.set.name

    @property
    def file(self) -> Path:
        return Path(*map(_file_name, self.group), f"{_file_name(self.task.task_name)}.jsonl")


def _file_name(text: str) -> str:
    """The text, with whatever a file system or a shell could read otherwise as %HEX: no two texts share one."""
    return "".join(c if c.isalnum() or c in "_-" else f"%{ord(c):X}" for c in text)


def answered(
    models: Mapping[str, Callable[[], LoadedModel]],
    system_prompts: Mapping[str, str | None],
    sets: Sequence[CapabilitySet],
    settings: CapabilitySettings,
    folder: Path,
) -> Iterator[list[CapabilityAnswer]]:
    """The answers of each model, under each configuration, to each set; models in order, loaded if needed.

    Raises:
        DataError: A prompt doesn't fit into the model, or an item's metric is no share.
        RenderingError: The chat template can't express the prompts.
    """
    held: dict[str, HarnessModel] = {}

    def harness_model(name: str) -> HarnessModel:
        if name not in held:
            held.clear()  # before the next is loaded: two may not fit
            loaded = models[name]()
            with quiet():
                held[name] = HarnessModel(loaded, batch_size=settings.batch_size)
        return held[name]

    parts = [
        _Part(model, configuration, prompt, asked, task)
        for model, (configuration, prompt), asked in product(models, system_prompts.items(), sets)
        for task in asked.tasks
    ]
    shown = track(parts, description="capabilities", weight=lambda part: _size(part.task, settings.limit))
    for _, group in groupby(shown, key=lambda part: part.group):
        yield [answer for part in group for answer in _answers(part, harness_model, settings, folder / part.file)]


def _size(task: Task, limit: int | None) -> int:
    items = len(task.eval_docs)
    return items if limit is None else min(items, limit)


def _answers(
    part: _Part, model: Callable[[str], HarnessModel], settings: CapabilitySettings, file: Path
) -> list[CapabilityAnswer]:
    if not file.exists():
        write_records(file, _ask(part, model(part.model), settings))
    return read_records(file, CapabilityAnswer)


def _ask(part: _Part, model: HarnessModel, settings: CapabilitySettings) -> list[CapabilityAnswer]:
    name = part.task.task_name
    part.task.set_fewshot_seed(FEWSHOT_SEED)
    with quiet():
        results: Any = evaluate(
            model,
            {"tasks": {name: part.task}},
            limit=settings.limit,
            bootstrap_iters=0,
            system_instruction=part.system_prompt,
            apply_chat_template=settings.apply_chat_template,
            fewshot_as_multiturn=settings.fewshot_as_multiturn,
        )
    asked = AskedSet(
        set=part.set.name,
        model=part.model,
        configuration=part.configuration,
        system_prompt=part.system_prompt,
        chat_template=model.template_sha256 if settings.apply_chat_template else None,
        num_fewshot=part.task.get_config("num_fewshot"),
        metric=part.set.metric,
    )
    return [_answer(asked, name, sample) for sample in results["samples"][name]]


def _answer(asked: AskedSet, task: str, sample: Mapping[str, Any]) -> CapabilityAnswer:
    item_id = f"{task}/{sample['doc_id']}"
    return CapabilityAnswer(
        **asked.model_dump(),
        item_id=item_id,
        item_hash=sample["doc_hash"],
        value=_share(sample[asked.metric], asked.metric, item_id),
        target=str(sample["target"]),
        logps=tuple(logp for logp, _ in sample["filtered_resps"]),
    )


def _share(value: float, metric: str, item_id: str) -> float | None:
    """An item's figure; None where it is no number (TruthfulQA's, when every choice's probability rounds to 0)."""
    if math.isnan(value):
        return None
    if not 0 <= value <= 1:
        raise DataError(
            f"Item {item_id} has {metric}={value}, which is no share of 1; name another metric of the task."
        )
    return float(value)
