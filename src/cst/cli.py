"""The command line: the seven verbs, commands that run several of them, and tools beside them.

A command's module in `cst.commands` is imported when the command is called, so `cst --help` stays quick. A user's error
is one line on standard error and exit code 2; `--json` prints machine-readable results on standard output.
"""

import inspect
import sys
from collections.abc import Callable, Sequence
from importlib import import_module
from typing import Any, Final, NamedTuple

import typer
from typer.core import TyperCommand, TyperGroup

from cst.errors import CstError


class Entry(NamedTuple):
    """A command: the module of `cst.commands` with a function of its name, and the first sentence of its help."""

    home: str
    help: str


VERB_HELP: Final = {
    "synthesize": "Turn prompts into pairs: the model answers, critiques and rewrites.",
    "condition": "Turn pairs into preferences, ordered as each configuration wants; or build a mixture.",
    "train": "Train an adapter: DPO on preferences, or supervised tuning on a mixture.",
    "generate": "Answer each held-out prompt under each configuration, with the start model and trained models.",
    "judge": "Judge which side each answer shows.",
    "score": "Turn verdicts into rates with n, unscored count and 95 % interval; run paired tests and capabilities.",
    "report": "Write report.md and report.html for a recipe, or compare several run folders.",
}
VERB_HOMES: Final = {"synthesize": "synthesis", "generate": "answers", "score": "scoring", "report": "reports"}
"""Modules of verbs with options of their own; the others are in `verbs`."""

COMMANDS: Final = {
    **{verb: Entry(VERB_HOMES.get(verb, "verbs"), help) for verb, help in VERB_HELP.items()},
    "run": Entry("verbs", "Run all seven verbs, from a recipe to a report."),
    "sweep": Entry("demo", "Measure harmful answers and over-refusal against the number of safety examples."),
    "check": Entry("verbs", "Read a recipe and show what a run would do, without running it."),
    "demo": Entry("demo", "Run the whole method on the built-in miniature model, up to the paper's three tables."),
    "chat": Entry("models", "Talk to a model of a run under a configuration, or under two side by side."),
    "merge": Entry("models", "Merge an adapter into the start model's weights, and compare the answers of both."),
    "export": Entry("rows", "Write rows in another tool's format; `paper` is the format of the paper's data."),
    "mix": Entry("rows", "Mix N safety examples into instruction rows; one file per N."),
    "export-results": Entry("reports", "Write a report's tables (CSV, LaTeX), scores (CSV) and figures (PDF)."),
    "audit": Entry("rows", "Check a file of rows for problems. Exit code 0: none found; 1: problems found."),
    "judge-card": Entry("reports", "Measure how often a recipe's judge errs on labelled answers."),
    "card": Entry("rows", "Print a README.md for the Hub, with YAML header, about a run's data or model."),
}
MINIATURE: Final = {
    "pretrain": Entry("demo", "Pretrain the miniature's start model again. Needs a clone of the repository."),
    "labelled": Entry("demo", "Write labelled answers of the miniature world, to test a judge with `cst judge-card`."),
}


HYPHENS_TOO: Final[dict[str, Callable[[str], str]]] = {"token_normalize_func": lambda word: word.replace("-", "_")}
"""The setting with which `cst generate` takes `--base-model` for `--base_model`."""


class _Commands(TyperGroup):
    """A group that lists its commands from a table, and imports one when it is called."""

    table = COMMANDS

    def __init__(self, **settings: Any) -> None:  # noqa: ANN401 - typer's own settings
        super().__init__(**settings)
        self.commands = {name: TyperCommand(name, help=entry.help) for name, entry in self.table.items()} | dict(
            self.commands
        )

    def resolve_command(self, ctx: Any, args: list[str]) -> tuple[str | None, Any, list[str]]:  # noqa: ANN401
        """The command that is called, with its options."""
        name, command, rest = super().resolve_command(ctx, args)
        return name, loaded(name, self.table[name]) if name in self.table else command, rest


class _MiniatureCommands(_Commands):
    table = MINIATURE


def loaded(name: str, entry: Entry) -> Any:  # noqa: ANN401 - typer names no public type of a command
    """A command with its options; the paragraphs of its function's docstring after the first complete its help."""
    function: Callable[..., None] = getattr(import_module(f"cst.commands.{entry.home}"), name.replace("-", "_"))
    more = (inspect.getdoc(function) or "").partition("\n\n")[2]
    alone = typer.Typer(add_completion=False)
    settings = HYPHENS_TOO if name == "generate" else None
    alone.command(name, help=f"{entry.help}\n\n{more}", context_settings=settings)(function)
    return typer.main.get_command(alone)


app = typer.Typer(
    name="cst",
    cls=_Commands,
    help="Configurable Safety Tuning: one chat model, several safety configurations, chosen by the system prompt.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.add_typer(
    typer.Typer(cls=_MiniatureCommands, help="Commands for the built-in miniature model.", no_args_is_help=True),
    name="miniature",
)


def main(words: Sequence[str] | None = None) -> None:
    """The entry point.

    Args:
        words: What would follow `cst` on the command line; the process's own words by default.

    Raises:
        SystemExit: Always, with the exit code: 2 for a user's error, 130 for an interrupt.
    """
    try:
        app(args=words, standalone_mode=True)
    except CstError as error:
        from cst.runs.processes import leave_the_word

        leave_the_word()
        print(f"cst: {error}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        print("cst: interrupted. Finished work is kept; give the same command again to resume.", file=sys.stderr)
        sys.exit(130)
