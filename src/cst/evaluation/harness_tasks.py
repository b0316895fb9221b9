"""Tasks of lm-eval by name, and our own items as such tasks; what can't be scored item by item is refused.

A set is a task or a group of tasks, as MMLU is of 57. Its score is the mean over all its items, so tasks whose metric
is aggregated in another way, and groups that weigh their tasks equally, have none. This file knows no model.
"""

import logging
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager, redirect_stderr
from dataclasses import dataclass
from difflib import get_close_matches
from io import StringIO
from pathlib import Path
from typing import Any

from datasets import Dataset
from lm_eval.api.group import Group
from lm_eval.api.metrics import mean
from lm_eval.api.task import Task
from lm_eval.tasks import TaskManager

from cst.errors import DataError, RecipeError
from cst.recipe import CapabilityTask
from cst.records import MultipleChoiceItem

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
        _refuse_equal_weights(group, wanted.metric)
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


def _refuse_equal_weights(group: Group, metric: str) -> None:
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
    """Without lm-eval's bars (ours stands for them), and its remarks on being handed a model or rows."""
    logger = logging.getLogger("lm_eval")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with redirect_stderr(StringIO()):
            yield
    finally:
        logger.setLevel(level)
