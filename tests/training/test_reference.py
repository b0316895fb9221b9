from contextlib import nullcontext
from pathlib import Path

import pytest
import torch
from accelerate import Accelerator
from running import forward_hook, run
from tiny import mirrored_preferences

from cst.errors import ModelError, TrainingError
from cst.models.loading import LoadedModel
from cst.training.batches import tokenize
from cst.training.logps import response_logps
from cst.training.reference import reference_logps
from cst.training.scoring import Packed


def test_a_stale_reference_is_refused(loaded: LoadedModel, tmp_path: Path):
    run(loaded, tmp_path / "one", max_steps=1)
    (tmp_path / "two").mkdir()
    (tmp_path / "one" / "reference.safetensors").rename(tmp_path / "two" / "reference.safetensors")
    with pytest.raises(TrainingError, match=r"computed for other tokens: .*Remove the file"):
        run(loaded, tmp_path / "two", n=3)


IDENTITY = {"weights": "a", "tokens": "b"}


def compute(loaded: LoadedModel, file: Path, identity: dict[str, str]) -> torch.Tensor:
    return reference_logps(
        tokenize(mirrored_preferences(3), loaded.renderer),
        model=loaded.model,
        scorer=Packed(500),
        accelerator=Accelerator(cpu=True),
        autocast=nullcontext(),
        file=file,
        identity=identity,
    )


def test_it_is_the_start_model_computed_once(loaded: LoadedModel, tmp_path: Path):
    found = compute(loaded, tmp_path / "reference.safetensors", IDENTITY)
    rows = tokenize(mirrored_preferences(3), loaded.renderer)
    with torch.no_grad():
        for column, side in enumerate(([row.chosen for row in rows], [row.rejected for row in rows])):
            alone = response_logps(loaded.model, side, pad_token_id=0, batch_size=1).logps
            assert torch.allclose(found[:, column], alone, atol=1e-4)
    assert not found.requires_grad

    def refuse(*_: object) -> None:
        raise AssertionError("the model was used")

    with forward_hook(loaded, refuse):
        assert torch.equal(compute(loaded, tmp_path / "reference.safetensors", IDENTITY), found)


def test_what_changed_is_named(loaded: LoadedModel, tmp_path: Path):
    compute(loaded, tmp_path / "reference.safetensors", IDENTITY)
    with pytest.raises(TrainingError, match=r"computed for other weights: weights is c now and was a"):
        compute(loaded, tmp_path / "reference.safetensors", IDENTITY | {"weights": "c"})


def test_a_cut_file_is_refused(loaded: LoadedModel, tmp_path: Path):
    file = tmp_path / "reference.safetensors"
    compute(loaded, file, IDENTITY)
    file.write_bytes(file.read_bytes()[:-8])
    with pytest.raises(ModelError, match="can't be read"):
        compute(loaded, file, IDENTITY)
