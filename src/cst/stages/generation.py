"""The stage in which every model answers the held-out prompts, arm by arm."""

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING

from cst.errors import RecipeError, RenderingError
from cst.recipe import Arm
from cst.records import Completion, Prompt
from cst.run_folder import Stage
from cst.stages.run_models import loaded, start_model, trained
from cst.store import read_records, write_records
from cst.workshop import BASE, HELD_OUT_PROMPTS, Workshop

if TYPE_CHECKING:
    from cst.evaluation.generation import PlannedCompletion


def generation_stage(workshop: Workshop) -> Stage:
    """`held_out_prompts.jsonl` and the tuned models to `completions.jsonl`.

    Raises:
        RecipeError: The recipe tunes by a mixture, and has no configuration to score answers by.
    """
    folder, settings = workshop.folder, workshop.recipe.generation
    if workshop.recipe.mixture is not None and not workshop.configurations:
        raise RecipeError(
            "The recipe has held-out prompts and no configurations, by which answers are scored. Add one for each "
            "task, such as {name: safe, tasks: [harmless], prefers: revised}; wordings may be left out."
        )

    def work() -> None:
        prompts = read_records(folder / HELD_OUT_PROMPTS, Prompt)
        refuse_unaskable(workshop)
        completions: list[Completion] = []
        for model in (BASE, *workshop.recipe.models):
            completions.extend(_completions(workshop, model, prompts))
        write_records(folder / "completions.jsonl", completions)

    def depends() -> list[object]:
        return [settings, *workshop.configurations, *start_model(workshop)]

    return Stage("generate", depends, [HELD_OUT_PROMPTS, *trained(workshop)], ["completions.jsonl"], work)


def _completions(workshop: Workshop, model: str, prompts: Sequence[Prompt]) -> list[Completion]:
    """All answers of one model, arm by arm; every arm is planned before the first is asked."""
    from cst.evaluation.generation import ask

    settings = workshop.recipe.generation
    chat = workshop.chat(loaded(workshop, model), model, settings.batch_size)
    made: list[Completion] = []
    for arm, asked in [(arm, planned(workshop, arm, prompts)) for arm in settings.arms]:
        made += ask(asked, chat, sampling=workshop.sampling(arm.temperature), model_name=model)
    return made


def refuse_unaskable(workshop: Workshop) -> None:
    """Plan every arm, and render one of its conversations of each shape, before anything is tuned or asked.

    Raises:
        DataError: An arm can't be planned.
        RecipeError: The model's template has no place for turns of an arm; the message names it.
    """
    if not workshop.recipe.holds_out_prompts:
        return
    prompts, renderer = read_records(workshop.folder / HELD_OUT_PROMPTS, Prompt), workshop.renderer
    for number, arm in enumerate(workshop.recipe.generation.arms):
        asked = [row.request for row in planned(workshop, arm, prompts)]
        for request in {tuple(turn.role for turn in request.messages): request for request in asked}.values():
            try:
                renderer.prompt(request.messages)
            except RenderingError as error:
                raise RecipeError(
                    f"generation.arms.{number} asks {request.id!r}, which can't be done: {error}"
                ) from error


def planned(workshop: Workshop, arm: Arm, prompts: Sequence[Prompt]) -> "list[PlannedCompletion]":
    """What an arm of the recipe asks.

    Raises:
        DataError: It can't be asked; the message says why.
    """
    from cst.evaluation.framings import framed, framings_of
    from cst.evaluation.generation import completion_requests

    settings = workshop.recipe.generation
    plain = completion_requests(
        asked_in(arm, prompts),
        workshop.configurations,
        wordings=(arm.wordings,),
        own_or_none=workshop.recipe.mixture is not None,
        neutral_system_prompts=settings.neutral_system_prompts,
        unknown_system_prompts=settings.unknown_system_prompts,
    )
    return framed(plain, workshop.configurations, framings_of(arm.framings)) if arm.framings else plain


def asked_in(arm: Arm, prompts: Sequence[Prompt]) -> list[Prompt]:
    """The prompts that an arm asks, in order: of its tasks, and the first of each."""
    kept: list[Prompt] = []
    taken: Counter[str] = Counter()
    for prompt in prompts:
        if (not arm.tasks or prompt.task in arm.tasks) and (arm.prompts is None or taken[prompt.task] < arm.prompts):
            kept.append(prompt)
            taken[prompt.task] += 1
    return kept
