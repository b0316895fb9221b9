"""Writes docs/recipes.md from the recipe's schema and docs/cli.md from the command line: `make docs`.

A test compares both files with what this program would write.
"""

import inspect
import types
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import typer.main
from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from cst.cli import app
from cst.recipe import Recipe
from cst.recipe.reading import record_types

DOCS = Path(__file__).parent

ABOUT_RECIPES = """\
# Recipes

*Made by `make docs` from the schema in `src/cst/recipe.py`; a change here would be lost.*

A recipe is one YAML file with everything that a run depends on. `cst check RECIPE` reads one and says what a run would
do. Every number has bounds, an unknown key is refused with the nearest right one named, and a verb asks only for the
sections that it needs.

- YAML is read as version 1.2: `5e-6` is a number, `no` is a word, and of two equal keys none is silently kept.
- Relative paths in a recipe are meant from the recipe's folder.
- `--set section.key=value` changes one value for one run and passes through the same schema; the value is YAML, and
  paths in it are meant from where the command stands.
- In the tables, `-` stands for no default: the key may be left out; a `required` one may not.
"""

ABOUT_CLI = """\
# Commands

*Made by `make docs` from `src/cst/cli.py`; a change here would be lost.*

Results and `--json` go to standard output, all else to standard error. Exit code 0 is success, 1 an audit that found
something, 2 a user's error, told in one line, and 130 an interrupt; what was finished by then is kept, and the same
command goes on from there.
"""

WORDS: Mapping[object, str] = {
    bool: "`true` or `false`",
    int: "whole number",
    float: "number",
    str: "text",
    Path: "path",
    type(None): "nothing",
}


def recipes_page() -> str:
    """docs/recipes.md."""
    return "\n".join([ABOUT_RECIPES, *(line for section in _sections() for line in section)])


def _sections() -> Iterator[list[str]]:
    """The whole recipe first, then each section once, where it is first spoken of, with its own sections behind it."""
    seen: set[type[BaseModel]] = set()

    def under(key: str, kind: type[BaseModel]) -> Iterator[list[str]]:
        if kind in seen:
            return
        seen.add(kind)
        yield _section(key, kind)
        for name, field in kind.model_fields.items():
            inner = f"{key}.{name}".strip(".")
            for found in record_types(field.annotation):
                yield from under(_listed(inner, field), found)

    return under("", Recipe)


def _listed(key: str, field: FieldInfo) -> str:
    """`prompts.training[]`: a key whose value is a list of sections."""
    kinds = _members(field.annotation)
    return f"{key}[]" if any(get_origin(kind) is tuple for kind in kinds) else key


def _members(annotation: object) -> tuple[object, ...]:
    """The members of a union, or the annotation alone."""
    if get_origin(annotation) is Annotated:
        return _members(get_args(annotation)[0])
    return get_args(annotation) if get_origin(annotation) in (Union, types.UnionType) else (annotation,)


def _section(key: str, kind: type[BaseModel]) -> list[str]:
    named = kind.model_fields.get("kind")
    choice = f" with `kind: {get_args(named.annotation)[0]}`" if named and len(get_args(named.annotation)) == 1 else ""
    title = f"## `{key}`{choice}" if key else "## The whole"
    about = (inspect.getdoc(kind) or "").split("\n\n")[0].replace("\n", " ")
    rows = [
        _row(f"`{name}`", _kind_of(field), _default_of(field), field.description or "")
        for name, field in kind.model_fields.items()
    ]
    return [title, "", about, "", *_table("key", "value", "default", "meaning"), *rows, ""]


def _kind_of(field: FieldInfo) -> str:
    words = _words(field.annotation)
    bounds = ", ".join(_bounds(field.metadata))
    return f"{words}, {bounds}" if bounds else words


def _bounds(metadata: list[Any]) -> Iterator[str]:
    signs = (("ge", "at least"), ("gt", "over"), ("le", "at most"), ("lt", "under"), ("min_length", "length at least"))
    for constraint in metadata:
        for attribute, words in signs:
            bound = getattr(constraint, attribute, None)
            if bound is not None and (attribute, bound) != ("min_length", 1):
                yield f"{words} {bound}"
        if getattr(constraint, "pattern", None):
            yield f"matching `{constraint.pattern}`"


