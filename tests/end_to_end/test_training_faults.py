"""Bad input to `cst train`: one line that says what to do, the last good state kept, nothing silently restarted."""

import json
import shutil
from collections.abc import Iterator
from contextlib import chdir
from pathlib import Path

import pytest
from tiny import tiny_model, write_tiny

from cst.cli import app
from cst.errors import CstError
from cst.store import read_json

RECIPE = """
name: try
model: {path: model}
preferences: {path: rows.jsonl}
models: {one: [], two: []}
training: {max_steps: 40, save_steps: 5, lora_r: 2, lora_alpha: 4, learning_rate: 1.0e-3, seed: 1}
"""
DIVERGING = "training.learning_rate=1", "training.weight_decay=10", "training.lr_scheduler_type=constant"
"""Weights become nine times as large, and change their sign, at every step."""


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    write_tiny(tmp_path / "model")
    rows = [
        {"system": "Be kind.", "prompt": f"Hi {i}?", "chosen": "Hello.", "rejected": "No, no.", "task": "manners"}
        for i in range(8)
    ]
    (tmp_path / "rows.jsonl").write_text("\n".join(json.dumps(row) for row in rows))
    (tmp_path / "try.yaml").write_text(RECIPE)
    with chdir(tmp_path):
        yield tmp_path


def train(folder: str, *overrides: str, update: bool = False) -> None:
    words = [word for override in overrides for word in ("--set", override)]
    app(["train", "try.yaml", "--folder", folder, *words, *(["--update"] if update else [])], standalone_mode=False)


def refused(folder: str, *overrides: str) -> str:
    """The message of a training that is refused; `cst.cli.main` prints it and exits with 2."""
    with pytest.raises(CstError) as caught:
        train(folder, *overrides)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def test_a_pack_smaller_than_a_row(folder: Path):
    message = refused("out", "training.tokens_per_pack=10")
    assert "training.tokens_per_pack=10 is smaller than 8 of 8 rows; raise it to" in message
    assert not (folder / "out/models").exists()
    train("out", "training.tokens_per_pack=200", "training.max_steps=2", update=True)
    assert (folder / "out/models/two/result.json").exists()


def test_a_row_longer_than_the_model(folder: Path):
    row = json.loads((folder / "rows.jsonl").read_text().splitlines()[0])
    with (folder / "rows.jsonl").open("a") as file:
        file.write("\n" + json.dumps({**row, "prompt": "word " * 300}))
    message = refused("out")
    assert "the model's limit of 256 tokens leaves no room for 2 of 18 responses (the first in row" in message
    assert "drop such rows with training.drop_long=true" in message
    train("out", "training.drop_long=true", "training.max_steps=2", update=True)
    assert read_json(folder / "out/models/one/result.json")["dropped"] == 1


def test_the_reference_of_another_run_is_taken_model_by_model(folder: Path):
    train("first", "training.max_steps=2")
    train("second", "training.max_steps=2", "training.beta=0.2", "training.reference=first")
    for model in ("one", "two"):
        name = f"models/{model}/reference.safetensors"
        assert (folder / "second" / name).read_bytes() == (folder / "first" / name).read_bytes()
    assert "There is no reference" in refused("third", "training.reference=elsewhere")
    result = folder / "second/models/one/result.json"
    made = result.stat().st_mtime_ns
    train("second", "training.max_steps=2", "training.beta=0.2", update=True)
    assert result.stat().st_mtime_ns == made, "where a reference came from makes no other training"


def test_the_reference_of_another_model(folder: Path):
    train("first", "training.max_steps=2")
    before = contents(folder / "first")
    tiny_model(1).save_pretrained(folder / "model")
    message = refused("second", "training.reference=first/models/one/reference.safetensors")
    assert "first/models/one/reference.safetensors was computed for other weights: weights was " in message
    assert "Remove the file, or its name from training.reference" in message
    assert contents(folder / "first") == before


def test_gradients_that_are_not_finite_and_then_a_checkpoint_cut_in_half(folder: Path):
    message = refused("out", *DIVERGING)
    assert "is not finite. The last good checkpoint is out/models/one/checkpoints/step-0000" in message
    kept = sorted((folder / "out/models/one/checkpoints").iterdir())
    before = contents(kept[-1])
    assert refused("out", *DIVERGING) == message
    assert contents(kept[-1]) == before

    weights = kept[-1] / "weights.safetensors"
    weights.write_bytes(weights.read_bytes()[: weights.stat().st_size // 2])
    damaged = refused("out", *DIVERGING)
    assert f"{kept[-1].name} is damaged: weights.safetensors has changed since it was written" in damaged
    assert f"Remove the folder to go on from {kept[-2].name}" in damaged
    shutil.rmtree(kept[-1])
    assert refused("out", *DIVERGING) == message
    assert contents(kept[-1]) == before
