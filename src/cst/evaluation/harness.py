"""Capability sets answered through lm-eval in this process, with prompts from our renderer.

This file owns what lm-eval is asked and how its answers are read. It does not know what an answer scores.
"""

import copy
import logging
import math
import re
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stderr
from dataclasses import dataclass
from difflib import get_close_matches
from io import StringIO
from itertools import groupby, product
from pathlib import Path
from typing import Any, Self, TypeAlias, final

from datasets import Dataset
from lm_eval.api.group import Group
from lm_eval.api.metrics import mean
from lm_eval.api.task import Task
from lm_eval.evaluator import evaluate
from lm_eval.models.huggingface import HFLM
from lm_eval.tasks import TaskManager

from cst.errors import DataError, RecipeError
from cst.evaluation.capability import AskedSet, CapabilityAnswer
from cst.models.loading import LoadedModel
from cst.models.logps import continuations
from cst.progress import track
from cst.recipe.evaluation import CapabilitySettings, CapabilityTask
from cst.records import Message, MultipleChoiceItem
from cst.store import read_records, write_records

FEWSHOT_SEED = 1234
"""lm-eval's own default: with it, the same worked examples are drawn as by `lm-eval run`."""


@dataclass(frozen=True)
class CapabilitySet:
    """A name, the figure that is taken of each item, and the tasks whose items it holds."""

    name: str
    metric: str
    tasks: tuple[Task, ...]


def sets_of_items(items: Sequence[MultipleChoiceItem]) -> list[CapabilitySet]:
    """Our own multiple-choice items, one task a set: the question is the prompt, the choices are the answers."""
    names = dict.fromkeys(item.set for item in items)
    with quiet():
        tasks = [_own_task(name, [item for item in items if item.set == name]) for name in names]
    return [_checked(task.task_name, "acc", [task]) for task in tasks]


def _own_task(name: str, items: Sequence[MultipleChoiceItem]) -> Task:
    rows = Dataset.from_list([item.model_dump(include={"question", "choices", "answer"}) for item in items])

    def splits(**_metadata: object) -> dict[str, Dataset]:
        return {"test": rows}

    accuracy = {"metric": "acc", "aggregation": "mean", "higher_is_better": True}
    config: dict[str, Any] = {
        "task": name,
        "custom_dataset": splits,
        "test_split": "test",
        "output_type": "multiple_choice",
        "doc_to_text": "question",
        "doc_to_choice": "choices",
        "doc_to_target": "answer",
        "num_fewshot": 0,
        "metric_list": [accuracy, {**accuracy, "metric": "acc_norm"}],
    }
    return TaskManager(include_defaults=False).load([config])["tasks"][name]


def named_sets(wanted: Sequence[CapabilityTask], include_path: Path | None) -> list[CapabilitySet]:
    """Tasks and groups that lm-eval brings along, or that the YAML files in a folder describe.

    Raises:
        RecipeError: There is no such folder, task or metric, or its figure is no mean over log-likelihood items.
        DataError: A task's data can't be had.
    """
    if include_path is not None and not include_path.is_dir():
        raise RecipeError(f"capabilities.include_path={include_path} is no folder; name the one with the tasks' YAML.")
    manager = TaskManager(include_path=include_path, include_defaults=False)
    if any(each.task not in manager.task_index for each in wanted):
        manager = TaskManager(include_path=include_path)  # reads the 14,000 files of lm-eval's own tasks, in 9 s
    return [_named(each, manager) for each in wanted]


def _named(wanted: CapabilityTask, manager: TaskManager) -> CapabilitySet:
    name = wanted.task
    if name not in manager.task_index:
        near = get_close_matches(name, manager.all_tasks, n=3)
        meant = f"; near it are {', '.join(near)}" if near else ""
        raise RecipeError(
            f"lm-eval has no task {name!r}{meant}. `lm-eval ls tasks` lists them; a folder of your own is named by "
            "capabilities.include_path."
        )
    found = _loaded(name, manager)
    tasks: Mapping[str, Task] = found["tasks"]
    if name not in (*tasks, *found["groups"]):
        raise RecipeError(f"{name!r} is a tag of lm-eval's, without a score of its own; name its tasks: {list(tasks)}.")
    for task in tasks.values():
        _set_examples(task, wanted.num_fewshot)
    for group in found["groups"].values():
        _reject_equal_weights(group, wanted.metric)
    return _checked(name, wanted.metric, list(tasks.values()))


