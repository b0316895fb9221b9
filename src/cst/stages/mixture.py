"""The stage `condition` of supervised tuning: a recipe's sources to the rows of each model, one a number of examples.

What became of the rows is kept in `demonstrations/MODEL.counts.json`. How they are mixed is said in
`preferences.mixtures`.
"""

from collections.abc import Callable, Sequence
from functools import cache, partial

from cst.preferences.mixtures import Part, Parts, SourceRows, mixture, parts_of
from cst.preferences.sources import stream_demonstrations
from cst.recipe_mixture import DemonstrationFile, DemonstrationSource, MiniatureDemonstrations, MixtureSettings
from cst.records import Demonstration, Prompt
from cst.run_folder import Stage
from cst.store import fingerprint_of_file, read_records, write_json, write_records
from cst.workshop import Workshop, held_out_files


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
    return [
        SourceRows(_of_file(workshop, part, source), source.n, f"mixture.{part}.{number}.n")
        if isinstance(source, DemonstrationFile)
        else SourceRows(_of_miniature(workshop, part, source), None, f"mixture.{part}.{number}.n")
        for number, source in enumerate(sources)
    ]


def _of_file(workshop: Workshop, part: Part, source: DemonstrationFile) -> list[Demonstration]:
    return list(stream_demonstrations(source.path, task=part, reading=workshop.reading(source)))


def _of_miniature(workshop: Workshop, part: Part, source: MiniatureDemonstrations) -> list[Demonstration]:
    from cst.miniature.prompts import instruction_demonstrations, safety_demonstrations

    make = instruction_demonstrations if part == "instructions" else safety_demonstrations
    return make(source.n, seed=source.seed + workshop.recipe.seed)


def demonstration_file_fingerprints(settings: MixtureSettings) -> dict[str, str]:
    """SHA-256 of each file that a mixture is made of; a data set of the hub is told by its name in the recipe."""
    sources = (*settings.instructions, *settings.safety)
    files = [source.path for source in sources if isinstance(source, DemonstrationFile) and source.path.is_file()]
    return {str(file): fingerprint_of_file(file) for file in files}
