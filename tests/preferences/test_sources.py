"""A user's own files, recognised by their fields; a bad row is named, and nothing is dropped."""

import json
from contextlib import nullcontext
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cst.errors import DataError
from cst.preferences.sources import (
    read_preferences,
    read_prompts,
    stream_prompts,
    without_held_out,
    without_repeats,
)
from cst.records import Preference, Prompt
from cst.store import write_records

PUBLISHED = {"system": "Be good.", "prompt": "x", "chosen": "yes", "rejected": "no", "task": "harmless"}
PREFERENCE = Preference(
    id="p/s1", task="t", topic="y", configuration="s1", system_prompt=None, prompt="x", chosen="yes", rejected="no"
)
PROMPT = Prompt(id="p", text="x", task="t", topic="y", system_prompt="s", groups={"frame": "1"})
REAL_DATA = Path(__file__).parents[3] / "shared" / "data" / "truthfulness.json"


def file_of(folder: Path, *rows: object, name: str = "data.jsonl") -> Path:
    path = folder / name
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def test_records_come_back_as_they_were(tmp_path):
    write_records(tmp_path / "prompts.jsonl", [PROMPT])
    write_records(tmp_path / "preferences.jsonl", [PREFERENCE])

    assert read_prompts(tmp_path / "prompts.jsonl") == [PROMPT]
    assert read_preferences(str(tmp_path / "preferences.jsonl")) == [PREFERENCE]


def test_rows_with_a_prompt_get_ids_and_the_task_that_is_given(tmp_path):
    path = file_of(
        tmp_path, {"prompt": "a", "system": "s", "extra": 1}, {"text": "b", "task": "mine", "topic": "y", "id": "own"}
    )

    assert read_prompts(path, task="truthfulness") == [
        Prompt(id="data-000001", text="a", task="truthfulness", system_prompt="s"),
        Prompt(id="own", text="b", task="mine", topic="y"),
    ]


def test_plain_text_is_one_prompt_a_line(tmp_path):
    (tmp_path / "p.txt").write_text("First?\n\n  [Second]?  \n")

    assert [prompt.text for prompt in read_prompts(tmp_path / "p.txt")] == ["First?", "[Second]?"]


def test_the_first_n_are_taken(tmp_path):
    path = file_of(tmp_path, *({"prompt": str(number)} for number in range(5)))

    assert [prompt.text for prompt in read_prompts(path, n=2)] == ["0", "1"]
    assert read_prompts(path, n=9) == read_prompts(path)


def test_a_list_is_read_too(tmp_path):
    (tmp_path / "list.json").write_text(json.dumps([PUBLISHED]))

    assert [row.chosen for row in read_preferences(tmp_path / "list.json")] == ["yes"]


def test_published_rows_take_their_task_for_their_configuration(tmp_path):
    (row,) = read_preferences(file_of(tmp_path, PUBLISHED))

    assert row == Preference(
        id="data-000001",
        task="harmless",
        configuration="harmless",
        system_prompt="Be good.",
        prompt="x",
        chosen="yes",
        rejected="no",
    )


@pytest.mark.parametrize("system", [{}, {"system": ""}, {"system": None}])
def test_a_row_without_a_system_prompt_has_none(tmp_path, system):
    row = {key: value for key, value in PUBLISHED.items() if key != "system"} | system

    assert read_preferences(file_of(tmp_path, row))[0].system_prompt is None


def test_a_row_without_a_task_is_a_preference_all_the_same(tmp_path):
    row = {key: value for key, value in PUBLISHED.items() if key != "task"}

    assert read_preferences(file_of(tmp_path, row))[0].task == "preference"


BAD_PREFERENCES = [
    ({**PUBLISHED, "chosen": "no"}, "is no Preference: chosen and rejected are the same text: the row prefers nothing"),
    ({**PUBLISHED, "chosen": ""}, " has an empty chosen (''). Fill it in, or remove the row."),
    ({**PUBLISHED, "rejected": "  "}, " has an empty rejected ('  ')."),
    ({**PUBLISHED, "prompt": 7}, " has prompt=7, and text is needed. Correct or remove the row."),
    ({**PUBLISHED, "system": ["s"]}, ' has system=["s"], and text is needed.'),
    ({"prompt": "x", "chosen": "y"}, " has no field 'rejected', only ['chosen', 'prompt']. Add it, or map"),
    ({**PREFERENCE.model_dump(), "rejected": "yes"}, "is no Preference: chosen and rejected are the same text"),
    ({**PREFERENCE.model_dump(), "colour": "red"}, "is no Preference: field 'colour' is unknown. Remove it"),
    ({**PREFERENCE.model_dump(), "task": ""}, "is no Preference: task='': String should have at least 1 character."),
]


@pytest.mark.parametrize(("row", "says"), BAD_PREFERENCES)
def test_a_bad_preference_is_named_with_its_place(tmp_path, row, says):
    path = file_of(tmp_path, PUBLISHED, row)

    with pytest.raises(DataError) as refusal:
        read_preferences(path)
    message = str(refusal.value)
    assert message.startswith(f"{path}:2")
    assert says in message
    assert "\n" not in message