def _loaded(name: str, manager: TaskManager) -> Any:  # noqa: ANN401 - lm-eval's own dictionary, without types
    try:
        return manager.load([name])
    # A task's own code, `datasets` and the hub each raise what they like, so nothing narrower catches it all.
    except Exception as error:
        reason = next(iter(str(error).splitlines()), "")
        raise DataError(
            f"lm-eval can't load its task {name!r} ({type(error).__name__}: {reason}). Where the hub can't be "
            "reached, fetch the task's data on a machine that can and copy its cache (HF_HOME), or name a task of your "
            "own files."
        ) from error


def _set_examples(task: Task, number: int | None) -> None:
    """How many worked examples stand before each question: as asked, or the task's own number, or none."""
    own = task.get_config("num_fewshot")
    if number is not None and own == 0 != number:
        raise RecipeError(
            f"Task {task.task_name} holds its worked examples in its prompt and takes no others (num_fewshot is 0 in "
            f"its file), and the recipe asks for {number}. Leave num_fewshot out."
        )
    task.set_config("num_fewshot", number if number is not None else own or 0)


def _reject_equal_weights(group: Group, metric: str) -> None:
    for aggregation in group.aggregate_metric_list or ():
        if aggregation.metric == metric and not aggregation.weight_by_size:
            raise RecipeError(
                f"lm-eval's group {group.name} weighs its tasks equally, whatever their size, so its {metric} is no "
                f"mean over items; name its tasks instead: {group.child_names}."
            )


def _checked(name: str, metric: str, tasks: Sequence[Task]) -> CapabilitySet:
    for task in tasks:
        if task.OUTPUT_TYPE not in ("multiple_choice", "loglikelihood"):
            raise RecipeError(
                f"Task {task.task_name} is of the kind {task.OUTPUT_TYPE}; only multiple_choice and loglikelihood are "
                "answered by log-probs of given answers. Take it out."
            )
        aggregations: Mapping[str, object] = task.aggregation() or {}
        means = [known for known, aggregate in aggregations.items() if aggregate is mean]
        if metric not in means:
            raise RecipeError(
                f"Task {task.task_name} has no metric {metric!r} that is a mean over items, only {means}; name one of "
                "them as its `metric`."
            )
    return CapabilitySet(name, metric, tuple(tasks))


@contextmanager
def quiet() -> Generator[None]:
    """Silence lm-eval's progress bars (ours replaces them), and its remarks on being given a model or rows."""
    logger = logging.getLogger("lm_eval")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with redirect_stderr(StringIO()):
            yield
    finally:
        logger.setLevel(level)


@final
class RenderedPrompt(str):
    """A prompt's text that remembers its messages, for lm-eval hands text from its tasks to its models."""

    __slots__ = ("messages",)
    messages: tuple[Message, ...]

    def __new__(cls, text: str, messages: tuple[Message, ...]) -> Self:
        """The text, with the messages that it was rendered from."""
        prompt = super().__new__(cls, text)
        prompt.messages = messages
        return prompt


_Untyped: Any = HFLM  # its decorator hides the class from type checkers

_Request: TypeAlias = tuple[tuple[str, str], list[int], list[int]]
"""A prompt and a choice: their texts, the prompt's tokens, the choice's tokens."""


