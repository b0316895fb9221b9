"""`cst mix`, `cst export`, `cst audit` and `cst card`: files of rows made, converted, checked and described."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Annotated, Literal, TypeAlias

import typer

from cst.annexes.cards.mixtures import MixtureFile, MixtureSource, file_source, mixture_card
from cst.commands.console import JsonOption, draw, tell
from cst.errors import DataError
from cst.preferences.exports import export_demonstrations, export_preferences, export_prompts
from cst.preferences.formats.demonstration_formats import DEMONSTRATION_FORMATS
from cst.preferences.formats.prompt_formats import PROMPT_FORMATS
from cst.preferences.mixtures import Part, Parts, SourceRows, mixture, parts_of
from cst.preferences.rows import quarantine_file
from cst.preferences.sources import (
    Reading,
    read_prompts,
    stream_demonstrations,
    stream_preferences,
    stream_prompts,
)
from cst.recipe.synthesis import GateSettings
from cst.records import Demonstration
from cst.store import fingerprint_of_file, write_text

FORMAT = "instruction-output"
"""Safety-Tuned LLaMAs' columns: instruction, input, output."""

ByFile: TypeAlias = Sequence[Sequence[Demonstration]]
"""The rows of each file of a part."""


@dataclass(frozen=True)
class Ingredients:
    """The files of a part, or their names on the Hub, each with its licence or None."""

    part: Part
    paths: Sequence[str]
    licenses: Sequence[str | None]


@dataclass(frozen=True)
class MixSettings:
    """The number of instruction rows, the numbers of safety examples, and the seed that selects rows.

    Rows that nearly repeat a prompt of the `held_out` files are left out. `suffix` is `.json` or `.jsonl`.
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
        DataError: The number of licences is neither 0 nor the number of files.
    """
    if licenses and len(licenses) != len(paths):
        raise DataError(
            f"--{part}-license is given {len(licenses)} times, but --{part} {len(paths)} times. Give one licence per "
            "file, in the same order."
        )
    return Ingredients(part, paths, licenses or [None] * len(paths))


def counts_in(text: str) -> list[int]:
    """Parse numbers of safety examples, such as `0,100,300`.

    Raises:
        DataError: The text is something else, or repeats a number.
    """
    words = [word.strip() for word in text.split(",")]
    if not all(word.isdecimal() for word in words) or len({int(word) for word in words}) < len(words):
        raise DataError(f"--counts {text!r} can't be read. Write numbers, each once, such as 0,100,300.")
    return [int(word) for word in words]


def write_mixtures(
    out: Path, instructions: Ingredients, safety: Ingredients, settings: MixSettings, *, as_json: bool
) -> None:
    """Write the mixtures and their card to a folder, and print the counts.

    Raises:
        DataError: A file can't be used, or has fewer rows than a mixture needs. Then nothing is written.
    """
    instruction_rows, safety_rows = (_rows(out, each, settings) for each in (instructions, safety))
    parts = _parts(instruction_rows, safety_rows, settings)
    _reject_more_than_there_are(parts, settings.counts)
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
    """Draw the rows of a part from all its files together."""
    return parts_of(
        [SourceRows([*chain(*instructions)], settings.n, "--n")],
        [SourceRows([*chain(*safety)], None, "--safety")],
        held_out=[prompt for path in settings.held_out for prompt in read_prompts(path)],
        close_to_held_out=GateSettings().close_to_held_out,
        seed=settings.seed,
    )


def _sources(given: Ingredients, read: ByFile, drawn: Sequence[Demonstration]) -> Iterator[MixtureSource]:
    """Each file with the number of its rows that were drawn."""
    ids = {row.id for row in drawn}
    for path, license, rows in zip(given.paths, given.licenses, read, strict=True):
        yield file_source(given.part, path, sum(row.id in ids for row in rows), license)


def _reject_more_than_there_are(parts: Parts, counts: Sequence[int]) -> None:
    """Build the largest mixture first, so that nothing is written if it can't be built."""
    mixture(parts, max(counts), where="--counts")


def _written(out: Path, parts: Parts, settings: MixSettings) -> Iterator[MixtureFile]:
    for count in settings.counts:
        made = mixture(parts, count, where="--counts", seed=settings.seed)
        path = out / f"safety-{count}{settings.suffix}"
        export_demonstrations(path, made.training, format=FORMAT, plain=True)
        yield MixtureFile(path.name, made.counts, fingerprint_of_file(path))


SkipBadRows: TypeAlias = Annotated[
    bool, typer.Option("--skip-bad-rows", help="Skip and count invalid rows instead of stopping.")
]


