"""Evaluation along a training, as a recipe asks for it: which prompts, put to the policy how, and judged by whom.

Training and evaluation meet here. The prompts are set apart from the held-out ones, so that the scores of a run aren't
those that its weights were chosen by. Answers aren't journalled: the next step changes the weights that gave them.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, final

from cst.errors import RecipeError
from cst.recipe import TrainingSettings
from cst.records import Completion, Prompt, SafetyConfiguration, Sampling, Score, Verdict
from cst.run_folder import Stage
from cst.store import fingerprint, read_records, write_json
from cst.workshop import EVALUATION_PROMPTS, Workshop

if TYPE_CHECKING:
    from cst.evaluation.scores import CurvePoint
    from cst.models.loading import LoadedModel


def set_apart(held_out: Sequence[Prompt], settings: TrainingSettings) -> tuple[list[Prompt], list[Prompt]]:
    """The first `eval_prompts` held-out prompts of each task that evaluations ask, and all others.

    Raises:
        RecipeError: A task has too few.
    """
    if not settings.asks_prompts:
        return [], list(held_out)
    counts, n = Counter(prompt.task for prompt in held_out), settings.eval_prompts
    tasks = settings.eval_tasks or tuple(counts)
    for task in tasks:
        if counts[task] <= n:
            raise RecipeError(
                f"training.eval_prompts={n} would leave none of the {counts[task]} held-out prompts of task {task!r} "
                "to be scored. Hold out more of them, lower it, or name other tasks in training.eval_tasks."
            )
    chosen = {id(prompt) for task in tasks for prompt in [p for p in held_out if p.task == task][:n]}
    asked = [prompt for prompt in held_out if id(prompt) in chosen]
    return asked, [prompt for prompt in held_out if id(prompt) not in chosen]


@final
@dataclass(frozen=True)
class HeldOutPrompts:
    """Prompts under every configuration that speaks of their task, answered by the model that is being trained.

    Configurations that the model isn't trained on are asked too: what is lost there is to be seen; but the `decisive`
    ones alone decide. `judge` gives one verdict a completion, in order. Satisfies `training.evaluating.HeldOut`.
    """

    prompts: Sequence[Prompt]
    configurations: Sequence[SafetyConfiguration]
    decisive: frozenset[str]
    judge: Callable[[Sequence[Completion]], list[Verdict]]
    model_name: str
    sampling: Sampling
    batch_size: int
    own_or_none: bool = False

    @property
    def fingerprint(self) -> str:
        """Of all but the judge, for which a run folder's stage vouches."""
        return fingerprint(
            list(self.prompts), list(self.configurations), sorted(self.decisive), self.sampling, self.batch_size
        )

    def answer(self, loaded: "LoadedModel", *, rank: int, world_size: int) -> list[Completion]:
        """Every `world_size`-th prompt, from `rank` on, under each configuration."""
        from cst.chat.local import LocalChat
        from cst.evaluation.generation import generate

        chat = LocalChat(loaded, name=f"{self.model_name} in training", batch_size=self.batch_size)
        mine = self.prompts[rank::world_size]
        return generate(
            mine,
            self.configurations,
            chat,
            own_or_none=self.own_or_none,
            sampling=self.sampling,
            model_name=self.model_name,
        )

    def score(self, completions: Sequence[Completion]) -> list[Score]:
        """One score per task and configuration."""
        from cst.evaluation.scores import score

        return score(completions, self.judge(completions), self.configurations)


def held_out_of(workshop: Workshop, model: str) -> HeldOutPrompts | None:
    """What a model is evaluated on while it is trained; None where the recipe doesn't ask for it.

    Raises:
        RecipeError: No configuration that the model is trained on speaks of the tasks.
    """
    settings = workshop.recipe.training
    if not settings.asks_prompts:
        return None
    prompts = read_records(workshop.folder / EVALUATION_PROMPTS, Prompt)
    tasks = {prompt.task for prompt in prompts}
    speaking = [each for each in workshop.configurations if tasks & set(each.tasks)]
    own = [each.name for each in workshop.configurations_of(model)]
    decisive = frozenset(each.name for each in speaking if each.name in own)
    if not decisive:
        raise RecipeError(
            f"models.{model} is trained on {own}, and none of these speaks of the tasks that training.eval_steps="
            f"{settings.eval_steps} evaluates, {sorted(tasks)}. Name others in training.eval_tasks."
        )
    return HeldOutPrompts(
        prompts=prompts,
        configurations=speaking,
        decisive=decisive,
        judge=partial(_verdicts, workshop),
        model_name=model,
        sampling=workshop.sampling(0.0),
        batch_size=workshop.recipe.generation.batch_size,
        own_or_none=workshop.recipe.mixture is not None,
    )


def _verdicts(workshop: Workshop, completions: Sequence[Completion]) -> list[Verdict]:
    """By the recipe's judge, which is made when it is first asked: one process alone asks it."""
    from cst.evaluation.judges.base import judge

    return judge(completions, workshop.judge)


def decides_evaluations(workshop: Workshop) -> list[object]:
    """What decides evaluations, besides the prompts, the settings of training and the start model."""
    if not workshop.recipe.training.asks_prompts:
        return []
    asked = [workshop.sampling(0.0), workshop.recipe.generation.batch_size]
    return [*asked, *workshop.configurations, *workshop.judged_by]


def evaluation_curve_stage(workshop: Workshop) -> Stage:
    """The evaluations of all trainings of a run to the points of its curve, which the report draws."""
    folder, files = workshop.folder, [f"models/{model}/metrics.jsonl" for model in workshop.recipe.models]

    def work() -> None:
        write_json(folder / "curve.json", [point for name in files for point in _points(folder / name)])

    return Stage("curve", lambda: [], files, ["curve.json"], work)


def _points(metrics: Path) -> "list[CurvePoint]":
    from cst.evaluation.scores import at_step
    from cst.training.results import read_metrics

    evaluations = [(line.evaluation, line.step) for line in read_metrics(metrics)]
    return [point for each, step in evaluations if each is not None for point in at_step(each.scores, step)]
