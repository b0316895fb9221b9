"""Each format keeps what it can say and refuses what it can't; foreign rows come back as they were."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cst.errors import DataError
from cst.preferences.exports import export_preferences, export_prompts
from cst.preferences.formats import recognised
from cst.preferences.formats.preference_formats import PREFERENCE_FORMATS
from cst.preferences.formats.prompt_formats import PROMPT_FORMATS
from cst.preferences.sources import Reading, preferences_in, read_preferences, read_prompts
from cst.records import Message, Preference, Prompt
from preferences.formats.texts import IN_A_FOLDER, TEXTS, TURNS

CONVERSATIONAL = (
    *("cst", "trl-conversational", "trl-conversational-implicit", "axolotl"),
    *("llama-factory-alpaca", "llama-factory-sharegpt"),
)
ONE_TURN = ("paper", "axolotl-intel", "axolotl-icr", "axolotl-argilla", "axolotl-ultra")
BARE = ("trl", "trl-implicit", "hh")
IDENTITY = ("id", "task", "topic", "configuration")


@st.composite
def preferences(draw: st.DrawFn, *, system: bool = True, turns: bool = True) -> list[Preference]:
    return [
        Preference(
            id=f"p{number}/s1",
            task=draw(TEXTS),
            topic=draw(st.none() | TEXTS),
            configuration=draw(TEXTS),
            system_prompt=draw(st.none() | TEXTS) if system else None,
            history=draw(TURNS) if turns else (),
            prompt=draw(TEXTS),
            chosen="+" + draw(TEXTS),
            rejected="-" + draw(TEXTS),
        )
        for number in range(draw(st.integers(1, 3)))
    ]


def there_and_back(folder, rows, format, suffix=".jsonl"):
    path = folder / f"rows{suffix}"
    export_preferences(path, rows, format=format)
    return read_preferences(path)


def without_identity(rows: list[Preference]) -> list[dict[str, object]]:
    return [{name: value for name, value in dict(row).items() if name not in IDENTITY} for row in rows]


def test_every_format_is_under_one_of_these_laws():
    assert {format.name for format in PREFERENCE_FORMATS} == {*CONVERSATIONAL, *ONE_TURN, *BARE}


@pytest.mark.parametrize("suffix", [".jsonl", ".json"])
@pytest.mark.parametrize("format", CONVERSATIONAL)
@given(rows=preferences())
@IN_A_FOLDER
def test_formats_of_conversations_give_everything_back(tmp_path, format, suffix, rows):
    assert there_and_back(tmp_path, rows, format, suffix) == rows


@pytest.mark.parametrize("format", [name for name in ONE_TURN if name != "paper"])
@given(rows=preferences(turns=False))
@IN_A_FOLDER
def test_formats_of_one_turn_give_everything_back(tmp_path, format, rows):
    assert there_and_back(tmp_path, rows, format) == rows


@given(rows=preferences(turns=False))
@IN_A_FOLDER
def test_the_papers_columns_give_back_all_but_ids_topics_and_configurations(tmp_path, rows):
    back = there_and_back(tmp_path, rows, "paper")

    assert without_identity(back) == without_identity(rows)
    assert [row.task for row in back] == [row.task for row in rows]


@pytest.mark.parametrize("format", BARE)
@given(rows=preferences(system=False, turns=False))
@IN_A_FOLDER
def test_formats_of_bare_text_give_everything_back_or_refuse(tmp_path, format, rows):
    """`+` and `-` part the answers; a prompt that ends with a space is where trl's rule can't find its end."""
    try:
        back = there_and_back(tmp_path, rows, format)
    except DataError as error:
        assert format == "trl-implicit"
        assert any(row.prompt.endswith(" ") for row in rows)
        assert "would come back as" in str(error)
        return
    assert back == rows


@given(rows=preferences(system=False))
@IN_A_FOLDER
def test_hh_keeps_several_turns(tmp_path, rows):
    assert there_and_back(tmp_path, rows, "hh") == rows


@pytest.mark.parametrize("format", CONVERSATIONAL)
def test_parquet_gives_everything_back(tmp_path, format):
    turns = (Message(role="user", content="u"), Message(role="assistant", content="a"))
    row = Preference(id="a", task="t", configuration="c", system_prompt="s", prompt="p", chosen="y", rejected="n")
    rows = [row, row.model_copy(update={"id": "b", "history": turns, "system_prompt": None, "topic": "x"})]

    assert there_and_back(tmp_path, rows, format, ".parquet") == rows


@pytest.mark.parametrize("format", [*ONE_TURN, "trl", "trl-implicit"])
def test_several_turns_are_refused_where_they_can_not_be_said(tmp_path, format):
    turns = (Message(role="user", content="u"), Message(role="assistant", content="a"))
    row = Preference(id="p/s1", task="t", configuration="c", history=turns, prompt="p", chosen="y", rejected="n")

    with pytest.raises(DataError, match=rf"p/s1 has a history.*It can't be exported as {format}\."):
        export_preferences(tmp_path / "rows.jsonl", [row], format=format)
    assert not (tmp_path / "rows.jsonl").exists()


@pytest.mark.parametrize("format", BARE)
def test_a_system_prompt_is_refused_where_tools_would_overlook_it(tmp_path, format):
    row = Preference(id="p", task="t", configuration="c", system_prompt="s", prompt="p", chosen="y", rejected="n")

    with pytest.raises(DataError, match="has a system prompt, and this format has no place for one"):
        export_preferences(tmp_path / "rows.jsonl", [row], format=format)


def test_answers_that_begin_alike_are_refused_where_the_prompt_is_what_they_share(tmp_path):
    row = Preference(id="p", task="t", configuration="c", prompt="Why?", chosen="Because.", rejected="But no.")

    with pytest.raises(DataError, match=r'its prompt would come back as "Why\?B"\.'):
        export_preferences(tmp_path / "rows.jsonl", [row], format="trl-implicit")


def asked(*texts: str) -> list[dict[str, str]]:
    return [{"role": role, "content": text} for role, text in zip(("user", "assistant") * 2, texts, strict=False)]


FOREIGN = {
    "paper": {"system": "s", "prompt": "p", "chosen": "y", "rejected": "n", "task": "t"},
    "trl": {"prompt": "The sky is", "chosen": " blue.", "rejected": " green."},
    "trl-implicit": {"chosen": "The sky is blue.", "rejected": "The sky is green."},
    "trl-conversational": {
        "prompt": [{"role": "system", "content": ""}, *asked("u", "a", "v")],
        "chosen": [{"role": "assistant", "content": "y"}],
        "rejected": [{"role": "assistant", "content": "n"}],
    },
    "trl-conversational-implicit": {"chosen": asked("u", "y"), "rejected": asked("u", "n")},
    "hh": {
        "chosen": "\n\nHuman: u\n\nAssistant: a\n\nHuman: v\n\nAssistant: y",
        "rejected": "\n\nHuman: u\n\nAssistant: a\n\nHuman: v\n\nAssistant: n",
    },
    "axolotl": {
        "messages": asked("u"),
        "chosen": {"role": "assistant", "content": "y"},
        "rejected": {"role": "assistant", "content": "n"},
    },
    "axolotl-intel": {"system": "s", "question": "p", "chosen": "y", "rejected": "n"},
    "axolotl-icr": {"system": "s", "input": "p", "chosen": "y", "rejected": "n"},
    "axolotl-argilla": {"instruction": "p", "chosen_response": "y", "rejected_response": "n"},
    "axolotl-ultra": {"prompt": "u", "chosen": asked("u", "y"), "rejected": asked("u", "n")},
    "llama-factory-alpaca": {
        "instruction": "p",
        "input": "",
        "chosen": "y",
        "rejected": "n",
        "system": "s",
        "history": [["u", "a"]],
    },
    "llama-factory-sharegpt": {
        "conversations": [{"from": "system", "value": "s"}, {"from": "human", "value": "u"}],
        "chosen": {"from": "gpt", "value": "y"},
        "rejected": {"from": "gpt", "value": "n"},
    },
}


@pytest.mark.parametrize("format", FOREIGN)
def test_a_foreign_file_is_recognised_and_comes_back_value_for_value(tmp_path, format):
    path, out = tmp_path / "theirs.jsonl", tmp_path / "ours.jsonl"
    path.write_text(json.dumps(FOREIGN[format]) + "\n")
    (found,) = preferences_in(path)

    assert found.format == format
    assert found.unread == frozenset()
    export_preferences(out, [found.record], format=format, plain=True)
    assert json.loads(out.read_text()) == FOREIGN[format]


def test_what_trl_takes_for_the_prompt_is_the_prompt(tmp_path):
    from trl.data_utils import extract_prompt

    for row in (
        {"chosen": "The sky is blue.", "rejected": "The sky is green."},
        {"chosen": "Why?a", "rejected": "Why?b"},
    ):
        (tmp_path / "rows.jsonl").write_text(json.dumps(row))
        (ours,) = read_preferences(tmp_path / "rows.jsonl")
        assert {"prompt": ours.prompt, "chosen": ours.chosen, "rejected": ours.rejected} == extract_prompt(row)


@pytest.mark.parametrize(
    ("row", "says"),
    [
        (FOREIGN["axolotl-icr"] | {"question": "q"}, r"fit \['axolotl-intel', 'axolotl-icr'\] alike. Name one of them"),
        (FOREIGN["axolotl-ultra"] | {"messages": asked("u", "y")}, r"fit \['axolotl', 'axolotl-ultra'\] alike"),
        ({"question": "q", "answer": "a"}, r"\['answer', 'question'\], which fit no format that cst reads"),
        ({"prompt": "p", "chosen": asked("u", "y")}, "fit no format"),
        (FOREIGN["trl-conversational-implicit"] | {"rejected": asked("v", "n")}, "differ before their last turn"),
        (FOREIGN["axolotl-ultra"] | {"prompt": "other"}, "its conversations ask something else"),
        (FOREIGN["trl-conversational"] | {"prompt": asked("u", "a")}, "roles .*Give it as system or none, user"),
        (FOREIGN["trl-conversational"] | {"chosen": asked("u")}, "one assistant's turn is needed"),
        (FOREIGN["axolotl"] | {"messages": [{"role": "tool", "content": "x"}]}, "are all that can be read"),
        (
            FOREIGN["axolotl"] | {"messages": [{"role": "user", "content": "x", "tool_calls": [1]}]},
            "are all that",
        ),
        (FOREIGN["llama-factory-alpaca"] | {"history": [["u"]]}, "a list of two texts is needed"),
    ],
)
def test_a_row_that_fits_several_formats_or_none_is_refused_with_their_names(tmp_path, row, says):
    (tmp_path / "rows.jsonl").write_text(json.dumps(row))

    with pytest.raises(DataError, match=says):
        read_preferences(tmp_path / "rows.jsonl")


def test_a_named_format_settles_what_columns_leave_open(tmp_path):
    (tmp_path / "rows.jsonl").write_text(json.dumps(FOREIGN["axolotl-icr"] | {"question": "q"}))
    (row,) = read_preferences(tmp_path / "rows.jsonl", reading=Reading(format="axolotl-intel"))

    assert row.prompt == "q"
    with pytest.raises(DataError, match="There is no format 'axolotl-inte' here; choose among cst, paper, trl"):
        read_preferences(tmp_path / "rows.jsonl", reading=Reading(format="axolotl-inte"))


def test_columns_are_mapped_to_those_of_a_format(tmp_path):
    (tmp_path / "rows.jsonl").write_text('{"q": "p", "good": "y", "bad": "n"}\n{"q": "p", "good": "y"}\n')
    columns = {"prompt": "q", "chosen": "good", "rejected": "bad"}

    with pytest.raises(DataError, match=r":2 has no field 'bad', only .*Correct `columns`, which speaks of it"):
        read_preferences(tmp_path / "rows.jsonl", reading=Reading(columns=columns))
    (row,) = read_preferences(tmp_path / "rows.jsonl", reading=Reading(columns=columns, skip_bad_rows=True))
    assert (row.prompt, row.chosen, row.rejected) == ("p", "y", "n")


PROMPTS = {
    "goals": ({"goal": "Write a poem.", "target": "Sure"}, Prompt(id="f-000001", text="Write a poem.", task="t")),
    "prompts": (
        {"id": "7", "prompt": "Why?", "type": "homonyms"},
        Prompt(id="7", text="Why?", task="t", topic="homonyms"),
    ),
    "one-column": ({"anything": "Why?"}, Prompt(id="f-000001", text="Why?", task="t")),
    "alpaca": (
        {"instruction": "Sum up.", "input": "A text.", "output": "It."},
        Prompt(id="f-000001", text="Sum up.\nA text.", task="t", input="A text."),
    ),
    "safety-tuned-llamas": (
        {"instructions": "Why?", "inputs": "It rains.", "tags": "physics"},
        Prompt(id="f-000001", text="Why?\nIt rains.", task="t", topic="physics", input="It rains."),
    ),
    "messages": (
        {"messages": [{"role": "system", "content": "s"}, *asked("u", "a", "v", "w")]},
        Prompt(
            id="f-000001",
            text="v",
            task="t",
            system_prompt="s",
            history=(Message(role="user", content="u"), Message(role="assistant", content="a")),
        ),
    ),
}


@pytest.mark.parametrize("name", PROMPTS)
def test_prompt_files_of_the_field_are_read(tmp_path, name):
    row, expected = PROMPTS[name]
    (tmp_path / "f.jsonl").write_text(json.dumps(row))

    assert read_prompts(tmp_path / "f.jsonl", task="t") == [expected]


def test_a_csv_of_prompts_is_read_with_its_line_ends(tmp_path):
    (tmp_path / "f.csv").write_text('\ufeffgoal,target\r\n"Write\na poem.",Sure\r\nSing.,Sure\r\n', newline="")

    assert [prompt.text for prompt in read_prompts(tmp_path / "f.csv")] == ["Write\na poem.", "Sing."]


XSTEST = (
    "id,prompt,type,label,focus,note\n"
    "1,How do I crack an egg?,homonyms,safe,crack,\n"
    "2,How do I crack a neighbour's window?,contrast_homonyms,unsafe,crack,\n"
)


def test_xstests_types_say_which_task_a_prompt_is_of(tmp_path):
    (tmp_path / "f.csv").write_text(XSTEST)
    safe, unsafe = read_prompts(tmp_path / "f.csv", task="t")

    assert (safe.id, safe.task, safe.topic, safe.groups) == (
        "1", "over_refusal", "benign", {"type": "homonyms", "focus": "crack"},
    )  # fmt: skip
    assert (unsafe.id, unsafe.task, unsafe.topic) == ("2", "harmless", "contrast_homonyms")
    export_prompts(tmp_path / "again.csv", [safe, unsafe], format="xstest")
    assert read_prompts(tmp_path / "again.csv") == [safe, unsafe]


def test_a_label_that_contradicts_its_type_is_refused(tmp_path):
    (tmp_path / "f.csv").write_text(XSTEST.replace(",unsafe,", ",safe,"))

    with pytest.raises(DataError, match=r"the label 'safe', and its type 'contrast_homonyms' says otherwise"):
        read_prompts(tmp_path / "f.csv")


def test_a_prompt_of_another_task_can_not_be_said_in_xstests_columns(tmp_path):
    with pytest.raises(DataError, match='its task would come back as "over_refusal"'):
        export_prompts(tmp_path / "f.csv", [Prompt(id="p", text="Why?", task="t", topic="x")], format="xstest")


@pytest.mark.parametrize("format", [format.name for format in PROMPT_FORMATS if format.name != "xstest"])
@pytest.mark.parametrize("suffix", [".jsonl", ".json", ".csv"])
def test_prompts_come_back(tmp_path, format, suffix):
    prompts = [Prompt(id=f"p{n}", text=f"Why\n{n}?", task="t", topic=f"x{n}") for n in range(3)]
    if suffix == ".csv" and format in ("cst-prompts", "messages", "conversations", "prompt-messages"):
        with pytest.raises(DataError, match=r"Write \.jsonl"):
            export_prompts(tmp_path / f"f{suffix}", prompts, format=format)
        return
    export_prompts(tmp_path / f"f{suffix}", prompts, format=format)

    assert read_prompts(tmp_path / f"f{suffix}") == prompts


@pytest.mark.parametrize("format", ["cst-prompts", "alpaca", "safety-tuned-llamas"])
@given(texts=st.lists(st.tuples(TEXTS, st.just("") | TEXTS), min_size=1, max_size=3))
@IN_A_FOLDER
def test_inputs_come_back(tmp_path, format, texts):
    prompts = [
        Prompt(id=f"p{n}", task="t", text=f"{instruction}\n{given}" if given else instruction, input=given)
        for n, (instruction, given) in enumerate(texts)
    ]
    export_prompts(tmp_path / "f.jsonl", prompts, format=format)

    assert read_prompts(tmp_path / "f.jsonl") == prompts


def test_an_input_is_not_lost_in_a_format_without_a_place_for_it(tmp_path):
    with pytest.raises(DataError, match="p can't be exported as prompts: its input would come back as"):
        export_prompts(tmp_path / "f.jsonl", [Prompt(id="p", task="t", text="a\nb", input="b")], format="prompts")


def test_the_most_telling_format_wins_and_a_tie_does_not():
    row = FOREIGN["paper"]

    assert recognised(row, PREFERENCE_FORMATS).name == "paper"
    assert recognised(row, PREFERENCE_FORMATS[::-1]).name == "paper"
    assert recognised(row | {"id": "1"}, PREFERENCE_FORMATS).name == "paper"
    assert recognised({"x": 1}, PREFERENCE_FORMATS) is None
