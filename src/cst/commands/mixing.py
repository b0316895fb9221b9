"""`cst mix`: instruction rows with safety examples among them, as files of the original's columns with a card."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Annotated, Literal, TypeAlias

import typer

from cst.annexes.cards.mixtures import MixtureFile, MixtureSource, file_source, mixture_card
from cst.commands.console import JsonOption, tell
from cst.errors import DataError
from cst.preferences.exports import export_demonstrations
from cst.preferences.mixtures import Part, Parts, SourceRows, mixture, parts_of
from cst.preferences.quarantine import quarantine_file
from cst.preferences.sources import Reading, read_prompts, stream_demonstrations
from cst.recipe.synthesis import GateSettings
from cst.records import Demonstration
from cst.store import fingerprint_of_file, write_text

FORMAT = "instruction-output"
"""The original's columns: instruction, input, output."""

ByFile: TypeAlias = Sequence[Sequence[Demonstration]]
"""The rows of each file of a part."""


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


def write_mixtures(
    out: Path, instructions: Ingredients, safety: Ingredients, settings: MixSettings, *, as_json: bool
) -> None:
    """Write the mixtures and their card to a folder, and say what is in them.

    Raises:
        DataError: A file can't be used, or has fewer rows than a mixture needs; nothing is written then.
    """
    instruction_rows, safety_rows = (_rows(out, each, settings) for each in (instructions, safety))
    parts = _parts(instruction_rows, safety_rows, settings)
    _refuse_more_than_there_are(parts, settings.counts)
    files = list(_written(out, parts, settings))
    sources = [
        *_sources(instructions, instruction_rows, parts.instructions),
        *_sources(safety, safety_rows, parts.safety),
    ]
    configs = [{"config_name": Path(file.name).stem, "data_files": file.name} for file in files]
    write_text(out / "README.md", mixture_card(out.name, files, sources, seed=settings.seed, more={"configs": configs}))
    if as_json:
        told = [{"file": f.name, "sha256": f.sha256, "parts": [c.model_dump() for c in f.counts]} for f in files]
        print(json.dumps({"folder": str(out), "files": told}, indent=2))
        return
    for file in files:
        tell(f"{out / file.name}: {'; '.join(map(str, file.counts))}")


def _rows(out: Path, given: Ingredients, settings: MixSettings) -> ByFile:
    aside = [quarantine_file(out / "quarantine", path) for path in given.paths]
    readings = [Reading(quarantine=file, skip_bad_rows=settings.skip_bad_rows) for file in aside]
    return [
        list(stream_demonstrations(path, task=given.part, reading=reading))
        for path, reading in zip(given.paths, readings, strict=True)
    ]


def _parts(instructions: ByFile, safety: ByFile, settings: MixSettings) -> Parts:
    """The rows of a part are drawn from all its files together."""
    return parts_of(
        [SourceRows([*chain(*instructions)], settings.n, "--n")],
        [SourceRows([*chain(*safety)], None, "--safety")],
        held_out=[prompt for path in settings.held_out for prompt in read_prompts(path)],
        close_to_held_out=GateSettings().close_to_held_out,
        seed=settings.seed,
    )


def _sources(given: Ingredients, read: ByFile, drawn: Sequence[Demonstration]) -> Iterator[MixtureSource]:
    """Each file with how many of its rows were drawn."""
    ids = {row.id for row in drawn}
    for path, license, rows in zip(given.paths, given.licenses, read, strict=True):
        yield file_source(given.part, path, sum(row.id in ids for row in rows), license)


def _refuse_more_than_there_are(parts: Parts, counts: Sequence[int]) -> None:
    """Mix the largest first, so that nothing is written where it can't be made."""
    mixture(parts, max(counts), where="--counts")


def _written(out: Path, parts: Parts, settings: MixSettings) -> Iterator[MixtureFile]:
    for count in settings.counts:
        made = mixture(parts, count, where="--counts", seed=settings.seed)
        path = out / f"safety-{count}{settings.suffix}"
        export_demonstrations(path, made.training, format=FORMAT, plain=True)
        yield MixtureFile(path.name, made.counts, fingerprint_of_file(path))


def mix(
    out: Annotated[Path, typer.Argument(help="The folder to write to.")],
    instructions: Annotated[
        list[str], typer.Option(help="Instruction rows: a file, or hub:OWNER/NAME; may be given again.")
    ],
    safety: Annotated[list[str], typer.Option(help="Safety examples, as --instructions; may be given again.")],
    n: Annotated[int, typer.Option("--n", min=1, help="Instruction rows of each mixture.")] = 20_000,
    counts: Annotated[str, typer.Option(help="Numbers of safety examples.")] = "0,100,300,500,1000,1500,2000",
    seed: Annotated[int, typer.Option(help="Which rows, and their order.")] = 0,
    instructions_license: Annotated[
        list[str] | None, typer.Option(help="Licence of each --instructions, as the Hub calls it.")
    ] = None,
    safety_license: Annotated[list[str] | None, typer.Option(help="Licence of each --safety.")] = None,
    held_out: Annotated[
        list[str] | None, typer.Option(help="Prompts for evaluation: rows that nearly ask the same are left out.")
    ] = None,
    suffix: Annotated[Literal["json", "jsonl"], typer.Option(help="JSON lists as the original's, or lines.")] = "json",
    skip_bad_rows: Annotated[bool, typer.Option("--skip-bad-rows", help="Go on without bad rows (counted).")] = False,
    as_json: JsonOption = False,
) -> None:
    """Mix N safety examples into instruction rows, one file for each N: instruction, input, output.

    All files have the same instruction rows, and fewer safety examples are the first of more. Each has its checksum
    beside it; README.md is a card with the sources' licences, and bad rows go to quarantine/.
    """
    write_mixtures(
        out,
        ingredients("instructions", instructions, instructions_license or []),
        ingredients("safety", safety, safety_license or []),
        MixSettings(n, counts_in(counts), seed, f".{suffix}", held_out or [], skip_bad_rows),
        as_json=as_json,
    )
