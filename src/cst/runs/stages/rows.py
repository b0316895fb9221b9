"""The stages that make the rows a model is trained on: preferences selected and mixed, or demonstrations mixed."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, partial
from itertools import compress
from pathlib import Path

from cst.preferences.mixtures import Part, Parts, SourceRows, mixture, parts_of
from cst.preferences.selection import TaskRows, select
from cst.preferences.sources import stream_demonstrations
from cst.recipe.data import (
    DemonstrationFile,
    DemonstrationSource,
    MixtureSettings,
    PreferenceFile,
)
from cst.records import Preference, Prompt
from cst.runs.folder import Stage
from cst.runs.workshop import Workshop, held_out_files
from cst.store import fingerprint_of_file, read_records, write_json, write_records


@dataclass(frozen=True)
class RowPlan:
    """How a model's rows are selected, and by which files; there are none where all rows are trained on."""

    weights: Mapping[str, float] | None
    seed: int
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]

    @property
    def depends_on(self) -> list[object]:
        """What decides the selection besides its input files."""
        return [] if self.weights is None else [dict(self.weights), self.seed]


def row_plan(workshop: Workshop, model: str) -> RowPlan:
    """A mix is over the tasks that the model's configurations speak of; rows of a file never ask held-out prompts."""
    recipe = workshop.recipe
    is_file = recipe.preferences is not None
    takes_all = is_file and not recipe.models[model]
    speaking = [] if takes_all else workshop.configurations_of(model)
    tasks = {task for configuration in speaking for task in configuration.tasks}
    weights = {task: weight for task, weight in recipe.mixing.items() if takes_all or task in tasks}
    inputs = held_out_files(recipe) if is_file and recipe.holds_out_prompts else ()
    outputs = (counts_of(model),) if inputs or recipe.mixing else ()
    return RowPlan(weights if recipe.mixing else None, recipe.seed, inputs, outputs)


def origin_of(source: PreferenceFile) -> list[object]:
    """What decides the rows of a file: how it is read and what it holds; a data set of the hub is told by its name."""
    return [source, fingerprint_of_file(source.path) if source.path.is_file() else None]


def counts_of(model: str) -> str:
    """The file of a run folder that says what became of a model's rows."""
    return f"preferences/{model}.counts.json"


def write_rows(rows: Callable[[], Iterable[Preference]], plan: RowPlan, folder: Path, output: Path) -> None:
    """Write the selected rows, and what became of the others; rows are asked for once more where some are left out.

    Raises:
        DataError: The rows can't be mixed by the weights.
    """
    if not plan.outputs:
        write_records(output, rows())
        return
    held_out = [prompt for name in plan.inputs for prompt in read_records(folder / name, Prompt)]
    selection = select(rows(), held_out=held_out, weights=plan.weights, seed=plan.seed)
    write_records(output, compress(rows(), selection.keeps))
    write_json(folder / plan.outputs[0], selection.counts)


def planned_rows(workshop: Workshop) -> list[str]:
    """What a run would hold out and mix, line by line; files that the recipe names are read, no model is asked.

    Raises:
        DataError: A file can't be used, or its rows can't be held out or mixed as the recipe says.
    """
    recipe, source = workshop.recipe, workshop.recipe.preferences
    is_selected = source is not None and (recipe.holds_out_prompts or bool(recipe.mixing))
    if not (is_selected or recipe.prompts.held_out_share):
        return _shares(recipe.mixing)
    training, held_out = workshop.prompts()
    asked = sum(1 for _ in training)
    lines = [f"{len(held_out)} prompts held out{f', {asked} to synthesize from' if asked else ''}"]
    if source is None:
        return [*lines, *_shares(recipe.mixing)]
    for model in recipe.models:
        rows = workshop.preferences_for(model, source)
        weights = row_plan(workshop, model).weights
        selection = select(rows, held_out=held_out, weights=weights, seed=recipe.seed)
        lines += [f"{model}: {told(counts)}" for counts in selection.counts]
    return lines


