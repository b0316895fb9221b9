"""Markers: what they say is true, and any change of a file or of a marker is refused, also outside of a run."""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cst.errors import RunFolderError
from cst.markers import (
    RECIPE,
    changed,
    fingerprint_of_path,
    intent_path,
    marker_path,
    read_marker,
    refuse_changed,
    write_marker,
)


@pytest.fixture
def home(tmp_path):
    """A folder whose recipe has one file, and whose one stage made a folder and a file."""
    for name, text in {"recipe.json": "{}", "made/adapter/a": "1", "made/adapter/b": "2", "made/log": "3"}.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    write_marker(tmp_path, RECIPE, "key", "made", outputs=["recipe.json"])
    write_marker(tmp_path, "train", "key", "made", outputs=["made/adapter"], by_products=["made/log", "made/none"])
    return tmp_path


def test_a_marker_says_what_is_there(home):
    marker = read_marker(marker_path(home, "train"))
    assert marker.outputs == {"made/adapter": fingerprint_of_path(home / "made" / "adapter")}
    assert list(marker.by_products) == ["made/log"]
    assert changed(home, marker, within=home) == []
    refuse_changed(home)


@pytest.mark.parametrize(
    "asked", ["", "made", "made/adapter", "made/adapter/a", "made/adapter/b", "made/../made/adapter"]
)
def test_a_change_is_refused_wherever_it_is_looked_at(home, asked):
    (home / "made" / "adapter" / "a").write_text("0")
    with pytest.raises(RunFolderError, match="adapter has changed since it was made"):
        refuse_changed(home / asked)
    for other in ("recipe.json", "made/log", "elsewhere"):
        refuse_changed(home / other)


def test_a_file_more_or_another_name_in_a_folder_is_a_change(home):
    (home / "made" / "adapter" / "a").rename(home / "made" / "adapter" / "c")
    with pytest.raises(RunFolderError, match="has changed"):
        refuse_changed(home)


def test_what_was_deleted_and_what_is_being_made_is_passed_over(home):
    (home / "made" / "log").unlink()
    refuse_changed(home)
    (home / "made" / "adapter" / "a").write_text("0")
    intent_path(home, "train").write_text("key")
    refuse_changed(home)


def test_a_path_in_no_run_folder_passes(tmp_path):
    refuse_changed(tmp_path / "rows.jsonl")


@given(data=st.data())
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_flipped_byte_of_a_marker_is_refused_or_says_the_same(home, data):
    file = marker_path(home, "train")
    before, said = file.read_bytes(), read_marker(file)
    flipped = bytearray(before)
    flipped[data.draw(st.integers(0, len(before) - 1))] ^= data.draw(st.integers(1, 255))
    file.write_bytes(flipped)
    try:
        assert read_marker(file) == said
    except RunFolderError as error:
        assert "Delete it together with" in str(error)
    finally:
        file.write_bytes(before)