def _words(annotation: object) -> str:
    """An annotation in a reader's words."""
    origin, inner = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        bounds = ", ".join(bound for each in inner[1:] for bound in _bounds([each, *getattr(each, "metadata", [])]))
        return f"{_words(inner[0])}, {bounds}" if bounds else _words(inner[0])
    if origin is Literal:
        return ", ".join(f"`{value}`" for value in inner)
    if origin is tuple:
        return f"list of {_plural(inner[0])}"
    if origin is dict:
        return f"{_words(inner[1])} by name"
    if origin in (Union, types.UnionType):
        return " or ".join(dict.fromkeys(_words(each) for each in inner if each is not type(None)))
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return "section"
    if isinstance(annotation, type) and issubclass(annotation, str) and annotation is not str:
        return ", ".join(f"`{value}`" for value in annotation)  # pyright: ignore[reportGeneralTypeIssues] - an enum
    return WORDS[annotation]


def _plural(annotation: object) -> str:
    noun, comma, bounds = _words(annotation).partition(", ")
    return f"{noun}s{comma}{bounds}" if noun.endswith(("section", "number", "path")) else f"{noun}{comma}{bounds}"


def _default_of(field: FieldInfo) -> str:
    value = field.default
    if field.is_required():
        return "required"
    if value is None or value is PydanticUndefined or value in ((), "", {}):
        return "-"
    if isinstance(value, BaseModel):
        own = ", ".join(
            f"`{key}: {each}`" for key, each in value.model_dump(exclude_defaults=True, exclude_unset=True).items()
        )
        return f"as below, but {own}" if own else "as below"
    if isinstance(value, dict):
        return ", ".join(f"`{key}: {list(each)}`" for key, each in value.items())
    if isinstance(value, tuple):
        return ", ".join(f"`{each}`" for each in value)
    if isinstance(value, str):
        return "`" + value.replace("\n", "\\n") + "`"
    return f"`{str(value).lower() if isinstance(value, bool) else value}`"


def _table(*heads: str) -> list[str]:
    return [_row(*heads), "|" + "---|" * len(heads)]


def _row(*cells: str) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|").replace("\n", " ") for cell in cells) + " |"


def cli_page() -> str:
    """docs/cli.md."""
    return "\n".join([ABOUT_CLI, *(line for name, command in commands().items() for line in _command(name, command))])


def commands() -> dict[str, Any]:
    """Every command that does something, by all of its words: `miniature pretrain`."""

    def under(group: Any, words: str) -> Iterator[tuple[str, Any]]:  # noqa: ANN401 - typer names no such type
        for name, command in group.commands.items():
            full = f"{words} {name}".strip()
            if hasattr(command, "commands"):
                yield from under(command, full)
            else:
                yield full, command

    return dict(under(typer.main.get_command(app), ""))


def _command(name: str, command: Any) -> list[str]:  # noqa: ANN401 - see commands
    arguments = [each for each in command.params if each.param_type_name == "argument"]
    options = [each for each in command.params if each.param_type_name == "option"]
    usage = " ".join(["cst", name, *(_placeholder(each) for each in arguments), *(["[OPTIONS]"] if options else [])])
    lines = [f"## `cst {name}`", "", inspect.cleandoc(command.help or ""), "", "```text", usage, "```", ""]
    if arguments or options:
        rows = [
            _row(f"`{_placeholder(each)}`", each.help or "", "required" if each.required else "-") for each in arguments
        ]
        rows += [_row(_option(each), each.help or "", _option_default(each)) for each in options]
        lines += [*_table("word", "meaning", "default"), *rows, ""]
    return lines


def _placeholder(argument: Any) -> str:  # noqa: ANN401 - see commands
    name = argument.metavar or argument.name.upper()
    return name if argument.required else f"[{name}]"


def _option(option: Any) -> str:  # noqa: ANN401 - see commands
    names = ", ".join(f"`{name}`" for name in (*option.opts, *option.secondary_opts))
    return names if option.is_flag else f"{names} `{option.metavar or option.name.upper()}`"


def _option_default(option: Any) -> str:  # noqa: ANN401 - see commands
    if option.required:
        return "required"
    return "-" if option.is_flag or option.default in (None, ()) else f"`{option.default}`"


PAGES = {"recipes.md": recipes_page, "cli.md": cli_page}


def main() -> None:
    """Write both pages."""
    for name, page in PAGES.items():
        (DOCS / name).write_text(page(), encoding="utf-8", newline="\n")


if __name__ == "__main__":
    main()
