"""The stage that trains a model, and the evaluations along a training."""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, final

from cst.errors import RecipeError
from cst.recipe import Recipe
from cst.recipe.training import TrainingSettings
from cst.records import Completion, Demonstration, Preference, Prompt, SafetyConfiguration, Sampling, Score, Verdict
from cst.runs.folder import Stage
from cst.runs.own import identities
from cst.runs.stages.generation import reject_unaskable
from cst.runs.stages.rows import demonstrations_of, validation_of
from cst.runs.workshop import EVALUATION_PROMPTS, HELD_OUT_PROMPTS, Workshop
from cst.store import fingerprint, read_records, write_json

if TYPE_CHECKING:
    from cst.evaluation.scores import CurvePoint
    from cst.models.loading import LoadedModel


def preferences_of(model: str) -> str:
    """The file of the rows that a model is trained on, in the run folder."""
    return f"preferences/{model}.jsonl"


def train_stage(workshop: Workshop, model: str) -> Stage:
    """Preferences or demonstrations to an adapter (or to weights, where the recipe trains all of them)."""
    settings = workshop.recipe.training
    settings = settings.model_copy(update={"seed": settings.seed + workshop.recipe.seed})

    def work() -> None:
        reject_unaskable(workshop)
        learn = _fine_tune if settings.method == "sft" else _prefer
        learn(workshop, model, settings)

    def depends() -> list[object]:  # where the reference is taken from changes nothing: another one is refused
        own = settings.model_copy(update={"reference": None})
        losses = identities(workshop.own.losses)
        return [own, workshop.recipe.model, workshop.model_fingerprint, *decides_evaluations(workshop), *losses]

    home = f"models/{model}"
    outputs = [str(workshop.tuned_folder(model).relative_to(workshop.folder)), f"{home}/metrics.jsonl"]
    beside = [f"{home}/{name}" for name in ("training.json", "reference.safetensors", "snapshots", "result.json")]
    inputs = _rows_of(workshop.recipe, model) + ([EVALUATION_PROMPTS] if settings.asks_prompts else [])
    return Stage(f"train-{model}", depends, inputs, outputs, work, clears=[home], by_products=beside)


def _rows_of(recipe: Recipe, model: str) -> list[str]:
    """The files of the rows to train on, and of those for the validation loss."""
    if recipe.mixture is None:
        return [preferences_of(model)]
    return [demonstrations_of(model), *([validation_of(model)] if recipe.mixture.validation_rows else [])]


def _prefer(workshop: Workshop, model: str, settings: TrainingSettings) -> None:
    from cst.training.objectives import train

    held_out = held_out_of(workshop, model)
    train(
        read_records(workshop.folder / preferences_of(model), Preference),
        loaded=workshop.load(),
        settings=settings.model_copy(update={"reference": _reference_of(model, settings.reference)}),
        folder=workshop.folder / "models" / model,
        held_out=held_out,
        description=f"train {model}",
        loss=workshop.own.loss(settings.loss),
    )


def _fine_tune(workshop: Workshop, model: str, settings: TrainingSettings) -> None:
    from cst.training.objectives import fine_tune

    rows, *apart = (read_records(workshop.folder / name, Demonstration) for name in _rows_of(workshop.recipe, model))
    held_out = held_out_of(workshop, model)
    fine_tune(
        rows,
        loaded=workshop.load(),
        settings=settings,
        folder=workshop.folder / "models" / model,
        validation=apart[0] if apart else (),
        held_out=held_out,
        description=f"train {model}",
    )


def _reference_of(model: str, given: Path | None) -> Path | None:
    """The reference that a model may take: its namesake's, where a whole run is given."""
    if given is None or not given.is_dir():
        return given
    return given / "models" / model / "reference.safetensors"


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
        return generate(
            self.prompts[rank::world_size],
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
    from cst.judges import judge

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
        judge=lambda completions: judge(completions, workshop.judge),  # made when first asked: by one process alone
        model_name=model,
        sampling=workshop.sampling(0.0),
        batch_size=workshop.recipe.generation.batch_size,
        own_or_none=workshop.recipe.mixture is not None,
    )


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
        from cst.evaluation.scores import at_step
        from cst.training.folder import read_metrics

        lines = [line for name in files for line in read_metrics(folder / name)]
        told = [(each.evaluation, each.step) for each in lines]
        write_json(folder / "curve.json", [p for each, step in told if each for p in at_step(each.scores, step)])

    return Stage("curve", lambda: [], files, ["curve.json"], work)


def curve_stage(workshop: Workshop) -> Stage:
    """Scores of the first held-out prompts before training, at each snapshot, and at the end."""
    folder, settings = workshop.folder, workshop.recipe.generation

    def work() -> None:
        prompts, n = read_records(folder / HELD_OUT_PROMPTS, Prompt), settings.curve_prompts
        chosen = [p for task in settings.curve_tasks for p in [p for p in prompts if p.task == task][:n]]
        points = [point for model in workshop.recipe.models for point in _points(workshop, model, chosen)]
        write_json(folder / "curve.json", points)

    def depends() -> list[object]:
        steps = workshop.recipe.training.snapshot_steps
        return [settings, steps, *workshop.configurations, *workshop.judged_by, *workshop.start_model]

    return Stage("curve", depends, [HELD_OUT_PROMPTS, *workshop.tuned], ["curve.json"], work)


def _points(workshop: Workshop, model: str, prompts: Sequence[Prompt]) -> "Iterator[CurvePoint]":
    from cst.evaluation.generation import generate
    from cst.evaluation.scores import at_step, score
    from cst.judges import judge

    tasks = {prompt.task for prompt in prompts}
    speaking = [each for each in workshop.configurations if tasks & set(each.tasks)]
    kept = sorted((workshop.folder / "models" / model / "snapshots").glob("step-*"))
    for step, adapter in [(0, None), *((int(path.name.removeprefix("step-")), path) for path in kept)]:
        loaded = workshop.base if adapter is None else workshop.load(adapter)
        completions = generate(
            prompts,
            speaking,
            workshop.chat(loaded, f"{model} at step {step}", workshop.recipe.generation.batch_size),
            own_or_none=workshop.recipe.mixture is not None,
            sampling=workshop.sampling(0.0),
            model_name=model,
        )
        yield from at_step(score(completions, judge(completions, workshop.judge), speaking), step)