@final
class HarnessModel(_Untyped):
    """Holds a loaded model. Log-probs are float32 whatever the weights are (lm-eval: `softmax_dtype=float32`)."""

    def __init__(self, loaded: LoadedModel, *, batch_size: int) -> None:
        tokenizer = copy.deepcopy(loaded.tokenizer)  # lm-eval gives it a padding token
        super().__init__(loaded.model, tokenizer=tokenizer, batch_size=batch_size, softmax_dtype="float32")
        self._loaded, self._renderer = loaded, loaded.renderer
        self.template_sha256 = loaded.renderer.describe().template_sha256
        self._control = re.compile("|".join(map(re.escape, sorted(loaded.renderer.controls))) or "(?!)")

    def apply_chat_template(self, chat_history: list[dict[str, str]], add_generation_prompt: bool = True) -> str:
        """What the renderer writes for a conversation that ends with a question.

        Raises:
            RenderingError: The template rejects or drops a turn, or the task begins the answer itself.
        """
        messages = tuple(Message.model_validate(turn) for turn in chat_history)
        return RenderedPrompt(self._renderer.text(messages), messages)

    def _encode_pair(  # pyright: ignore[reportUnusedFunction] - lm-eval calls it
        self, context: str, continuation: str
    ) -> tuple[list[int], list[int]]:
        """Tokens of a prompt and of one choice."""
        messages = context.messages if isinstance(context, RenderedPrompt) else ()
        if messages and any(map(self._control.search, (continuation, *(message.content for message in messages)))):
            sequence = self._renderer.example(messages, continuation, ended=False)
            return list(sequence.tokens[: sequence.response_start]), list(sequence.tokens[sequence.response_start :])
        return super()._encode_pair(context, continuation)

    def _loglikelihood_tokens(  # pyright: ignore[reportUnusedFunction] - lm-eval calls it
        self, requests: Sequence[_Request], **_settings: bool
    ) -> list[tuple[float, bool]]:
        """Log-prob in nats of each continuation, and whether it is the greedy one.

        Raises:
            DataError: A choice has no tokens, or a prompt with its choice is longer than the model can read.
        """
        self._reject_unusable(requests)
        pairs = [(before, after) for _, before, after in requests]
        pad = self._renderer.pad_token_id
        found = continuations(self._loaded.model, pairs, pad_token_id=pad, batch_size=self.batch_size)
        return [(each.logp, each.is_greedy) for each in found]

    def _reject_unusable(self, requests: Sequence[_Request]) -> None:
        for (prompt, choice), _, after in requests:
            if not after:
                raise DataError(f"The choice {choice!r} behind '...{prompt[-60:]}' has no tokens; take the item out.")
        (prompt, choice), before, after = max(requests, key=lambda request: len(request[1]) + len(request[2]))
        tokens = len(before) + len(after)
        if tokens > self.max_length + 1:  # the last token is predicted, not read
            raise DataError(
                f"A prompt and choice take {tokens} tokens and the model reads {self.max_length}: "
                f"'...{prompt[-60:]}{choice}'. Lower num_fewshot, or take the task out."
            )


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

    def answers(part: _Part) -> list[CapabilityAnswer]:
        file = folder / part.file
        if not file.exists():
            write_records(file, _ask(part, harness_model(part.model), settings))
        return read_records(file, CapabilityAnswer)

    def size(part: _Part) -> int:
        items = len(part.task.eval_docs)
        return items if settings.limit is None else min(items, settings.limit)

    for _, group in groupby(track(parts, description="capabilities", weight=size), key=lambda part: part.group):
        yield [answer for part in group for answer in answers(part)]


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
    return [
        CapabilityAnswer(
            **asked.model_dump(),
            item_id=(item_id := f"{name}/{sample['doc_id']}"),
            item_hash=sample["doc_hash"],
            value=_share(sample[asked.metric], asked.metric, item_id),
            target=str(sample["target"]),
            logps=tuple(logp for logp, _ in sample["filtered_resps"]),
        )
        for sample in results["samples"][name]
    ]


def _share(value: float, metric: str, item_id: str) -> float | None:
    """An item's figure; None where it is no number (TruthfulQA's, when every choice's probability rounds to 0)."""
    if math.isnan(value):
        return None
    if not 0 <= value <= 1:
        raise DataError(
            f"Item {item_id} has {metric}={value}, which is no share of 1; name another metric of the task."
        )
    return float(value)
