"""Mixtures for supervised tuning, as `cst check` and cards describe them: sources, licences and fingerprints.

A source is named without its folder.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from cst.annexes.cards import NO_VALUE, as_code, card, listed, plain, size_category, table
from cst.preferences.mixtures import Part, PartRows
from cst.preferences.sources import Source, source_name
from cst.preferences.tables import HUB, hub_name
from cst.recipe import Recipe
from cst.recipe.data import DemonstrationFile, DemonstrationSource, MixtureSettings
from cst.runs.stages.rows import demonstrations_of, mixture_counts_of
from cst.store import fingerprint_of_file, read_json


@dataclass(frozen=True)
class MixtureSource:
    """A source of rows: how many of them are drawn (None for all), and under which licence.

    A local file has a `sha256`, a data set on the hub has a `hub_id` (OWNER/NAME).
    """

    part: Part
    name: str
    n: int | None
    license: str | None
    sha256: str | None = None
    hub_id: str | None = None

    def __str__(self) -> str:
        """One line for people."""
        rows = "all rows" if self.n is None else f"{self.n} rows"
        return f"{self.part}: {rows} of {self.name} ({self.license or 'licence not named'})"

    @property
    def cells(self) -> tuple[object, ...]:
        """The source in a table of SOURCE_COLUMNS."""
        bound = ", for non-commercial use alone" * self._is_non_commercial
        rows = "all" if self.n is None else self.n
        return self.part, as_code(self.name), rows, (self.license or "not named") + bound

    @property
    def terms(self) -> str:
        """The source with what its licence asks of the rows."""
        bound = ", which is for non-commercial use alone, and so are the files with its rows" * self._is_non_commercial
        return f"{as_code(self.name)}: {plain(self.license or 'not named; ask its authors')}{bound}"

    @property
    def _is_non_commercial(self) -> bool:
        """Whether the licence's name says so, as `cc-by-nc-4.0` does."""
        return "nc" in (self.license or "").lower().split("-")


SOURCE_COLUMNS = ("part", "source", "rows to draw from", "licence")


@dataclass(frozen=True)
class MixtureFile:
    """A file of mixed rows, what they were made of, and its SHA-256."""

    name: str
    counts: tuple[PartRows, ...]
    sha256: str

    @property
    def rows(self) -> int:
        """The rows in the file: those drawn, less those set apart for the validation loss."""
        return sum(count.drawn - count.validation for count in self.counts)

    @property
    def cells(self) -> tuple[object, ...]:
        """The file in a table of FILE_COLUMNS."""
        drawn = [sum(each.drawn for each in self.counts if each.part == part) for part in ("instructions", "safety")]
        return self.name, self.rows, *drawn, sum(each.validation for each in self.counts), as_code(self.sha256)


FILE_COLUMNS = ("file", "rows", "instructions", "safety examples", "of these set apart for validation", "SHA-256")


def hub_id(path: Source) -> str | None:
    """`OWNER/NAME` of rows that lie on the hub."""
    found = hub_name(str(path)) if str(path).startswith(HUB) else None
    return None if found is None or found.is_folder else found.path


def file_source(part: Part, path: Source, n: int | None, license: str | None) -> MixtureSource:
    """A source by its file, or by its name on the hub with the revision that was asked for."""
    if (on_hub := hub_id(path)) is not None:
        return MixtureSource(part, str(path).removeprefix(HUB), n, license, hub_id=on_hub)
    sha256 = fingerprint_of_file(Path(path)) if Path(path).is_file() else None
    return MixtureSource(part, source_name(path), n, license, sha256)


def hub_ids(sources: Sequence[MixtureSource]) -> list[str] | None:
    """The sources that lie on the hub, or None where none does."""
    return [source.hub_id for source in sources if source.hub_id is not None] or None


def sources_of(settings: MixtureSettings) -> list[MixtureSource]:
    """The sources that a recipe names."""
    parts: tuple[tuple[Part, Sequence[DemonstrationSource]], ...] = (
        ("instructions", settings.instructions),
        ("safety", settings.safety),
    )
    return [
        file_source(part, source.path, source.n, source.license)
        if isinstance(source, DemonstrationFile)
        else MixtureSource(part, "the embedded world", source.n, None)
        for part, sources in parts
        for source in sources
    ]


def planned_mixture(settings: MixtureSettings) -> list[str]:
    """What a recipe mixes, line by line; the sources' rows aren't read."""
    lines = [str(source) for source in sources_of(settings)]
    lines += [f"{model}: supervised tuning with {n} safety examples" for model, n in settings.models.items()]
    if settings.validation_rows:
        lines.append(f"{settings.validation_rows} rows of each mixture set apart for the validation loss")
    return lines


def _licences(sources: Sequence[MixtureSource]) -> dict[str, str | None]:
    """The Hub's keys on the licences of all sources; none where one of them isn't named."""
    names = list(dict.fromkeys(source.license for source in sources))
    if None in names or len(names) == 1:
        return {"license": None if None in names else names[0]}
    return {"license": "other", "license_name": "-and-".join(map(str, names))}


def mixture_card(
    name: str,
    files: Sequence[MixtureFile],
    sources: Sequence[MixtureSource],
    *,
    seed: int,
    note: str = "",
    more: Mapping[str, object] | None = None,
) -> str:
    """The README.md of files of mixed rows; `more` are header keys that win over the keys of the sources.

    The unused rows are the same for all files, so they are counted once.
    """
    header = {
        "pretty_name": name,
        **_licences(sources),
        "task_categories": ["text-generation"],
        "tags": ["sft", "instruction-tuning", "safety"],
        "source_datasets": hub_ids(sources),
        "size_categories": [size_category(sum(file.rows for file in files))],
        **(more or {}),
    }
    dropped = [(count.part, *each) for count in files[0].counts for each in count.dropped.items()]
    license = header.get("license")
    parts = (
        f"# {plain(name)}",
        note,
        "Rows of supervised tuning: instructions with safety examples among them, after Safety-Tuned LLaMAs (Bianchi "
        f"et al., arXiv 2309.07875). Drawn and shuffled by the seed {seed}. All mixtures from these sources and this "
        "seed have the same instruction rows, and fewer safety examples are the first of more.",
        table(FILE_COLUMNS, [file.cells for file in files]),
        "## Sources",
        table((*SOURCE_COLUMNS, "SHA-256"), [(*s.cells, as_code(s.sha256) if s.sha256 else NO_VALUE) for s in sources]),
        "Rows that were not used, by reason:" if dropped else "All rows could be used.",
        table(("part", "reason", "rows"), dropped) if dropped else "",
        "## Licence",
        f"{f'These rows: {plain(license)}. ' if license else ''}Each row stays under the licence of its source:",
        listed(source.terms for source in sources),
    )
    return card("dataset", header, parts)


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
