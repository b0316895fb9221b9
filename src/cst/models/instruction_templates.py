"""Alpaca-style templates, which are JSON, as chat templates in Jinja: the one kind that the renderer knows.

The file's form is that of Alpaca-LoRA's and Safety-Tuned LLaMAs' prompters: `prompt_input` and `prompt_no_input` are
Python format strings with `{instruction}` and `{input}`, in which `{{` is a brace; an answer follows `response_split`.
The chat template writes exactly what `str.format` writes, and nothing in a file is executed. This file doesn't know
tokens.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from string import Formatter

from pydantic import ValidationError, model_validator

from cst.errors import RenderingError
from cst.records import Record, Text

_PLACES = {"instruction": "messages[0]['content']", "input": "messages[0]['input']"}
_REJECTIONS = (
    "{% if messages[0]['role'] != 'user' %}"
    "{{ raise_exception('an instruction template has no place for a system prompt') }}{% endif %}"
    "{% if messages | length > 2 %}"
    "{{ raise_exception('an instruction template holds one instruction and one response') }}{% endif %}"
)
_RESPONSE = "{% if messages | length == 2 %}{{ messages[1]['content'] }}{{ eos_token }}{% endif %}"

_Pieces = list[tuple[str, str | None]]
"""A prompt in order: literal text and None, or nothing and the name of a placeholder."""


class InstructionTemplate(Record):
    """A template file: one instruction, with an input or without one, and what its answer follows."""

    description: str = ""
    prompt_input: str
    prompt_no_input: str
    response_split: Text

    @model_validator(mode="after")
    def _can_be_filled(self) -> "InstructionTemplate":
        for key, prompt, places in (
            ("prompt_input", self.prompt_input, ("instruction", "input")),
            ("prompt_no_input", self.prompt_no_input, ("instruction",)),
        ):
            pieces = _pieces(key, prompt)
            _check_places(key, [name for _, name in pieces if name is not None], places)
            last = max(index for index, (_, name) in enumerate(pieces) if name is not None)
            _check_ending(key, "".join(text for text, _ in pieces[last + 1 :]), self.response_split)
        return self

    @property
    def chat_template(self) -> str:
        """Its Jinja source; a turn's `content` is the instruction, and the turn may have an `input`.

        A system prompt, and a second turn, are errors in rendering. The response ends with the tokenizer's eos.
        """
        return (
            _REJECTIONS
            + ("{% if messages[0]['input'] %}" + _jinja(self.prompt_input))
            + ("{% else %}" + _jinja(self.prompt_no_input) + "{% endif %}")
            + _RESPONSE
        )


def jinja_literal(text: str) -> str:
    """An expression of Jinja that is `text`: no character of it has a meaning."""
    return json.dumps(text, ensure_ascii=False)  # Jinja reads every escape that JSON writes


def chat_template_in(text: str, path: Path) -> str:
    """The Jinja source in a template file's text: JSON becomes Jinja, anything else is Jinja already.

    Raises:
        RenderingError: it is JSON, or called so, and no instruction template.
    """
    if path.suffix != ".json" and not _is_json(text):
        return text
    try:
        return InstructionTemplate.model_validate_json(text).chat_template
    except ValidationError as error:
        fault = error.errors()[0]
        place = f"{fault['loc'][0]}: " if fault["loc"] else ""
        raise RenderingError(
            f"{path} is no instruction template: {place}{fault['msg'].removeprefix('Value error, ')}. Give a JSON "
            "object with prompt_input, prompt_no_input and response_split, or a chat template in Jinja."
        ) from error


def _is_json(text: str) -> bool:
    try:
        json.loads(text)
    except ValueError:
        return False
    return True


def _pieces(key: str, prompt: str) -> _Pieces:
    pieces: _Pieces = []
    try:
        for literal, name, form, conversion in Formatter().parse(prompt):
            pieces.append((literal, None))
            if name is not None:
                pieces.append(("", name + (f"!{conversion}" if conversion else "") + (f":{form}" if form else "")))
    except ValueError as error:
        raise ValueError(f"{key} can't be read ({error}); write a brace twice to have one") from error
    return pieces


def _check_places(key: str, found: Sequence[str], places: Sequence[str]) -> None:
    for name in found:
        if name not in places:
            takes = " and ".join(f"{{{place}}}" for place in places)
            raise ValueError(
                f"{key} has the unknown placeholder {{{name}}}; it takes {takes}, and a brace that is written twice "
                "is a brace"
            )
    for place in places:
        if place not in found:
            raise ValueError(f"{key} has no {{{place}}}; put it where the {place} goes")


def _check_ending(key: str, ending: str, split: str) -> None:
    _, found, after = ending.rpartition(split)
    if not found or after.strip():
        raise ValueError(
            f"response_split={split!r} is where an answer begins, and {key} ends with {ending[-60:]!r}; end both "
            "prompts with it"
        )


def _jinja(prompt: str) -> str:
    pieces = _pieces("", prompt)
    return "".join(f"{{{{ {jinja_literal(text) if name is None else _PLACES[name]} }}}}" for text, name in pieces)