def _shares(weights: Mapping[str, float]) -> list[str]:
    return [f"mixing: {task} {weight / sum(weights.values()):.1%} of the rows" for task, weight in weights.items()]


def told(counts: TaskRows) -> str:
    """What became of a task's rows, in one line."""
    return (
        f"{counts.task}: {counts.kept} of {counts.rows} rows to train on ({counts.held_out} held out, "
        f"{counts.left_out} left out by the mix)"
    )


def demonstrations_of(model: str) -> str:
    """The file of the rows that a model is tuned on, in the run folder."""
    return f"demonstrations/{model}.jsonl"


def validation_of(model: str) -> str:
    """The file of the rows that were set apart from a model's mixture for the validation loss."""
    return f"validation/{model}.jsonl"


def mixture_counts_of(model: str) -> str:
    """The file that says what became of the rows of a model's mixture."""
    return f"demonstrations/{model}.counts.json"


def mixture_stages(workshop: Workshop, settings: MixtureSettings) -> list[Callable[[Workshop], Stage]]:
    """One stage a model; the sources are read for the first of them that has to be made, and kept for the others."""
    parts = cache(partial(_parts, workshop, settings))
    return [partial(_stage, settings=settings, model=model, parts=parts) for model in settings.models]


def _stage(workshop: Workshop, *, settings: MixtureSettings, model: str, parts: Callable[[], Parts]) -> Stage:
    folder, n = workshop.folder, settings.validation_rows
    seed = settings.seed + workshop.recipe.seed
    apart = [validation_of(model)] if n else []

    def work() -> None:
        where = f"mixture.safety_counts={settings.models[model]}"
        made = mixture(parts(), settings.models[model], where=where, validation_rows=n, seed=seed)
        write_records(folder / demonstrations_of(model), made.training)
        for name in apart:
            write_records(folder / name, made.validation)
        write_json(folder / mixture_counts_of(model), made.counts)

    def depends() -> list[object]:  # neither another model nor a licence changes anything
        unnamed = {"__all__": {"license"}}
        common = settings.model_dump(exclude={"safety_counts": True, "instructions": unnamed, "safety": unnamed})
        return [common, settings.models[model], seed, demonstration_file_fingerprints(settings)]

    outputs = [demonstrations_of(model), mixture_counts_of(model), *apart]
    return Stage(f"condition-{model}", depends, _held_out(workshop), outputs, work)


def _held_out(workshop: Workshop) -> Sequence[str]:
    return held_out_files(workshop.recipe) if workshop.recipe.holds_out_prompts else ()


def _parts(workshop: Workshop, settings: MixtureSettings) -> Parts:
    held_out = [prompt for name in _held_out(workshop) for prompt in read_records(workshop.folder / name, Prompt)]
    return parts_of(
        _rows(workshop, "instructions", settings.instructions),
        _rows(workshop, "safety", settings.safety),
        held_out=held_out,
        close_to_held_out=settings.close_to_held_out,
        seed=settings.seed + workshop.recipe.seed,
    )


def _rows(workshop: Workshop, part: Part, sources: Sequence[DemonstrationSource]) -> list[SourceRows]:
    found: list[SourceRows] = []
    for number, source in enumerate(sources):
        if isinstance(source, DemonstrationFile):
            rows, n = stream_demonstrations(source.path, task=part, reading=workshop.reading(source)), source.n
        else:
            world, n = workshop.own.the_world(f"mixture.{part}"), None
            draw = world.instruction_demonstrations if part == "instructions" else world.safety_demonstrations
            rows = draw(source.n, seed=source.seed + workshop.seed)
        found.append(SourceRows(list(rows), n, f"mixture.{part}.{number}.n"))
    return found


def demonstration_file_fingerprints(settings: MixtureSettings) -> dict[str, str]:
    """SHA-256 of each file that a mixture is made of; a data set of the hub is told by its name in the recipe."""
    sources = (*settings.instructions, *settings.safety)
    files = [source.path for source in sources if isinstance(source, DemonstrationFile) and source.path.is_file()]
    return {str(file): fingerprint_of_file(file) for file in files}