def mix(
    out: Annotated[Path, typer.Argument(help="Output folder.")],
    instructions: Annotated[list[str], typer.Option(help="Instruction rows: a file, or hub:OWNER/NAME; repeatable.")],
    safety: Annotated[list[str], typer.Option(help="Safety examples, in the same way; repeatable.")],
    n: Annotated[int, typer.Option("--n", min=1, help="Instruction rows of each mixture.")] = 20_000,
    counts: Annotated[str, typer.Option(help="Numbers of safety examples.")] = "0,100,300,500,1000,1500,2000",
    seed: Annotated[int, typer.Option(help="Selects the rows and their order.")] = 0,
    instructions_license: Annotated[
        list[str] | None, typer.Option(help="Licence of each --instructions, as the Hub writes it.")
    ] = None,
    safety_license: Annotated[list[str] | None, typer.Option(help="Licence of each --safety.")] = None,
    held_out: Annotated[
        list[str] | None, typer.Option(help="Evaluation prompts: rows that nearly repeat one are left out.")
    ] = None,
    suffix: Annotated[Literal["json", "jsonl"], typer.Option(help="JSON lists, or one object per line.")] = "json",
    skip_bad_rows: SkipBadRows = False,
    as_json: JsonOption = False,
) -> None:
    """`cst mix`.

    Columns are instruction, input and output. All files have the same instruction rows, and a smaller N takes the
    first safety examples of a larger one. Each file has its checksum beside it. README.md is a card with the sources'
    licences. Invalid rows go to quarantine/.
    """
    write_mixtures(
        out,
        ingredients("instructions", instructions, instructions_license or []),
        ingredients("safety", safety, safety_license or []),
        MixSettings(n, counts_in(counts), seed, f".{suffix}", held_out or [], skip_bad_rows),
        as_json=as_json,
    )


def export(
    rows: Annotated[str, typer.Argument(help="Preferences, prompts or demonstrations in any format that cst reads.")],
    out: Annotated[Path, typer.Argument(help="Output file: .jsonl, .json, .parquet, .csv or .tsv.")],
    format: Annotated[str, typer.Option(help="A format of docs/data.md.")] = "paper",
    plain: Annotated[bool, typer.Option("--plain", help="Leave out id, task, topic and configuration.")] = False,
    read_as: Annotated[str | None, typer.Option(help="The format of ROWS; by default recognised by columns.")] = None,
    skip_bad_rows: SkipBadRows = False,
    as_json: JsonOption = False,
) -> None:
    """`cst export`.

    The checksum of OUT goes to OUT.sha256, and invalid rows go to a file beside it.
    """
    reading = Reading(format=read_as, quarantine=quarantine_file(out.parent, rows), skip_bad_rows=skip_bad_rows)
    if format in {known.name for known in PROMPT_FORMATS}:
        written = export_prompts(out, stream_prompts(rows, reading=reading), format=format, plain=plain)
    elif format in {known.name for known in DEMONSTRATION_FORMATS}:
        found = stream_demonstrations(rows, task="instructions", reading=reading)
        written = export_demonstrations(out, found, format=format, plain=plain)
    else:
        written = export_preferences(out, stream_preferences(rows, reading=reading), format=format, plain=plain)
    if as_json:
        print(json.dumps({"rows": written, "format": format, "file": str(out)}, indent=2))
    else:
        tell(f"{written} rows in {out}")


def audit(
    rows: Annotated[str, typer.Argument(metavar="FILE", help="Preferences or prompts in any format that cst reads.")],
    format: Annotated[str | None, typer.Option(help="The format of FILE; by default recognised by columns.")] = None,
    tokenizer: Annotated[str | None, typer.Option(help="Also render rows for this model: folder or Hub id.")] = None,
    max_length: Annotated[int | None, typer.Option(min=2, help="Token limit of a row; by default the model's.")] = None,
    held_out: Annotated[str | None, typer.Option(help="A file of prompts that must not be trained on.")] = None,
    html: Annotated[Path | None, typer.Option(help="Also write the report as this HTML page.")] = None,
    as_json: JsonOption = False,
) -> None:
    """`cst audit`."""
    from cst.annexes.audit import audit as audited
    from cst.annexes.audit.show import audit_page, audit_tables, verdict

    found = audited(rows, format=format, held_out=held_out, tokenizer=tokenizer, max_length=max_length)
    if html is not None:
        write_text(html, audit_page(found))
        tell(f"report: {html}")
    if as_json:
        print(json.dumps({"is_clean": found.is_clean, **found.model_dump(mode="json")}, indent=2))
    else:
        for table in audit_tables(found):
            draw(table)
        print(f"{found.source}: {verdict(found)}")
    raise typer.Exit(0 if found.is_clean else 1)


def card(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="A run folder.")],
    of: Annotated[Literal["dataset", "model"], typer.Option(help="Describe the training rows, or the trained model.")],
    model: Annotated[str, typer.Option(help="The model of the run; for a dataset, the model it trains.")] = "cst",
) -> None:
    """`cst card`."""
    from cst.annexes.cards import pages as cards

    print((cards.dataset_card if of == "dataset" else cards.model_card)(folder, model), end="")
