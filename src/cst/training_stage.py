"""The stage of a run folder that trains a model: preference rows in, an adapter or weights out.

This file knows which files and settings a training is made from; how it is done is the room's business.
"""

from pathlib import Path

from cst.records import Preference
from cst.run_folder import Stage
from cst.store import read_records
from cst.training_evaluation import decides_evaluations, held_out_of
from cst.workshop import EVALUATION_PROMPTS, Workshop


def preferences_of(model: str) -> str:
    """The file of the rows that a model is trained on, in the run folder."""
    return f"preferences/{model}.jsonl"


def train_stage(workshop: Workshop, model: str) -> Stage:
    """Preferences to an adapter (or to weights, where the recipe trains all of them)."""
    folder = workshop.folder / "models" / model
    settings = workshop.recipe.training
    settings = settings.model_copy(update={"seed": settings.seed + workshop.recipe.seed})

    def work() -> None:
        from cst.training.loop import train

        rows = read_records(workshop.folder / preferences_of(model), Preference)
        chosen = settings.model_copy(update={"reference": _reference_of(model, settings.reference)})
        held_out, loaded = held_out_of(workshop, model), workshop.load()
        train(rows, loaded=loaded, settings=chosen, folder=folder, held_out=held_out, description=f"train {model}")

    def depends() -> list[object]:  # where the reference is taken from changes nothing: another one is refused
        own = settings.model_copy(update={"reference": None})
        return [own, workshop.recipe.model, workshop.model_fingerprint, *decides_evaluations(workshop)]

    home = f"models/{model}"
    outputs = [str(workshop.tuned_folder(model).relative_to(workshop.folder)), f"{home}/metrics.jsonl"]
    beside = [f"{home}/{name}" for name in ("training.json", "reference.safetensors", "snapshots", "result.json")]
    inputs = [preferences_of(model), *([] if settings.eval_steps is None else [EVALUATION_PROMPTS])]
    return Stage(f"train-{model}", depends, inputs, outputs, work, clears=[home], by_products=beside)


def _reference_of(model: str, given: Path | None) -> Path | None:
    """The reference that a model may take: its namesake's, where a whole run is given."""
    if given is None or not given.is_dir():
        return given
    return given / "models" / model / "reference.safetensors"
