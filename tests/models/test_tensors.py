from pathlib import Path

import pytest
import torch
from safetensors import SafetensorError

from cst.errors import DataError, ModelError
from cst.models.tensors import load_tensors, read_note, save_tensors, whole_folder


def test_round_trip_in_the_same_bytes(tmp_path: Path):
    tensors = {"b": torch.randn(3, 2), "a": torch.arange(4, dtype=torch.float64)[::2]}
    note = {"one": "1", "two": ["x"], "three": 3}
    for name in ("first", "second"):
        save_tensors(tmp_path / name, tensors, note=note)
    assert (tmp_path / "first").read_bytes() == (tmp_path / "second").read_bytes()
    found = load_tensors(tmp_path / "first")
    assert all(torch.equal(found[name], tensors[name]) for name in tensors)
    assert read_note(tmp_path / "first") == note
    assert sorted(p.name for p in tmp_path.iterdir()) == ["first", "second"]


def test_plain_metadata_and_none(tmp_path: Path):
    save_tensors(tmp_path / "plain", {"a": torch.zeros(1)}, format="pt")
    assert read_note(tmp_path / "plain") is None


@pytest.mark.parametrize("content", [None, b"", b"\x80\x04pickle", b"\x10" + b"\0" * 40])
def test_a_damaged_file_is_named(content: bytes | None, tmp_path: Path):
    path = tmp_path / "weights.safetensors"
    if content is not None:
        path.write_bytes(content)
    for read in (load_tensors, read_note):
        with pytest.raises(ModelError, match=r"weights.safetensors can't be read"):
            read(path)


def test_a_note_that_is_no_json_is_damage(tmp_path: Path):
    path = tmp_path / "note.safetensors"
    save_tensors(path, {"a": torch.zeros(1)}, cst="{")
    with pytest.raises(ModelError, match=r"note.safetensors can't be read"):
        read_note(path)


def test_what_can_not_be_written_is_told_and_leaves_no_half(tmp_path: Path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(DataError, match=r"file/weights can't be written: "):
        save_tensors(tmp_path / "file" / "weights", {"a": torch.zeros(1)})
    for error in (OSError(28, "No space left on device"), SafetensorError("No space left on device")):
        refused = pytest.raises(DataError, match=r"out can't be written: No space left on device\. What was finished")
        with refused, whole_folder(tmp_path / "out") as partial:
            (partial / "half").write_text("half")
            raise error
    assert [p.name for p in tmp_path.iterdir()] == ["file"]


def test_a_folder_appears_whole_or_not_at_all(tmp_path: Path):
    with pytest.raises(KeyboardInterrupt), whole_folder(tmp_path / "out") as partial:
        (partial / "half").write_text("half")
        raise KeyboardInterrupt
    assert list(tmp_path.iterdir()) == []
    with whole_folder(tmp_path / "out") as partial:
        (partial / "whole").write_text("1")
    with whole_folder(tmp_path / "out") as partial:
        (partial / "other").write_text("2")
    assert [p.name for p in (tmp_path / "out").iterdir()] == ["other"]
    assert [p.name for p in tmp_path.iterdir()] == ["out"]