BAD_PROMPTS = [
    ({"text": "", "id": "a"}, " has an empty text (''). Fill it in"),
    ({"question": "x"}, " has no field 'prompt', only ['question']."),
    ({**PROMPT.model_dump(), "text": ""}, "is no Prompt: text='': String should have at least 1 character."),
    ({**PROMPT.model_dump(), "colour": 1}, "is no Prompt: field 'colour' is unknown."),
]


@pytest.mark.parametrize(("row", "says"), BAD_PROMPTS)
def test_a_bad_prompt_is_named_with_its_place(tmp_path, row, says):
    path = file_of(tmp_path, {"prompt": "fine"}, row)

    with pytest.raises(DataError) as refusal:
        read_prompts(path)
    message = str(refusal.value)
    assert message.startswith(f"{path}:2")
    assert says in message


def test_a_bad_row_is_named_though_it_stands_after_the_first_n(tmp_path):
    with pytest.raises(DataError, match=":2 has no field"):
        read_prompts(file_of(tmp_path, {"prompt": "fine"}, {}), n=1)


def test_an_id_that_stands_twice_is_refused(tmp_path):
    path = file_of(tmp_path, {"prompt": "a", "id": "same"}, {"prompt": "b", "id": "same"})

    with pytest.raises(DataError, match=r"data\.jsonl has the id 'same' twice; give each row an id of its own"):
        read_prompts(path)
    assert list(without_repeats([PROMPT, (other := PROMPT.model_copy(update={"id": "q"}))], path)) == [PROMPT, other]


@given(ids=st.lists(st.sampled_from(["a", "b", "c", "\N{SNOWMAN}"]), max_size=5))
def test_records_pass_until_an_id_comes_again(ids):
    records = [PROMPT.model_copy(update={"id": identity}) for identity in ids]
    passed = []
    with pytest.raises(DataError) if len(set(ids)) < len(ids) else nullcontext():
        passed.extend(each.id for each in without_repeats(records, "here"))
    assert len(set(passed)) == len(passed)
    assert passed == ids[: len(passed)]


def test_the_first_n_come_though_a_bad_row_is_told_after_them(tmp_path):
    path = file_of(tmp_path, {"prompt": "a"}, {"prompt": "b"}, {"prompt": "c"}, {})
    prompts = stream_prompts(path, n=2)

    assert [next(prompts).text, next(prompts).text] == ["a", "b"]
    with pytest.raises(DataError, match=r":4 has no field 'prompt'.* 1 of 4 rows"):
        next(prompts)


def test_a_held_out_prompt_that_was_trained_on_is_refused():
    other = PROMPT.model_copy(update={"id": "q"})

    with pytest.raises(DataError, match="Held-out prompt q is the training prompt p; take one of the two out"):
        list(without_held_out([PROMPT], [other]))
    given = Prompt(id="i", text="Sort.\n3 1", input="3 1", task="t")
    with pytest.raises(DataError, match="Held-out prompt h is the training prompt i"):
        list(without_held_out([given], [given.model_copy(update={"id": "h", "input": ""})]))
    unlike = [other.model_copy(update={"system_prompt": None}), other.model_copy(update={"text": "y"})]
    assert list(without_held_out([PROMPT], unlike)) == [PROMPT]


@pytest.mark.parametrize("read", [read_prompts, read_preferences])
def test_a_missing_file_is_named(tmp_path, read):
    with pytest.raises(DataError, match=r"There is no file .*none\.jsonl"):
        read(tmp_path / "none.jsonl")


@pytest.mark.skipif(not REAL_DATA.exists(), reason="the paper's released rows are not beside this checkout")
def test_the_released_rows_are_read_as_they_are():
    raw = json.loads(REAL_DATA.read_text(encoding="utf-8"))
    rows = read_preferences(REAL_DATA)

    assert len(rows) == len(raw) == 968
    assert len({row.system_prompt for row in rows}) > 100
    assert [(row.system_prompt or "", row.prompt, row.chosen, row.rejected, row.task) for row in rows] == [
        (row["system"], row["prompt"], row["chosen"], row["rejected"], row["task"]) for row in raw
    ]


def ticket(row):
    if row["closed"]:
        return None
    return Prompt(id=row["key"], task="harmless", text=row["question"])


def test_a_function_is_a_format_that_may_leave_rows_out(tmp_path, caplog):
    open_row = {"key": "T-1", "question": "Is bleach safe?", "closed": False}
    source = file_of(tmp_path, open_row, {**open_row, "key": "T-2", "closed": True})

    assert read_prompts(source, format=ticket) == [Prompt(id="T-1", task="harmless", text="Is bleach safe?")]
    assert "format left out 1 rows, the first is" in caplog.text


def test_a_row_that_a_function_can_not_read_is_named_with_its_line(tmp_path):
    source = file_of(
        tmp_path, {"key": "T-1", "question": "Well?", "closed": False}, {"key": "", "question": "x", "closed": 0}
    )

    with pytest.raises(DataError, match=r"data\.jsonl:2 can't be read by format=.*: id=''"):
        read_prompts(source, format=ticket)
