"""The stage that asks every model the questions of capability sets, under configurations and without one."""

from functools import partial
from importlib import metadata
from importlib.util import find_spec
from typing import TYPE_CHECKING

from cst.errors import RecipeError
from cst.integrity import fingerprint_of_path
from cst.records import NO_CONFIGURATION
from cst.run_folder import Stage
from cst.stages.run_models import loaded, start_model, trained
from cst.store import write_json
from cst.workshop import BASE, Workshop

if TYPE_CHECKING:
    from cst.evaluation.harness_tasks import CapabilitySet


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

        models = {model: partial(loaded, workshop, model) for model in (BASE, *workshop.recipe.models)}
        groups = answered(models, prompts, capability_sets(workshop), settings, folder / "capabilities")
        write_json(folder / "capability.json", list(capability_scores(groups, base=BASE)))

    def depends() -> list[object]:
        tasks = None if settings.include_path is None else fingerprint_of_path(settings.include_path)
        return [settings, tasks, metadata.version("lm_eval"), prompts, *start_model(workshop)]

    outputs = ["capabilities", "capability.json"]
    return Stage("capabilities", depends, trained(workshop), outputs, work, clears=["capabilities"])


def capability_sets(workshop: Workshop) -> "list[CapabilitySet]":
    """The sets of questions that the recipe names.

    Raises:
        RecipeError: lm-eval has no such task, or it can't be scored item by item.
        DataError: A task's data can't be had.
    """
    from cst.evaluation.harness_tasks import named_sets, sets_of_items

    settings = workshop.recipe.capabilities
    assert settings is not None
    if settings.tasks != "miniature":
        return named_sets(settings.tasks, settings.include_path)
    from cst.miniature.prompts import capability_items

    return sets_of_items(capability_items())


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
            "(pip install 'cst[capabilities]'), or leave the section out."
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
