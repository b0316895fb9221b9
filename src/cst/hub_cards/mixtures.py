"""The data set card of mixed rows, of a run's model or of what `cst mix` wrote: counts, sources, licences."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from cst.hub_cards.facts import as_code
from cst.hub_cards.mixture_facts import MixtureFile, MixtureSource, hub_ids, licence_header, sources_of
from cst.hub_cards.text import header, render, size_category
from cst.preferences.mixtures import PartRows
from cst.recipe import Recipe
from cst.recipe.data import MixtureSettings
from cst.runs.stages.rows import demonstrations_of, mixture_counts_of
from cst.store import fingerprint_of_file, read_json


def mixture_card(
    name: str,
    files: Sequence[MixtureFile],
    sources: Sequence[MixtureSource],
    *,
    seed: int,
    note: str = "",
    more: Mapping[str, object] | None = None,
) -> str:
    """The README.md of files of mixed rows; `more` are further keys of its header, which win over those of the sources.

    The rows that weren't used are the same for all files.
    """
    values = {
        "pretty_name": name,
        **licence_header(sources),
        "task_categories": ["text-generation"],
        "tags": ["sft", "instruction-tuning", "safety"],
        "source_datasets": hub_ids(sources),
        "size_categories": [size_category(sum(file.rows for file in files))],
        **(more or {}),
    }
    return render(
        "mixture.md.j2",
        header=header(values),
        name=name,
        note=note,
        license=values.get("license"),
        seed=seed,
        files=files,
        sources=sources,
        as_code=as_code,
        dropped=[(count.part, *each) for count in files[0].counts for each in count.dropped.items()],
    )


def demonstrations_card(recipe: Recipe, mixture: MixtureSettings, folder: Path, model: str) -> str:
    """The README.md of the rows that a run's model was tuned on."""
    file = folder / demonstrations_of(model)
    counts = tuple(PartRows.model_validate(each) for each in read_json(folder / mixture_counts_of(model)))
    own = {} if recipe.license is None else {"license": recipe.license, "license_name": None}
    return mixture_card(
        f"{recipe.name}: {model}",
        [MixtureFile(file.name, counts, fingerprint_of_file(file))],
        sources_of(mixture),
        seed=mixture.seed + recipe.seed,
        note=recipe.note,
        more=own,
    )
