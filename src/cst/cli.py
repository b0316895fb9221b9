"""The command line: the seven verbs, what they add up to, and little tools beside them.

Every command reads its words here and calls one function elsewhere. A user's error is one line on standard error and
exit code 2; what a machine reads goes to standard output with `--json`.
"""

import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Literal

import typer

from cst.commands.answers import ABOUT_FILES, HYPHENS_TOO, generate
from cst.commands.console import (
    FolderOption,
    JsonOption,
    MaxCallsOption,
    MaxCostOption,
    RecipePath,
    SetOption,
    UpdateOption,
)
from cst.commands.demo import sweep
from cst.commands.mixing import mix
from cst.commands.scoring import score
from cst.errors import CstError

app = typer.Typer(
    name="cst",
    help="Configurable Safety Tuning: one chat model, several safety configurations, chosen by the system prompt.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
miniature_app = typer.Typer(help="The embedded miniature model.", no_args_is_help=True)

VERB_HELP = {
    "synthesize": "Prompts to pairs: the model answers, criticises and rewrites.",
    "condition": "Pairs to preferences, each ordered the way each configuration wants it; or sources to a mixture.",
    "train": "Preferences to an adapter, by DPO against the frozen start model; a mixture by supervised tuning.",
    "generate": "Answer each held-out prompt under each configuration, with the start model and the trained ones.",
    "judge": "Say of each answer which side it shows.",
    "score": "Verdicts to rates with n, unscored count and interval; exact paired tests; capabilities.",
    "report": "Files to tables and figures: report.md and report.html; of several run folders, a comparison.",
}


def _verb(verb: str) -> Callable[..., None]:
    def command(
        recipe: RecipePath,
        folder: FolderOption = None,
        overrides: SetOption = None,
        update: UpdateOption = False,
        max_calls: MaxCallsOption = None,
        max_cost: MaxCostOption = None,
        as_json: JsonOption = False,
    ) -> None:
        from cst.chat.budget import Budget
        from cst.commands import console
        from cst.doors import open_workshop

        read = console.read_recipe(recipe, overrides or [])
        home, budget = console.folder_of(read, folder), Budget(max_calls=max_calls, max_cost=max_cost)
        console.bring(open_workshop(read, home, budget=budget), until=verb, update=update, as_json=as_json)

    return command


def synthesize(
    recipe: RecipePath,
    folder: FolderOption = None,
    overrides: SetOption = None,
    update: UpdateOption = False,
    max_calls: MaxCallsOption = None,
    max_cost: MaxCostOption = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what would be asked at most, step by step, and ask nothing.")
    ] = False,
    shard: Annotated[
        str | None, typer.Option(help="Work on one share of the prompts, such as 2/4, in a folder of its own.")
    ] = None,
    from_shard: Annotated[
        list[Path] | None, typer.Option(help="Begin with the answers of a shard's folder; may be given again.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """`cst synthesize`: its help is that of the verb."""
    from cst.chat.budget import Budget
    from cst.commands import synthesis as commands
    from cst.synthesis.planning import shard_of

    share = None if shard is None else shard_of(shard)
    if dry_run:
        commands.plan(recipe, folder, overrides or [], share, as_json=as_json)
        return
    commands.synthesize(
        recipe,
        folder,
        overrides or [],
        update=update,
        budget=Budget(max_calls=max_calls, max_cost=max_cost),
        shard=share,
        from_shards=from_shard or [],
        as_json=as_json,
    )


def report(
    named: Annotated[
        list[Path], typer.Argument(metavar="RECIPE|RUN...", help="A recipe, `miniature`, or run folders to compare.")
    ],
    folder: FolderOption = None,
    overrides: SetOption = None,
    update: UpdateOption = False,
    max_calls: MaxCallsOption = None,
    max_cost: MaxCostOption = None,
    output: Annotated[
        Path | None, typer.Option(help="Where a comparison of runs is written; by default runs/comparison.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """`cst report`: its help is that of the verb."""
    from cst.chat.budget import Budget
    from cst.commands import looking as report_commands

    budget = Budget(max_calls=max_calls, max_cost=max_cost)
    report_commands.report(named, folder, overrides or [], update=update, budget=budget, output=output, as_json=as_json)


OWN_COMMANDS = {"synthesize": synthesize, "generate": generate, "score": score, "report": report}
"""Verbs with options of their own."""

for _name, _help in VERB_HELP.items():
    _long = f"{_help}\n\nStages before it are brought up to date first; what is up to date is left as it is."
    _long, _settings = (f"{_long}\n\n{ABOUT_FILES}", HYPHENS_TOO) if _name == "generate" else (_long, None)
    app.command(_name, help=_long, short_help=_help, context_settings=_settings)(
        OWN_COMMANDS.get(_name) or _verb(_name)
    )


app.command("run", help="All seven verbs: from a recipe to a report. What is up to date is left as it is.")(
    _verb("report")
)


app.command("sweep")(sweep)


@app.command()
def check(recipe: RecipePath, overrides: SetOption = None, as_json: JsonOption = False) -> None:
    """Read a recipe, say what a run of it would do, and stop."""
    from cst.commands import console

    console.check(recipe, overrides or [], as_json=as_json)


@app.command()
def demo(
    seeds: Annotated[int, typer.Option(min=1, max=20, help="How many runs, each with its own prompts and seeds.")] = 1,
    folder: FolderOption = None,
    as_json: JsonOption = False,
) -> None:
    """The whole method on the embedded miniature model, from prompts to the paper's three tables."""
    from cst.commands import demo as demonstration

    demonstration.show(seeds, folder, as_json=as_json)


@app.command()
def chat(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="A run folder with a trained model.")],
    configuration: Annotated[
        str,
        typer.Option("--configuration", "-c", help="The configuration to stand under; `none` for no system prompt."),
    ],
    compare: Annotated[str | None, typer.Option(help="A second configuration, answered beside the first.")] = None,
    model: Annotated[str, typer.Option(help="A model of the run; `base` is the start model.")] = "cst",
    message: Annotated[str | None, typer.Option("--message", "-m", help="Answer this and stop.")] = None,
    temperature: Annotated[float, typer.Option(min=0, max=5, help="0 is greedy.")] = 0.0,
) -> None:
    """Talk to a model of a run under a named configuration; two side by side with --compare."""
    from cst.commands import chat as conversation

    configurations = [configuration] if compare is None else [configuration, compare]
    conversation.talk(folder, model, configurations, message=message, temperature=temperature)


@app.command()
def merge(
    model: Annotated[str, typer.Argument(help="The start model: folder, hub id, or `miniature`.")],
    adapter: Annotated[
        str, typer.Argument(help="The adapter: its folder, such as runs/NAME/models/cst/adapter, or its hub id.")
    ],
    out: Annotated[Path, typer.Argument(help="Where the merged model is written.")],
    chat_template: Annotated[
        Path | None, typer.Option(help="The recipe's model.chat_template, if it has one: the merged model keeps it.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Write the start model with an adapter merged into its weights, and compare the answers of both."""
    from cst.commands import console

    console.merge(model, adapter, out, chat_template=chat_template, as_json=as_json)


@app.command()
def export(
    rows: Annotated[str, typer.Argument(help="Preferences, prompts, demonstrations: a run's, or any that cst reads.")],
    out: Annotated[Path, typer.Argument(help="The file to write: .jsonl, .json, .parquet, .csv or .tsv.")],
    format: Annotated[str, typer.Option(help="A format of docs/data.md.")] = "paper",
    plain: Annotated[bool, typer.Option("--plain", help="Leave out id, task, topic and configuration.")] = False,
    read_as: Annotated[str | None, typer.Option(help="The format of ROWS; told by its columns if not named.")] = None,
    skip_bad_rows: Annotated[bool, typer.Option("--skip-bad-rows", help="Go on without bad rows (counted).")] = False,
    as_json: JsonOption = False,
) -> None:
    """Write rows in the columns of another tool; `paper` is how the paper's data was published.

    The checksum of OUT is written to OUT.sha256, and bad rows to a file beside it.
    """
    from cst.commands import console
    from cst.preferences.rows import quarantine_file
    from cst.preferences.sources import Reading

    aside = quarantine_file(out.parent, rows)
    reading = Reading(format=read_as, quarantine=aside, skip_bad_rows=skip_bad_rows)
    console.export(rows, out, format, reading, plain=plain, as_json=as_json)


app.command()(mix)


@app.command("export-results")
def export_results(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="A run folder.")],
    output: Annotated[Path | None, typer.Option(help="Where to write; by default the run folder.")] = None,
    png: Annotated[bool, typer.Option("--png", help="Write figures as PNG too.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Write a report's tables as CSV and LaTeX, every score as CSV, and its figures as PDF."""
    from cst.commands import looking as report_commands

    report_commands.export_results(folder, output, png=png, as_json=as_json)


@app.command()
def audit(
    rows: Annotated[
        str, typer.Argument(metavar="FILE", help="Preferences or prompts: a run's, or any that cst reads.")
    ],
    format: Annotated[str | None, typer.Option(help="The format of FILE; told by its columns if not named.")] = None,
    tokenizer: Annotated[str | None, typer.Option(help="Also render rows for this model: folder or hub id.")] = None,
    max_length: Annotated[
        int | None, typer.Option(min=2, help="Longest row in tokens; the model's by default.")
    ] = None,
    held_out: Annotated[str | None, typer.Option(help="A file of prompts that are not to be trained on.")] = None,
    html: Annotated[Path | None, typer.Option(help="Also write the report as a page.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Say what is in a file and what is wrong with it; the exit code is 0 if nothing is, and 1 if something is."""
    from cst.annexes.audit import audit as audited
    from cst.commands import console

    found = audited(rows, format=format, held_out=held_out, tokenizer=tokenizer, max_length=max_length)
    console.show_audit(found, html, as_json=as_json)
    raise typer.Exit(0 if found.is_clean else 1)


@app.command("judge-card")
def judge_card(
    labelled: Annotated[
        Path, typer.Argument(metavar="FILE", help="Labelled answers: rows with prompt, answer (or response), label.")
    ],
    recipe: Annotated[Path, typer.Option(help="The recipe whose judge is tried.")],
    folder: FolderOption = None,
    overrides: SetOption = None,
    task: Annotated[str, typer.Option(help="The task of rows that don't name one.")] = "harmless",
    label: Annotated[
        list[str] | None, typer.Option(help="NAME=original or NAME=revised: what a label means; may be given again.")
    ] = None,
    column: Annotated[
        list[str] | None, typer.Option(help="NAME=COLUMN: the file's own name of a column; may be given again.")
    ] = None,
    positive: Annotated[
        Literal["original", "revised"], typer.Option(help="The class that recall, precision and F1 speak of.")
    ] = "original",
    max_calls: MaxCallsOption = None,
    max_cost: MaxCostOption = None,
    as_json: JsonOption = False,
) -> None:
    """How often a recipe's judge errs on answers that people labelled; judge_card.json corrects scores for it.

    Labels are original (harmful, unsafe, 0) and revised (harmless, safe, 1), or as --label says. Each answer is judged
    four times: as it is, and with three suffixes that try to talk the judge round.
    """
    from cst.chat.budget import Budget
    from cst.commands import looking as command
    from cst.commands.looking import LabelReading, pairs_of, sides_of
    from cst.records import Side

    reading = LabelReading(task, sides_of(label or []), pairs_of(column or [], "--column"))
    budget = Budget(max_calls=max_calls, max_cost=max_cost)
    command.show(
        labelled, recipe, folder, overrides or [], reading, positive=Side(positive), budget=budget, as_json=as_json
    )


@app.command()
def card(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="A run folder.")],
    of: Annotated[Literal["dataset", "model"], typer.Option(help="Of the rows to train on, or of the trained model.")],
    model: Annotated[str, typer.Option(help="The model of the run, or that its rows were made for.")] = "cst",
) -> None:
    """Print a README.md for the Hub, with its YAML header, from the facts of a run folder."""
    from cst.annexes.cards import pages as cards

    print((cards.dataset_card if of == "dataset" else cards.model_card)(folder, model), end="")


@miniature_app.command("pretrain")
def pretrain_miniature(
    out: Annotated[Path, typer.Argument(help="Folder for the model; an unfinished run there is gone on with.")],
    seed: Annotated[int | None, typer.Option(help="Documents, start weights and order of batches.")] = None,
    steps: Annotated[int | None, typer.Option(min=1, help="Optimizer steps; as shipped by default.")] = None,
) -> None:
    """Pretrain the miniature's start model anew. Needs a clone of the repository: the installed package can't."""
    from cst.commands import miniature

    typer.echo(miniature.pretrain(out, seed=seed, steps=steps))


@miniature_app.command("labelled")
def labelled_miniature(
    out: Annotated[Path, typer.Argument(help="The JSONL file to write.")],
    n: Annotated[int, typer.Option(min=1, help="Answers to prompts of each task.")] = 200,
    seed: Annotated[int, typer.Option(help="Which prompts and answers.")] = 0,
) -> None:
    """Write answers of the miniature's world with their labels, to try a judge on with `cst judge-card`."""
    from cst.commands import miniature

    typer.echo(miniature.write_labelled(out, n, seed=seed))


app.add_typer(miniature_app, name="miniature")


def main(words: Sequence[str] | None = None) -> None:
    """The entry point: user errors in one line with exit code 2, an interrupt with 130.

    Args:
        words: What would follow `cst` on the command line; the process's own words by default.

    Raises:
        SystemExit: Always, with the exit code.
    """
    try:
        app(args=words, standalone_mode=True)
    except CstError as error:
        from cst.runs.processes import leave_the_word

        leave_the_word()
        print(f"cst: {error}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        print("cst: interrupted; what was finished is kept, and the same command goes on from there.", file=sys.stderr)
        sys.exit(130)
