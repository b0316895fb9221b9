"""What is written in the published columns is read back as the same texts."""

import json
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cst.errors import DataError
from cst.preferences.exports import ROWS_AT_ONCE, export_preferences
from cst.preferences.sources import read_preferences
from cst.records import Message, Preference

REAL_DATA = Path(__file__).parents[3] / "shared" / "data" / "truthfulness.json"

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), min_size=1).filter(lambda text: text.strip())


def row(number: int, system_prompt: str | None, prompt: str, chosen: str) -> Preference:
    return Preference(
        id=f"p{number}",
        task="t",
        configuration="s1",
        system_prompt=system_prompt,
        prompt=prompt,
        chosen=chosen,
        rejected=f"not {chosen}",
    )


@given(rows=st.lists(st.tuples(st.none() | TEXTS, TEXTS, TEXTS), min_size=1, max_size=5))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_the_texts_come_back(tmp_path, rows):
    preferences = [row(number, *texts) for number, texts in enumerate(rows)]
    export_preferences(tmp_path / "out.json", preferences, format="paper")
    back = read_preferences(tmp_path / "out.json")

    def texts(each: Preference) -> tuple[str | None, str, str, str, str]:
        return each.system_prompt, each.prompt, each.chosen, each.rejected, each.task

    assert [texts(each) for each in back] == [texts(each) for each in preferences]


def test_the_columns_are_the_published_ones_in_their_order(tmp_path):
    export_preferences(tmp_path / "out.json", [row(0, None, "x", "y")], format="paper")

    (written,) = json.loads((tmp_path / "out.json").read_text())
    assert list(written.items()) == [
        ("system", ""),
        ("prompt", "x"),
        ("chosen", "y"),
        ("rejected", "not y"),
        ("task", "t"),
    ]


def test_nothing_written_is_nothing_to_train_on(tmp_path):
    export_preferences(tmp_path / "out.json", [], format="paper")

    with pytest.raises(DataError, match="holds no rows"):
        read_preferences(tmp_path / "out.json")


@pytest.mark.skipif(not REAL_DATA.exists(), reason="the paper's released rows are not beside this checkout")
def test_the_released_file_comes_back_byte_for_byte(tmp_path):
    export_preferences(tmp_path / "out.json", read_preferences(REAL_DATA), format="paper")

    assert (tmp_path / "out.json").read_bytes() == REAL_DATA.read_bytes()


@pytest.mark.parametrize("name", ["out.xml", "out"])
def test_a_suffix_that_says_nothing_is_refused(tmp_path, name):
    with pytest.raises(DataError, match="has a suffix that can't be written; name it"):
        export_preferences(tmp_path / name, [row(0, None, "x", "y")], format="paper")


def test_a_row_that_can_not_be_said_leaves_the_file_of_before(tmp_path):
    export_preferences(tmp_path / "out.jsonl", [row(0, None, "x", "y")], format="trl")
    before = (tmp_path / "out.jsonl").read_bytes()

    with pytest.raises(DataError, match="p1 has a system prompt"):
        export_preferences(tmp_path / "out.jsonl", [row(0, None, "x", "y"), row(1, "s", "x", "y")], format="trl")
    assert (tmp_path / "out.jsonl").read_bytes() == before
    assert {path.name for path in tmp_path.iterdir()} == {"out.jsonl", "out.jsonl.sha256"}
    assert read_preferences(tmp_path / "out.jsonl") == [row(0, None, "x", "y")]


def test_columns_of_changing_type_are_refused_in_parquet(tmp_path):
    turns = (Message(role="user", content="u"), Message(role="assistant", content="a"))
    rows = [row(number, "s", "x", "y") for number in range(ROWS_AT_ONCE)]
    late = row(ROWS_AT_ONCE, "s", "x", "y").model_copy(update={"history": turns})

    with pytest.raises(DataError, match=r"can't be kept in columns of one type: .*Write \.jsonl or \.json"):
        export_preferences(tmp_path / "out.parquet", [*rows, late], format="cst")
    assert export_preferences(tmp_path / "out.parquet", [*rows, rows[0]], format="cst") == ROWS_AT_ONCE + 1
