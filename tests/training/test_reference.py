import shutil
from contextlib import nullcontext
from pathlib import Path

import pytest
import torch
from accelerate import Accelerator
from running import files, forward_hook, run
from tiny import load_tiny, mirrored_preferences, tiny_model, write_tiny

from cst.errors import CstError, ModelError, TrainingError
from cst.models.loading import LoadedModel
from cst.models.tensors import save_tensors
from cst.store import fingerprint
from cst.training.batches import tokenize
from cst.training.logps import response_logps
from cst.training.reference import reference_logps
from cst.training.scoring import Packed

IDENTITY = {"weights": "a", "tokens": "b"}
NAME = "reference.safetensors"


def compute(
    loaded: LoadedModel, file: Path, identity: dict[str, str] = IDENTITY, given: Path | None = None
) -> torch.Tensor:
    return reference_logps(
        tokenize(mirrored_preferences(3), loaded.renderer),
        model=loaded.model,
        scorer=Packed(500),
        accelerator=Accelerator(cpu=True),
        autocast=nullcontext(),
        file=file,
        identity=identity,
        given=given,
    )


def refuse(*_: object) -> None:
    raise AssertionError("the model was used")


def test_it_is_the_start_model_computed_once(loaded: LoadedModel, tmp_path: Path):
    found = compute(loaded, tmp_path / NAME)
    rows = tokenize(mirrored_preferences(3), loaded.renderer)
    with torch.no_grad():
        for column, side in enumerate(([row.chosen for row in rows], [row.rejected for row in rows])):
            alone = response_logps(loaded.model, side, pad_token_id=0, batch_size=1).logps
            assert torch.allclose(found[:, column], alone, atol=1e-4)
    assert not found.requires_grad
    with forward_hook(loaded, refuse):
        assert torch.equal(compute(loaded, tmp_path / NAME), found)


def test_that_of_another_training_is_taken_and_kept(loaded: LoadedModel, tmp_path: Path):
    found = compute(loaded, tmp_path / "one" / NAME)
    with forward_hook(loaded, refuse):
        assert torch.equal(compute(loaded, tmp_path / "two" / NAME, given=tmp_path / "one" / NAME), found)
        shutil.rmtree(tmp_path / "one")
        assert torch.equal(compute(loaded, tmp_path / "two" / NAME, given=tmp_path / "one" / NAME), found)
    with pytest.raises(TrainingError, match=r"There is no reference .*one/reference.safetensors"):
        compute(loaded, tmp_path / "three" / NAME, given=tmp_path / "one" / NAME)


def test_a_sweep_takes_it_to_the_same_bytes(loaded: LoadedModel, tmp_path: Path):
    run(loaded, tmp_path / "first", max_steps=1)
    run(loaded, tmp_path / "computed", max_steps=2, beta=0.2)
    run(loaded, tmp_path / "taken", max_steps=2, beta=0.2, reference=tmp_path / "first" / NAME)
    assert files(tmp_path / "taken") == files(tmp_path / "computed")


def test_a_model_that_lies_elsewhere_is_the_same_model(loaded: LoadedModel, tmp_path: Path):
    run(loaded, tmp_path / "here", max_steps=1)
    elsewhere = load_tiny(Path(shutil.copytree(loaded.path, tmp_path / "model")))
    run(elsewhere, tmp_path / "there", max_steps=1, beta=0.2, reference=tmp_path / "here" / NAME)
    assert (tmp_path / "there" / NAME).read_bytes() == (tmp_path / "here" / NAME).read_bytes()


def test_that_of_another_model_on_other_rows_is_refused_with_what_changed(loaded: LoadedModel, tmp_path: Path):
    run(loaded, tmp_path / "one", max_steps=1)
    write_tiny(tmp_path / "model")
    tiny_model(1).save_pretrained(tmp_path / "model")
    other = load_tiny(tmp_path / "model")
    told = rf"weights was {loaded.fingerprint[:12]} and is {other.fingerprint[:12]}, tokens was \w+ and is \w+\. Remove"
    with pytest.raises(TrainingError, match=rf"one/{NAME} was computed for other weights, tokens: {told}"):
        run(other, tmp_path / "two", n=3, reference=tmp_path / "one" / NAME)
    assert not (tmp_path / "two" / NAME).exists()


def test_what_changed_is_named(loaded: LoadedModel, tmp_path: Path):
    compute(loaded, tmp_path / NAME)
    with pytest.raises(TrainingError, match=r"other weights, dtype: weights was a and is c, dtype was absent and is f"):
        compute(loaded, tmp_path / NAME, IDENTITY | {"weights": "c", "dtype": "f"})


def test_no_changed_byte_is_let_through(loaded: LoadedModel, tmp_path: Path):
    compute(loaded, tmp_path / NAME)
    whole = (tmp_path / NAME).read_bytes()
    for place in range(len(whole)):
        (tmp_path / NAME).write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
        with pytest.raises(CstError, match=r"reference.safetensors (is damaged|was computed|can't be read)"):
            compute(loaded, tmp_path / NAME)


@pytest.mark.parametrize("kept", [0, 4, 200, -8])
def test_a_cut_file_is_refused(kept: int, loaded: LoadedModel, tmp_path: Path):
    compute(loaded, tmp_path / NAME)
    (tmp_path / NAME).write_bytes((tmp_path / NAME).read_bytes()[:kept])
    with pytest.raises(ModelError, match="can't be read"):
        compute(loaded, tmp_path / NAME)


@pytest.mark.parametrize(
    ("logps", "expected"),
    [
        (torch.zeros(5, 2).double(), r"torch.float64 of the shape \[5, 2\], and torch.float64 of \[6, 2\] is needed"),
        (torch.zeros(6, 2), r"torch.float32 of the shape \[6, 2\]"),
        (torch.full((6, 2), torch.nan).double(), "12 of its 12 log-probs aren't finite"),
        (torch.ones(6, 2).double(), "its log-probs hash to"),
    ],
)
def test_what_is_not_the_log_probs_of_the_rows_is_refused(
    logps: torch.Tensor, expected: str, loaded: LoadedModel, tmp_path: Path
):
    zeros = torch.zeros(6, 2).double()
    note = IDENTITY | {"sha256": fingerprint(zeros.tolist())}
    save_tensors(tmp_path / NAME, {"logps": zeros}, note=note)
    assert torch.equal(compute(loaded, tmp_path / NAME), zeros)
    save_tensors(tmp_path / NAME, {"logps": logps}, note=note)
    with pytest.raises(TrainingError, match=f"is damaged: .*{expected}"):
        compute(loaded, tmp_path / NAME)


def test_a_start_model_without_finite_log_probs_is_told_by_its_row(loaded: LoadedModel, tmp_path: Path):
    torch.nn.init.constant_(loaded.model.model.norm.weight, torch.nan)
    with pytest.raises(TrainingError, match=r"log-probs of 6 of 6 rows aren't finite \(row 'harmless-0': \[nan, nan"):
        compute(loaded, tmp_path / NAME)
    assert not (tmp_path / NAME).exists()
