"""`cst chat` and `cst merge`: use the models of a run.

In a chat the system prompt is the configuration's canonical wording, or none under `none`. Typed text can't change it:
it is the user's turn, rendered as in training.
"""

import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cst.chat.base import ChatRequest
from cst.commands.console import JsonOption
from cst.doors import open_workshop
from cst.errors import RecipeError
from cst.integrity import reject_changed
from cst.miniature import model_folder
from cst.recipe import Recipe
from cst.records import NO_CONFIGURATION, Message, Sampling
from cst.runs.workshop import BASE, Workshop
from cst.store import parse_record, read_text

if TYPE_CHECKING:
    from cst.chat.base import ChatModel


def chat(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="A run folder with a trained model.")],
    configuration: Annotated[
        str, typer.Option("--configuration", "-c", help="The configuration; `none` for no system prompt.")
    ],
    compare: Annotated[str | None, typer.Option(help="A second configuration, answered beside the first.")] = None,
    model: Annotated[str, typer.Option(help="A model of the run; `base` is the start model.")] = "cst",
    message: Annotated[str | None, typer.Option("--message", "-m", help="Answer this message and stop.")] = None,
    temperature: Annotated[float, typer.Option(min=0, max=5, help="0 is greedy.")] = 0.0,
) -> None:
    """`cst chat`.

    Type messages until the input ends or a line is empty. Each configuration has a conversation of its own.
    """
    configurations = [configuration] if compare is None else [configuration, compare]
    reject_changed(folder / "recipe.json")
    recipe = parse_record(read_text(folder / "recipe.json"), Recipe, str(folder / "recipe.json"))
    workshop = open_workshop(recipe, folder)
    talks = [_beginning(workshop, name) for name in configurations]
    answerer = _chat(workshop, model)
    sampling = workshop.sampling(temperature)
    for said in [message] if message is not None else _typed():
        for turns in talks:
            turns.append(Message(role="user", content=said))
            turns.append(Message(role="assistant", content=_answer(answerer, turns, sampling)))
        show({name: turns[-1].content for name, turns in zip(configurations, talks, strict=True)}, model)


def show(answers: Mapping[str, str], model: str) -> None:
    """Print answers by configuration: in columns on a terminal, otherwise one per line."""
    if len(answers) == 1 or not sys.stdout.isatty():
        for name, answer in answers.items():
            print(f"[{model}, {name}] {answer}", flush=True)
        return
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(*(f"{model}, {name}" for name in answers), expand=True)
    table.add_row(*(Text(answer) for answer in answers.values()))
    Console().print(table)


def _beginning(workshop: Workshop, name: str) -> list[Message]:
    """The turns before the first message: a configuration's system prompt, or nothing."""
    known = {configuration.name: configuration.wordings[:1] for configuration in workshop.configurations}
    offered = {NO_CONFIGURATION: ()} | {name: wording for name, wording in known.items() if wording}
    if name not in offered:
        fault = "has no wordings" if name in known else "isn't in the run"
        raise RecipeError(
            f"The configuration {name!r} {fault}; choose among {', '.join(offered)} ({NO_CONFIGURATION}: without a "
            "system prompt)."
        )
    return [Message(role="system", content=wording) for wording in offered[name]]


def _chat(workshop: Workshop, model: str) -> "ChatModel":
    from cst.chat.local import LocalChat

    if model not in (BASE, *workshop.recipe.models):
        known = ", ".join((BASE, *workshop.recipe.models))
        raise RecipeError(f"The run has no model {model!r}; choose one with --model, among {known}.")
    reject_changed(workshop.tuned_folder(model))
    loaded = workshop.base if model == BASE else workshop.load(workshop.tuned_folder(model))
    return LocalChat(loaded, name=model, batch_size=1)


def _typed() -> Iterator[str]:
    """Lines from the terminal or a pipe, up to its end or an empty line."""
    while True:
        try:
            line = input("> " if sys.stdin.isatty() else "").strip()
        except EOFError:
            return
        if not line:
            return
        yield line


def _answer(chat: "ChatModel", turns: Sequence[Message], sampling: Sampling) -> str:
    request = ChatRequest(id=f"turn-{len(turns)}", messages=tuple(turns))
    return chat.answer([request], sampling)[0].text


def merge(
    model: Annotated[str, typer.Argument(help="The start model: folder, Hub id, or `miniature`.")],
    adapter: Annotated[
        str, typer.Argument(help="The adapter: folder, such as runs/NAME/models/cst/adapter, or Hub id.")
    ],
    out: Annotated[Path, typer.Argument(help="Folder for the merged model.")],
    chat_template: Annotated[
        Path | None, typer.Option(help="The recipe's model.chat_template, if any, for the merged model.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """`cst merge`."""
    from cst.models.merging import merge_adapter

    reject_changed(Path(adapter))
    report = merge_adapter(model_folder(model), adapter, out, chat_template=chat_template)
    if as_json:
        print(json.dumps({**asdict(report), "folder": str(report.folder)}, indent=2))
        return
    print(
        f"{report.folder}: merged in float32, stored as {report.dtype}; greedy answers equal on "
        f"{report.same_answers} of {report.prompts} probes, log-probs within {report.largest_difference:.2g} nats"
    )
