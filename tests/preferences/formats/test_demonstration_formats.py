"""Rows of supervised tuning come back from each format as they were, or are refused."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cst.errors import DataError
from cst.preferences.exports import export_demonstrations
from cst.preferences.formats.demonstration_formats import DEMONSTRATION_FORMATS
from cst.preferences.formats.preference_formats import PREFERENCE_FORMATS
from cst.preferences.formats.prompt_formats import PROMPT_FORMATS
from cst.preferences.sources import Reading, demonstrations_in, read_demonstrations
from cst.records import Demonstration, Message
from preferences.formats.texts import IN_A_FOLDER, TEXTS, TURNS

WITH_INPUT = ("cst-demonstrations", "instruction-output")
CONVERSATIONAL = (*WITH_INPUT, "prompt-completion-messages", "messages-answered", "conversations-answered")
ONE_TURN = ("prompt-response", "prompt-completion")


@st.composite
def demonstrations(draw: st.DrawFn, *, turns: bool = True, inputs: bool = True) -> list[Demonstration]:
    made: list[Demonstration] = []
    for number in range(draw(st.integers(1, 3))):
        given = draw(st.just("") | TEXTS) if inputs else ""
        row = Demonstration(
            id=f"d{number}",
            task=draw(TEXTS),
            topic=draw(st.none() | TEXTS),
            source="rows.jsonl",
            system_prompt=draw(st.none() | TEXTS),
            history=draw(TURNS) if turns else (),
            prompt=draw(TEXTS) + (f"\n{given}" if given else ""),
            input=given,
            response=draw(TEXTS),
        )
        made.append(row)
    return made


def there_and_back(folder, rows, format, suffix=".jsonl"):
    path = folder / f"rows{suffix}"
    export_demonstrations(path, rows, format=format)
    return [row.model_copy(update={"source": "rows.jsonl"}) for row in read_demonstrations(path, task="t")]


def test_every_format_is_under_one_of_these_laws_and_has_a_name_of_its_own():
    names = [format.name for format in DEMONSTRATION_FORMATS]

    assert set(names) == {*CONVERSATIONAL, *ONE_TURN}
    assert not {*names} & {format.name for format in (*PROMPT_FORMATS, *PREFERENCE_FORMATS)}


@pytest.mark.parametrize("suffix", [".jsonl", ".json"])
@pytest.mark.parametrize("format", CONVERSATIONAL)
@given(data=st.data())
@IN_A_FOLDER
def test_formats_of_conversations_give_everything_back(tmp_path, format, suffix, data):
    rows = data.draw(demonstrations(inputs=format in WITH_INPUT))

    assert there_and_back(tmp_path, rows, format, suffix) == rows


@pytest.mark.parametrize("suffix", [".jsonl", ".csv"])
@pytest.mark.parametrize("format", ONE_TURN)
@given(rows=demonstrations(turns=False, inputs=False))
@IN_A_FOLDER
def test_formats_of_one_turn_give_everything_back(tmp_path, format, suffix, rows):
    assert there_and_back(tmp_path, rows, format, suffix) == rows


@pytest.mark.parametrize("format", CONVERSATIONAL)
def test_parquet_gives_everything_back(tmp_path, format):
    turns = (Message(role="user", content="u"), Message(role="assistant", content="a"))
    row = Demonstration(id="a", task="t", source="rows.jsonl", system_prompt="s", prompt="p", response="y")
    rows = [row, row.model_copy(update={"id": "b", "history": turns, "system_prompt": None, "topic": "x"})]

    assert there_and_back(tmp_path, rows, format, ".parquet") == rows


@pytest.mark.parametrize("format", [*ONE_TURN, "messages-answered"])
def test_an_input_is_refused_where_it_would_be_lost(tmp_path, format):
    row = Demonstration(id="d1", task="t", prompt="Sum up.\nA text.", input="A text.", response="It.")

    with pytest.raises(DataError, match=rf"d1 can't be exported as {format}: its input would come back as"):
        export_demonstrations(tmp_path / "rows.jsonl", [row], format=format)


@pytest.mark.parametrize("format", ONE_TURN)
def test_several_turns_are_refused_where_they_can_not_be_said(tmp_path, format):
    turns = (Message(role="user", content="u"), Message(role="assistant", content="a"))
    row = Demonstration(id="d1", task="t", history=turns, prompt="p", response="y")

    with pytest.raises(DataError, match="d1 has a history, and this format holds one turn"):
        export_demonstrations(tmp_path / "rows.jsonl", [row], format=format)


ASKED = [{"role": "system", "content": "s"}, {"role": "user", "content": "u"}]
ANSWER = {"role": "assistant", "content": "y"}
FOREIGN = {
    "instruction-output": {"instruction": "Count it.", "input": "a, b", "output": "Two."},
    "prompt-response": {"prompt": "p", "response": "y"},
    "prompt-completion": {"prompt": "p", "completion": "y"},
    "prompt-completion-messages": {"prompt": ASKED, "completion": [ANSWER]},
    "messages-answered": {"messages": [*ASKED, ANSWER]},
    "conversations-answered": {"conversations": [{"from": "human", "value": "u"}, {"from": "gpt", "value": "y"}]},
}


@pytest.mark.parametrize("format", FOREIGN)
def test_a_foreign_file_is_recognised_and_comes_back_value_for_value(tmp_path, format):
    path, out = tmp_path / "theirs.jsonl", tmp_path / "ours.jsonl"
    path.write_text(json.dumps(FOREIGN[format]) + "\n")
    (found,) = demonstrations_in(path, task="t")

    assert (found.format, found.unread) == (format, frozenset())
    assert (found.record.id, found.record.task, found.record.source) == ("t/theirs-000001", "t", "theirs.jsonl")
    export_demonstrations(out, [found.record], format=format, plain=True)
    assert json.loads(out.read_text()) == FOREIGN[format]


def test_an_instruction_and_its_input_are_one_prompt_and_told_apart(tmp_path):
    rows = [FOREIGN["instruction-output"], {"instruction": "Sing.", "input": "", "output": "La."}]
    (tmp_path / "rows.json").write_text(json.dumps(rows))
    with_input, without = read_demonstrations(tmp_path / "rows.json", task="instructions")

    assert (with_input.prompt, with_input.input, with_input.response) == ("Count it.\na, b", "a, b", "Two.")
    assert (with_input.turns[-1].instruction, without.prompt, without.input) == ("Count it.", "Sing.", "")


def test_a_history_in_pairs_stands_before_the_prompt(tmp_path):
    row = FOREIGN["instruction-output"] | {"system": "s", "history": [["u", "a"]]}
    (tmp_path / "rows.jsonl").write_text(json.dumps(row))
    (found,) = read_demonstrations(tmp_path / "rows.jsonl", task="t")

    assert [turn.content for turn in found.turns] == ["u", "a", "Count it.\na, b"]
    assert found.system_prompt == "s"


@pytest.mark.parametrize(
    ("row", "says"),
    [
        ({"instruction": "i", "input": "", "output": " "}, r"has an empty output"),
        (FOREIGN["instruction-output"] | {"history": 5}, "has 5 for a history, and a list of pairs of texts"),
        (FOREIGN["instruction-output"] | {"history": "Hi"}, 'has "Hi" for a history, and a list of pairs of texts'),
        ({"messages": ASKED}, "has a conversation without an answer at its end"),
        ({"messages": [ANSWER]}, r"asks in a conversation with the roles \[\]"),
        ({"instruction": "i"}, "The nearest is instruction-output, which also needs"),
        (FOREIGN["prompt-response"] | {"completion": "z"}, "which fit .* alike. Name one of them as the format"),
    ],
)
def test_a_row_that_can_not_be_learned_is_named(tmp_path, row, says):
    (tmp_path / "rows.jsonl").write_text(json.dumps(row))

    with pytest.raises(DataError, match=rf"rows\.jsonl:1 .*{says}"):
        read_demonstrations(tmp_path / "rows.jsonl", task="t")


def test_bad_rows_are_set_aside_and_the_others_are_read(tmp_path, caplog):
    rows = [FOREIGN["instruction-output"], {"instruction": "i", "input": "", "output": ""}]
    (tmp_path / "rows.json").write_text(json.dumps(rows))
    reading = Reading(quarantine=tmp_path / "aside.jsonl", skip_bad_rows=True)
    (row,) = read_demonstrations(tmp_path / "rows.json", task="t", reading=reading)

    assert row.response == "Two."
    assert "has an empty output" in (tmp_path / "aside.jsonl").read_text()
    assert "1 of 2 rows" in caplog.text


def test_columns_that_are_called_otherwise_are_mapped(tmp_path):
    (tmp_path / "rows.jsonl").write_text('{"question": "p", "context": "c", "answer": "y"}\n')
    columns = {"instruction": "question", "input": "context", "output": "answer"}
    (row,) = read_demonstrations(tmp_path / "rows.jsonl", task="t", reading=Reading(columns=columns))

    assert (row.prompt, row.input) == ("p\nc", "c")


def test_ids_of_foreign_rows_are_seldom_unique_and_not_taken(tmp_path):
    row = FOREIGN["prompt-response"] | {"id": "7"}
    (tmp_path / "rows.jsonl").write_text(f"{json.dumps(row)}\n{json.dumps(row)}\n")
    assert [row.id for row in read_demonstrations(tmp_path / "rows.jsonl", task="t")] == [
        "t/rows-000001",
        "t/rows-000002",
    ]

    (tmp_path / "rows.jsonl").write_text(json.dumps(row | {"task": "own"}))
    (found,) = read_demonstrations(tmp_path / "rows.jsonl", task="t")
    assert (found.id, found.task) == ("7", "own")


@pytest.mark.parametrize(("name", "said"), [("hub:own/rows@v1:train", "own/rows"), ("a/b/rows.json", "rows.json")])
def test_a_source_is_called_by_its_own_name(name, said):
    from cst.preferences.sources import source_name

    assert source_name(name) == said
