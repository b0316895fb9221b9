"""The original's files are read strictly, and written as they were read."""

import json
from pathlib import Path

import pytest

from cst.answer_files import AnswerFile, InstructionFile, read_answers, read_instructions, write_answers
from cst.errors import DataError

ASKED = {
    "inputs": ["", "3 1 2", None],
    "instructions": ["Name a colour.", "Sort these.", "Sing \N{EIGHTH NOTE}."],
    "tags": ["short", "lists", "short"],
}
ANSWERED = {
    "parameters": {"model": "m", "load_8bit": False, "own": [1.5, None]},
    **ASKED,
    "outputs": ["Red.", "", "La"],
}


def written(folder: Path, value: object) -> Path:
    path = folder / "set.json"
    path.write_text(value if isinstance(value, str) else json.dumps(value))
    return path


@pytest.mark.parametrize(
    "asked",
    [
        ASKED,
        {"instructions": ["Sing."] * 178, "inputs": []},
        {"instructions": ["Sing."], "inputs": None},
        {"instructions": ["Sing."]},
        {"instructions": ["Sing."], "inputs": [], "tags": ["a"]},
    ],
    ids=["all", "as published", "none", "alone", "tags"],
)
def test_what_is_asked_is_read_as_it_stands(tmp_path, asked):
    read = read_instructions(written(tmp_path, asked))

    assert read.model_dump(mode="json") == {"inputs": [], **asked}


def test_answers_are_written_as_they_were_read(tmp_path):
    read = read_answers(written(tmp_path, ANSWERED))
    write_answers(tmp_path / "again.json", read)

    assert json.loads((tmp_path / "again.json").read_text()) == ANSWERED
    assert read_answers(tmp_path / "again.json") == read


def test_the_keys_stand_in_the_originals_order(tmp_path):
    write_answers(tmp_path / "a.json", AnswerFile(instructions=("Sing.",), outputs=("La",), finish_reasons=("stop",)))

    keys = list(json.loads((tmp_path / "a.json").read_text()))
    assert keys == ["parameters", "inputs", "instructions", "outputs", "finish_reasons"]


def test_answers_can_be_asked_again(tmp_path):
    assert read_instructions(written(tmp_path, ANSWERED)) == InstructionFile.model_validate(ASKED)


def test_a_prompt_is_the_instruction_with_its_input_below_it():
    turns = InstructionFile.model_validate(ASKED).messages

    assert [(turn.role, turn.content, turn.input) for turn in turns] == [
        ("user", "Name a colour.", ""),
        ("user", "Sort these.\n3 1 2", "3 1 2"),
        ("user", "Sing \N{EIGHTH NOTE}.", ""),
    ]
    assert [turn.instruction for turn in turns] == ASKED["instructions"]


@pytest.mark.parametrize(
    ("value", "says"),
    [
        ({"instructions": ["a", "b"], "inputs": ["x"]}, "instructions has 2 entries, and inputs has 1. Give one for"),
        ({"instructions": ["a", "b"], "tags": ["x"]}, "instructions has 2 entries, and tags has 1."),
        ({"instructions": []}, "instructions is empty; give at least one"),
        ({"inputs": []}, "field 'instructions' is missing."),
        ({"instructions": None}, "instructions=None: Input should be a valid tuple."),
        ({"instructions": "Sing."}, "instructions='Sing.': Input should be a valid tuple."),
        ({"instructions": ["a", 3]}, "instructions.1=3: Input should be a valid string."),
        ({"instructions": ["a", ""]}, "instructions.1='': String should have at least 1 character."),
        ({"instructions": ["a"], "inputs": [["x"]]}, "inputs.0=['x']: Input should be a valid string."),
        ({"instructions": ["a"], "inputs": {}}, "inputs={}: Input should be a valid tuple."),
        ({"instructions": ["a"], "input": []}, "field 'input' is unknown."),
        ('{"instructions": ["a"], "instructions": ["b"]}', "has the key 'instructions' twice."),
        ('{"instructions": [NaN]}', "holds NaN, which is no finite number."),
        ('{"instructions": ["\\ud800"]}', "half of a character"),
        ('{"instructions":\n ["a",]}', ":2 is not JSON"),
        ("", ":1 is not JSON"),
        (["a", "b"], 'is ["a", "b"]; an object is needed'),
    ],
    ids=repr,
)
def test_what_is_no_set_of_instructions_is_refused_by_name(tmp_path, value, says):
    path = written(tmp_path, value)
    with pytest.raises(DataError) as refusal:
        read_instructions(path)

    assert str(refusal.value).startswith(str(path))
    assert says in str(refusal.value)
    assert "\n" not in str(refusal.value)


def test_a_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(DataError, match=r"There is no file .*none\.json"):
        read_instructions(tmp_path / "none.json")


@pytest.mark.parametrize("column", ["outputs", "finish_reasons"])
def test_answers_without_one_for_each_are_refused(tmp_path, column):
    with pytest.raises(DataError, match=f"instructions has 3 entries, and {column} has 1"):
        read_answers(written(tmp_path, {**ANSWERED, column: ["stop"]}))
