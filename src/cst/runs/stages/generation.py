"""The stages in which models answer: held-out prompts arm by arm, and questions of capability sets."""

from collections import Counter
from collections.abc import Sequence
from functools import partial
from importlib import metadata
from importlib.util import find_spec
from typing import TYPE_CHECKING

from cst.errors import RecipeError, RenderingError, install_command
from cst.integrity import fingerprint_of_path
from cst.recipe.evaluation import Arm
from cst.records import NO_CONFIGURATION, Completion, Prompt
from cst.runs.folder import Stage
from cst.runs.workshop import BASE, HELD_OUT_PROMPTS, Workshop
from cst.store import read_records, write_json, write_records

if TYPE_CHECKING:
    from cst.evaluation.generation import PlannedCompletion
    from cst.evaluation.harness import CapabilitySet


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
        reject_unaskable(workshop)
        completions: list[Completion] = []
        for model in (BASE, *workshop.recipe.models):
            completions.extend(_completions(workshop, model, prompts))
        write_records(folder / "completions.jsonl", completions)

    def depends() -> list[object]:
        return [settings, *workshop.configurations, *workshop.start_model]

    return Stage("generate", depends, [HELD_OUT_PROMPTS, *workshop.tuned], ["completions.jsonl"], work)


def _completions(workshop: Workshop, model: str, prompts: Sequence[Prompt]) -> list[Completion]:
    """All answers of one model, arm by arm; every arm is planned before the first is asked."""
    from cst.evaluation.generation import ask

    settings = workshop.recipe.generation
    chat = workshop.chat(workshop.loaded(model), model, settings.batch_size)
    made: list[Completion] = []
    for arm, asked in [(arm, planned(workshop, arm, prompts)) for arm in settings.arms]:
        made += ask(asked, chat, sampling=workshop.sampling(arm.temperature), model_name=model)
    return made


def reject_unaskable(workshop: Workshop) -> None:
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


def capability_stage(workshop: Workshop) -> Stage:
    """Tuned models to `capabilities/` (an item a line) and `capability.json`.

    Raises:
        RecipeError: As for `capability_prompts`.
    """
    folder, settings = workshop.folder, workshop.recipe.capabilities
    assert settings is not None
    prompts = capability_prompts(workshop)  # what can't be asked is told before hours of training

    def work() -> None:
        from cst.evaluation.capability import capability_scores
        from cst.evaluation.harness import answered

        models = {model: partial(workshop.loaded, model) for model in (BASE, *workshop.recipe.models)}
        groups = answered(models, prompts, capability_sets(workshop), settings, folder / "capabilities")
        write_json(folder / "capability.json", list(capability_scores(groups, base=BASE)))

    def depends() -> list[object]:
        tasks = None if settings.include_path is None else fingerprint_of_path(settings.include_path)
        return [settings, tasks, metadata.version("lm_eval"), prompts, *workshop.start_model]

    outputs = ["capabilities", "capability.json"]
    return Stage("capabilities", depends, workshop.tuned, outputs, work, clears=["capabilities"])


def capability_sets(workshop: Workshop) -> "list[CapabilitySet]":
    """The sets of questions that the recipe names.

    Raises:
        RecipeError: lm-eval has no such task, or it can't be scored item by item.
        DataError: A task's data can't be had.
    """
    from cst.evaluation.harness import named_sets, sets_of_items

    settings = workshop.recipe.capabilities
    assert settings is not None
    if settings.tasks != "miniature":
        return named_sets(settings.tasks, settings.include_path)
    return sets_of_items(workshop.own.the_world("capabilities.tasks").capability_items())


def capability_prompts(workshop: Workshop) -> dict[str, str | None]:
    """The system prompt under which capabilities are asked for, by configuration; first, none.

    Raises:
        RecipeError: lm-eval isn't installed; or a configuration isn't there, or has no system prompt of its own.
    """
    settings = workshop.recipe.capabilities
    assert settings is not None
    if find_spec("lm_eval") is None:
        raise RecipeError(
            "The recipe's section `capabilities` needs lm-eval, which isn't installed. Install it "
            f"({install_command('capabilities')}), or leave the section out."
        )
    known = {each.name: each.wordings[0] for each in workshop.configurations if each.wordings}
    names = list(known) if settings.configurations == "all" else settings.configurations
    for name in names:
        if name not in known:
            raise RecipeError(
                f"capabilities.configurations names {name!r}, and those with a system prompt are {list(known)}."
            )
    prompts: dict[str, str | None] = {NO_CONFIGURATION: None} if settings.without_configuration else {}
    return prompts | {name: known[name] for name in names}
