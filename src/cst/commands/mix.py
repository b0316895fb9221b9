"""What `cst mix` does: instruction rows with safety examples among them to files of the original's columns, and a card.

One file a number of safety examples, each with its checksum. Safety-Tuned LLaMAs (Bianchi et al., arXiv 2309.07875) has
20,000 instruction rows and 0 to 2,000 safety examples.
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from cst.commands.console import tell
from cst.errors import DataError
from cst.hub_cards.mixture_facts import MixtureFile, file_source
from cst.hub_cards.mixtures import mixture_card
from cst.preferences.exports import export_demonstrations
from cst.preferences.mixtures import Part, Parts, SourceRows, mixture, parts_of
from cst.preferences.quarantine import quarantine_file
from cst.preferences.sources import Reading, read_prompts, stream_demonstrations
from cst.recipe import GateSettings
from cst.records import Demonstration
from cst.store import fingerprint_of_file, write_text

FORMAT = "instruction-output"
"""The original's columns: instruction, input, output."""


@dataclass(frozen=True)
class Ingredients:
    """The files of a part, or their names on the hub, and the licence of each; None where it isn't named."""

    part: Part
    paths: Sequence[str]
    licenses: Sequence[str | None]


@dataclass(frozen=True)
class MixSettings:
    """How many instruction rows, and with which numbers of safety examples; which rows, by seed.

    Rows that nearly ask what a prompt of the `held_out` files asks are left out. `suffix` is `.json` or `.jsonl`.
    """

    n: int
    counts: Sequence[int]
    seed: int
    suffix: str
    held_out: Sequence[str] = ()
    skip_bad_rows: bool = False


def ingredients(part: Part, paths: Sequence[str], licenses: Sequence[str]) -> Ingredients:
    """Files with their licences, in order.

    Raises:
        DataError: There are licences, and not one for each file.
    """
    if licenses and len(licenses) != len(paths):
        raise DataError(
            f"--{part}-license stands {len(licenses)} times, and --{part} {len(paths)} times. Give one for each, in "
            "the same order."
        )
    return Ingredients(part, paths, licenses or [None] * len(paths))


def counts_in(text: str) -> list[int]:
    """Numbers of safety examples, as `--counts 0,100,300`.

    Raises:
        DataError: Something else stands there, or a number twice.
    """
    words = [word.strip() for word in text.split(",")]
    if not all(word.isdecimal() for word in words) or len({int(word) for word in words}) < len(words):
        raise DataError(f"--counts {text!r} can't be read. Write numbers, each once, such as 0,100,300.")
    return [int(word) for word in words]


def mix(out: Path, instructions: Ingredients, safety: Ingredients, settings: MixSettings, *, as_json: bool) -> None:
    """Write the mixtures and their card to a folder, and say what is in them.

    Raises:
        DataError: A file can't be used, or has fewer rows than a mixture needs; nothing is written then.
    """
    parts = _parts(out, instructions, safety, settings)
    _refuse_more_than_there_are(parts, settings.counts)
    files = list(_written(out, parts, settings))
    sources = [
        file_source(each.part, path, None, license)
        for each in (instructions, safety)
        for path, license in zip(each.paths, each.licenses, strict=True)
    ]
    configs = [{"config_name": Path(file.name).stem, "data_files": file.name} for file in files]
    write_text(out / "README.md", mixture_card(out.name, files, sources, seed=settings.seed, more={"configs": configs}))
    if as_json:
        told = [{"file": f.name, "sha256": f.sha256, "parts": [c.model_dump() for c in f.counts]} for f in files]
        print(json.dumps({"folder": str(out), "files": told}, indent=2))
        return
    for file in files:
        tell(f"{out / file.name}: {'; '.join(map(str, file.counts))}")


def _parts(out: Path, instructions: Ingredients, safety: Ingredients, settings: MixSettings) -> Parts:
    gate = GateSettings().close_to_held_out
    return parts_of(
        [SourceRows(list(_rows(out, instructions, settings)), settings.n, "--n")],
        [SourceRows(list(_rows(out, safety, settings)), None, "--safety")],
        held_out=[prompt for path in settings.held_out for prompt in read_prompts(path)],
        close_to_held_out=gate,
        seed=settings.seed,
    )


def _rows(out: Path, given: Ingredients, settings: MixSettings) -> Iterator[Demonstration]:
    for path in given.paths:
        aside = quarantine_file(out / "quarantine", path)
        reading = Reading(quarantine=aside, skip_bad_rows=settings.skip_bad_rows)
        yield from stream_demonstrations(path, task=given.part, reading=reading)


def _refuse_more_than_there_are(parts: Parts, counts: Sequence[int]) -> None:
    """Mix the largest first, so that nothing is written where it can't be made."""
    mixture(parts, max(counts), where="--counts")


def _written(out: Path, parts: Parts, settings: MixSettings) -> Iterator[MixtureFile]:
    for count in settings.counts:
        made = mixture(parts, count, where="--counts", seed=settings.seed)
        path = out / f"safety-{count}{settings.suffix}"
        export_demonstrations(path, made.training, format=FORMAT, plain=True)
        yield MixtureFile(path.name, made.counts, fingerprint_of_file(path))
