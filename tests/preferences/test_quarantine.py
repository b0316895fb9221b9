"""Every row is either taken or written aside with its reason; that some were bad is an error unless it was allowed."""

import json
import logging

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cst.errors import DataError
from cst.preferences.quarantine import good_rows, quarantine_file
from cst.preferences.rows import BadRow
from cst.preferences.sources import Reading, read_prompts


@given(kinds=st.lists(st.booleans()))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_each_row_is_taken_or_set_aside(tmp_path, kinds):
    aside = tmp_path / "run" / "x.quarantine.jsonl"
    rows = [n if good else BadRow(f"x:{n}", "is bad.", f"row {n}") for n, good in enumerate(kinds)]
    taken = list(good_rows(rows, "x", quarantine=aside, skip_bad_rows=True))
    bad = [json.loads(line) for line in aside.read_text().splitlines()] if aside.exists() else []

    assert taken == [n for n, good in enumerate(kinds) if good]
    assert bad == [
        {"place": f"x:{n}", "reason": "is bad.", "text": f"row {n}"} for n, good in enumerate(kinds) if not good
    ]
    assert aside.exists() == (not all(kinds))


def test_bad_rows_are_an_error_that_says_how_many_and_where_they_are(tmp_path):
    path, aside = tmp_path / "p.jsonl", tmp_path / "aside.jsonl"
    path.write_text('{"prompt": "a"}\n{"prompt": 3}\n{"prompt": \n{"prompt": "b"}\n')

    with pytest.raises(DataError) as refusal:
        read_prompts(path, reading=Reading(quarantine=aside))
    assert str(refusal.value) == (
        f"{path}:2 has prompt=3, and text is needed. Correct or remove the row. "
        f"2 of 4 rows of {path} can't be used; they are in {aside}, each with its reason."
    )
    assert [json.loads(line)["place"] for line in aside.read_text().splitlines()] == [f"{path}:2", f"{path}:3"]


def test_bad_rows_are_skipped_when_told_to_and_counted(tmp_path, caplog):
    path = tmp_path / "p.jsonl"
    path.write_text('{"prompt": "a"}\n{"prompt": 3}\n{"prompt": "b"}\n')
    with caplog.at_level(logging.WARNING):
        prompts = read_prompts(path, reading=Reading(skip_bad_rows=True))

    assert [(prompt.id, prompt.text) for prompt in prompts] == [("p-000001", "a"), ("p-000003", "b")]
    assert f"1 of 3 rows of {path} can't be used. The others are taken." in caplog.text


def test_a_quarantine_of_another_day_does_not_stay(tmp_path):
    (tmp_path / "aside.jsonl").write_text("old")
    list(good_rows([1, 2], "x", quarantine=tmp_path / "aside.jsonl", skip_bad_rows=False))

    assert not (tmp_path / "aside.jsonl").exists()


@pytest.mark.parametrize(
    ("source", "name"), [("data/p.jsonl.gz", "p.jsonl.gz"), ("hub:owner/name:main:train", "name-main-train")]
)
def test_the_file_is_named_after_the_source_and_lies_in_the_run_folder(tmp_path, source, name):
    assert quarantine_file(tmp_path, source) == tmp_path / f"{name}.quarantine.jsonl"
