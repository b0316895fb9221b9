"""The JSON files of Safety-Tuned LLaMAs (Bianchi et al., ICLR 2024): sets of instructions, and the answers to them.

A set is `{"instructions": [...], "inputs": [...], "tags": [...]}`; answers have `parameters` and `outputs` beside them.
This file knows their shape, and neither models nor how answers are made.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Self, TypeVar, cast

from pydantic import Field, ValidationError, model_validator

from cst.errors import DataError
from cst.preferences.files import RowFault, shown, strict_value
from cst.records import NOT_WRITTEN_IF_EMPTY, FinishReason, Message, Record, Text
from cst.store import first_complaint, read_text, write_json

ANSWERS = frozenset({"parameters", "outputs", "finish_reasons"})
"""What a file of answers has beside its instructions."""

OPINIONS = frozenset({"judge", "scores", "exhibits"})
"""What `cst score --out` writes beside the answers; whoever reads these asks anew, and doesn't need it."""


class InstructionFile(Record):
    """Instructions in their order; `inputs` and `tags` are empty, or have one for each instruction.

    An input that is None or empty is none; `inputs` may itself be None, as the original has it.
    """

    inputs: tuple[str | None, ...] | None = ()
    instructions: tuple[Text, ...]
    tags: Annotated[tuple[str, ...] | None, NOT_WRITTEN_IF_EMPTY] = ()

    @model_validator(mode="after")
    def _has_one_for_each(self) -> Self:
        if not self.instructions:
            raise ValueError("instructions is empty; give at least one")
        _refuse_uneven(self, inputs=self.inputs or None, tags=self.tags or None)
        return self

    @property
    def messages(self) -> list[Message]:
        """The user's turns: an instruction, and below it the input if there is one."""
        inputs = self.inputs or (None,) * len(self.instructions)
        return [
            Message(role="user", content=f"{instruction}\n{given}" if given else instruction, input=given or "")
            for instruction, given in zip(self.instructions, inputs, strict=True)
        ]


class AnswerFile(InstructionFile):
    """Instructions with an output each, and the parameters that these were made with.

    `finish_reasons` says why each output ended; files that others made have none.
    """

    parameters: Annotated[dict[str, Any], Field(default_factory=dict)]
    outputs: tuple[str, ...]
    finish_reasons: Annotated[tuple[FinishReason, ...], NOT_WRITTEN_IF_EMPTY] = ()

    @model_validator(mode="after")
    def _answers_each(self) -> Self:
        _refuse_uneven(self, outputs=self.outputs, finish_reasons=self.finish_reasons or None)
        return self


def _refuse_uneven(file: InstructionFile, **columns: Sequence[object] | None) -> None:
    for name, values in columns.items():
        if values is not None and len(values) != len(file.instructions):
            raise ValueError(
                f"instructions has {len(file.instructions)} entries, and {name} has {len(values)}. "
                "Give one for each instruction, in the same order"
            )


F = TypeVar("F", bound=InstructionFile)


def read_instructions(path: Path) -> InstructionFile:
    """The instructions of a file; of a file of answers, what was asked there.

    Raises:
        DataError: The file can't be read, isn't strict JSON, or has another shape; the message names it.
    """
    return _record(_without(ANSWERS | OPINIONS, _object(path)), InstructionFile, path)


def read_answers(path: Path) -> AnswerFile:
    """A file of answers, without what a judge said of them. Raises as `read_instructions`."""
    return _record(_without(OPINIONS, _object(path)), AnswerFile, path)


def write_answers(path: Path, answers: AnswerFile) -> None:
    """Write a file of answers whole, with its keys in the order of the original's.

    Raises:
        DataError: The system doesn't let it be written; a file that was there is as it was.
    """
    values = answers.model_dump(mode="json")
    write_json(path, {"parameters": values.pop("parameters"), **values})


def _object(path: Path) -> Mapping[str, object]:
    try:
        value = strict_value(read_text(path))
    except json.JSONDecodeError as error:
        raise DataError(f"{path}:{error.lineno} is not JSON: {error.msg}. Mend the file.") from error
    except RowFault as fault:
        raise DataError(f"{path} {fault}") from fault
    if not isinstance(value, dict):
        raise DataError(f'{path} is {shown(value)}; an object is needed: {{"instructions": [...], "inputs": [...]}}.')
    return cast(dict[str, object], value)


def _without(names: frozenset[str], values: Mapping[str, object]) -> dict[str, object]:
    return {name: value for name, value in values.items() if name not in names}


def _record(values: Mapping[str, object], kind: type[F], path: Path) -> F:
    try:
        return kind.model_validate(values)
    except ValidationError as error:
        raise DataError(f"{path}: {first_complaint(error)}") from error
