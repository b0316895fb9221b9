"""What is told of a mixture, by cards and by `cst check`: its sources, with their licences and fingerprints.

A source is told by its name, without the folder that it lies in. This file knows no header and no template.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from cst.preferences.mixtures import Part, PartRows
from cst.preferences.sources import Source, source_name
from cst.preferences.tables import HUB, hub_name
from cst.recipe_mixture import DemonstrationFile, DemonstrationSource, MixtureSettings
from cst.store import fingerprint_of_file


@dataclass(frozen=True)
class MixtureSource:
    """A source of rows: how many of them are drawn, and under which licence.

    `sha256` is that of its file, `hub_id` its OWNER/NAME on the hub, where it is the one or the other.
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
    def is_non_commercial(self) -> bool:
        """Whether the licence's name says so, as `cc-by-nc-4.0` does."""
        return "nc" in (self.license or "").lower().split("-")


@dataclass(frozen=True)
class MixtureFile:
    """A file of mixed rows, what they were made of, and its SHA-256."""

    name: str
    counts: tuple[PartRows, ...]
    sha256: str

    def drawn(self, part: Part) -> int:
        """The rows of a part in the mixture, those for validation included."""
        return sum(count.drawn for count in self.counts if count.part == part)

    @property
    def rows(self) -> int:
        """The rows in the file."""
        return sum(count.drawn - count.validation for count in self.counts)


def file_source(part: Part, path: Source, n: int | None, license: str | None) -> MixtureSource:
    """A source by its file, or by its name on the hub with the revision that was asked for."""
    named = hub_name(str(path)) if str(path).startswith(HUB) else None
    if named is not None and not named.is_folder:
        return MixtureSource(part, str(path).removeprefix(HUB), n, license, hub_id=named.path)
    there = Path(path).is_file()
    return MixtureSource(part, source_name(path), n, license, fingerprint_of_file(Path(path)) if there else None)


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


def licence_header(sources: Sequence[MixtureSource]) -> dict[str, object]:
    """The Hub's keys on the licences of all sources; none where one of them isn't named."""
    names = list(dict.fromkeys(source.license for source in sources))
    if None in names:
        return {}
    if len(names) == 1:
        return {"license": names[0]}
    return {"license": "other", "license_name": "-and-".join(str(name) for name in names)}


def planned_mixture(settings: MixtureSettings) -> list[str]:
    """What a recipe mixes, line by line; the sources' rows aren't read."""
    lines = [str(source) for source in sources_of(settings)]
    lines += [f"{model}: supervised tuning with {n} safety examples" for model, n in settings.models.items()]
    if settings.validation_rows:
        lines.append(f"{settings.validation_rows} rows of each mixture set apart for the validation loss")
    return lines
