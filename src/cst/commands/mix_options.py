"""The words of `cst mix`; what it does is in `mix_command`."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from cst.commands.options import JsonOption


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
    from cst.commands import mix as command

    command.mix(
        out,
        command.ingredients("instructions", instructions, instructions_license or []),
        command.ingredients("safety", safety, safety_license or []),
        command.MixSettings(n, command.counts_in(counts), seed, f".{suffix}", held_out or [], skip_bad_rows),
        as_json=as_json,
    )
