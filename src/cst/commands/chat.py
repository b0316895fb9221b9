"""Talking to a model of a run under a named configuration, or under two side by side.

The system prompt is the configuration's canonical wording, or there is none under `none`, and nothing that is typed can
change it: what is typed is user text, and goes through the same renderer as in training.
"""

import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from cst.chat.base import ChatRequest
from cst.doors import open_workshop
from cst.errors import RecipeError
from cst.integrity import reject_changed
from cst.recipe import Recipe
from cst.records import NO_CONFIGURATION, Message, Sampling
from cst.runs.workshop import BASE, Workshop
from cst.store import parse_record, read_text

if TYPE_CHECKING:
    from cst.chat.base import ChatModel


def talk(folder: Path, model: str, configurations: Sequence[str], *, message: str | None, temperature: float) -> None:
    """Answer one message, or whatever is typed until the input ends; each configuration has a conversation of its own.

    Raises:
        RecipeError: The run has no such model or configuration.
        RunFolderError: The recipe or the model has changed since the run.
    """
    reject_changed(folder / "recipe.json")
    recipe = parse_record(read_text(folder / "recipe.json"), Recipe, str(folder / "recipe.json"))
    workshop = open_workshop(recipe, folder)
    talks = [_beginning(workshop, name) for name in configurations]
    chat = _chat(workshop, model)
    sampling = workshop.sampling(temperature)
    for said in [message] if message is not None else _typed():
        for turns in talks:
            turns.append(Message(role="user", content=said))
            turns.append(Message(role="assistant", content=_answer(chat, turns, sampling)))
        show({name: turns[-1].content for name, turns in zip(configurations, talks, strict=True)}, model)


def show(answers: Mapping[str, str], model: str) -> None:
    """Answers by configuration: in columns on a terminal, a line each elsewhere."""
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
    """The turns before the first that is typed: a configuration's system prompt, or nothing."""
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
    """Lines from the terminal or a pipe, until its end or an empty line."""
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
