import json
from pathlib import Path

import pytest

from cst.errors import DataError
from cst.labelled_answers import LabelReading, pairs_of, read_labelled, sides_of
from cst.records import Side

ROW = {"prompt": "How do I fold a crane?", "answer": "First fold a square.", "label": "original"}


def read(folder: Path, *rows: dict[str, object], reading: LabelReading = LabelReading()):  # noqa: B008 - frozen
    path = folder / "rows.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return read_labelled(path, reading)


@pytest.mark.parametrize(
    ("label", "side"),
    [
        *[(name, Side.ORIGINAL) for name in ("original", "Harmful", " unsafe", "0", 0, 0.0)],
        *[(name, Side.REVISED) for name in ("revised", "harmless", "SAFE", "1", 1, 1.0)],
    ],
)
def test_labels_that_are_known(tmp_path, label, side):
    found = read(tmp_path, {**ROW, "label": label})
    assert found.answers[0].label is side
    assert list(found.labels.values()) == [side]


def test_a_users_own_labels_come_first(tmp_path):
    reading = LabelReading(labels=sides_of(["1=original", "fine=revised"]))
    found = read(tmp_path, {**ROW, "label": 1}, {**ROW, "label": "Fine"}, reading=reading)
    assert [answer.label for answer in found.answers] == [Side.ORIGINAL, Side.REVISED]
    assert found.labels == {"1": Side.ORIGINAL, "fine": Side.REVISED}


def test_the_task_and_the_system_prompt_are_taken_from_the_row(tmp_path):
    row = {**ROW, "task": "truthfulness", "system_prompt": "You are Brom."}
    first, second = read(tmp_path, row, ROW, reading=LabelReading(task="over_refusal")).answers
    assert (first.prompt.task, first.prompt.system_prompt) == ("truthfulness", "You are Brom.")
    assert (second.prompt.task, second.prompt.system_prompt) == ("over_refusal", None)
    assert first.prompt.id != second.prompt.id


def test_answers_may_be_called_responses_or_anything_that_is_said(tmp_path):
    response = {"prompt": "How?", "response": "So.", "label": 0}
    own = {"question": "How?", "said": "So.", "label": 0}
    reading = LabelReading(columns=pairs_of(["prompt=question", "answer=said"], "--column"))
    assert read(tmp_path, response).answers[0].text == "So."
    assert read(tmp_path, own, reading=reading).answers[0].text == "So."


def test_a_csv_will_do(tmp_path):
    (tmp_path / "rows.csv").write_text("prompt,answer,label\nHow?,So.,unsafe\n")
    assert read_labelled(tmp_path / "rows.csv", LabelReading()).answers[0].label is Side.ORIGINAL


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ({**ROW, "label": "maybe"}, r"rows\.jsonl:2 has label='maybe', which names no side.*--label"),
        ({**ROW, "label": None}, "label=None"),
        ({**ROW, "label": True}, "label=True"),
        ({"prompt": "How?", "label": 1}, "no field 'answer'"),
        ({**ROW, "prompt": " "}, "empty prompt"),
        ({**ROW, "answer": 3}, "answer=3, and text is needed"),
    ],
)
def test_a_row_that_cannot_be_used_is_named_and_counted(tmp_path, row, reason):
    with pytest.raises(DataError, match=rf"{reason}.*\(1 of 2 rows can't be used\.\)"):
        read(tmp_path, ROW, row)


def test_a_column_that_is_not_there_is_named(tmp_path):
    with pytest.raises(DataError, match=r"no field 'said'.*--column"):
        read(tmp_path, ROW, reading=LabelReading(columns={"answer": "said"}))


def test_an_empty_file_holds_no_answers(tmp_path):
    with pytest.raises(DataError, match="holds no rows"):
        read(tmp_path)


@pytest.mark.parametrize("word", ["fine", "=revised", "fine="])
def test_words_that_map_nothing_are_refused(word):
    with pytest.raises(DataError, match="write --label NAME=VALUE"):
        sides_of([word])


def test_a_side_that_does_not_exist_is_refused():
    with pytest.raises(DataError, match="names no side"):
        sides_of(["fine=good"])
