"""The stage of a run folder that trains a model: rows in, an adapter or weights out.

This file knows which files and settings a training is made from; how it is done is the room's business.
"""

from pathlib import Path

from cst.recipe import Recipe, TrainingSettings
from cst.records import Demonstration, Preference
from cst.run_folder import Stage
from cst.stages.generation import refuse_unaskable
from cst.stages.mixture import demonstrations_of, validation_of
from cst.stages.training_evaluation import decides_evaluations, held_out_of
from cst.store import read_records
from cst.workshop import EVALUATION_PROMPTS, Workshop


def preferences_of(model: str) -> str:
    """The file of the rows that a model is trained on, in the run folder."""
    return f"preferences/{model}.jsonl"


def train_stage(workshop: Workshop, model: str) -> Stage:
    """Preferences or demonstrations to an adapter (or to weights, where the recipe trains all of them)."""
    settings = workshop.recipe.training
    settings = settings.model_copy(update={"seed": settings.seed + workshop.recipe.seed})

    def work() -> None:
        refuse_unaskable(workshop)
        learn = _fine_tune if settings.method == "sft" else _prefer
        learn(workshop, model, settings)

    def depends() -> list[object]:  # where the reference is taken from changes nothing: another one is refused
        own = settings.model_copy(update={"reference": None})
        return [own, workshop.recipe.model, workshop.model_fingerprint, *decides_evaluations(workshop)]

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
