"""What is written in the published columns is read back as the same texts."""

import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cst.errors import DataError
from cst.preferences.exports import write_published
from cst.preferences.sources import read_preferences
from cst.records import Preference

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
    write_published(tmp_path / "out.json", preferences)
    back = read_preferences(tmp_path / "out.json")

    def texts(each: Preference) -> tuple[str | None, str, str, str, str]:
        return each.system_prompt, each.prompt, each.chosen, each.rejected, each.task

    assert [texts(each) for each in back] == [texts(each) for each in preferences]


def test_the_columns_are_the_published_ones_in_their_order(tmp_path):
    write_published(tmp_path / "out.json", [row(0, None, "x", "y")])

    (written,) = json.loads((tmp_path / "out.json").read_text())
    assert list(written.items()) == [
        ("system", ""),
        ("prompt", "x"),
        ("chosen", "y"),
        ("rejected", "not y"),
        ("task", "t"),
    ]


def test_nothing_written_is_nothing_to_train_on(tmp_path):
    write_published(tmp_path / "out.json", [])

    with pytest.raises(DataError, match="holds no rows"):
        read_preferences(tmp_path / "out.json")
