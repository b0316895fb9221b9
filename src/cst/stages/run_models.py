"""The models of a run, as stages take them: the start model by the name `base`, and those that were tuned from it."""

from typing import TYPE_CHECKING

from cst.workshop import BASE, Workshop

if TYPE_CHECKING:
    from cst.models.loading import LoadedModel


def trained(workshop: Workshop) -> list[str]:
    """The tuned models' folders, from the run folder."""
    return [str(workshop.tuned_folder(model).relative_to(workshop.folder)) for model in workshop.recipe.models]


def loaded(workshop: Workshop, model: str) -> "LoadedModel":
    """A model by its name."""
    return workshop.base if model == BASE else workshop.load(workshop.tuned_folder(model))


def start_model(workshop: Workshop) -> list[object]:
    """What decides an answer of any model of the run, besides its tuned weights: they are input files."""
    return [workshop.recipe.model, workshop.model_fingerprint, workshop.recipe.seed]
