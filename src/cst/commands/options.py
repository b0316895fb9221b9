"""Arguments and options that several commands share."""

from pathlib import Path
from typing import Annotated

import typer

RecipePath = Annotated[Path, typer.Argument(metavar="RECIPE", help="A recipe file, `miniature` or `sweep`.")]
FolderOption = Annotated[Path | None, typer.Option("--folder", "-f", help="Run folder; by default runs/NAME.")]
SetOption = Annotated[list[str] | None, typer.Option("--set", help="section.key=value; may be given again.")]
UpdateOption = Annotated[
    bool,
    typer.Option(
        "--update",
        help="Go on although the recipe or files of this folder have changed: what depends on them is made again, and "
        "a changed file counts as given.",
    ),
]
MaxCallsOption = Annotated[
    int | None, typer.Option(min=0, help="Calls of models in this folder, earlier runs included, never pass this.")
]
MaxCostOption = Annotated[
    float | None, typer.Option(min=0, help="What calls in this folder cost, earlier runs included, never passes this.")
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print the result as JSON on standard output.")]
