from pathlib import Path

import pytest
import torch
from running import run, settings

from cst.errors import TrainingError
from cst.models.loading import LoadedModel
from cst.store import read_json
from cst.training.precision import with_precision


@pytest.mark.parametrize(
    ("dtype", "chosen"),
    [(torch.float32, "no"), (torch.float64, "no"), (torch.bfloat16, "bf16"), (torch.float16, "bf16")],
)
def test_weights_of_16_bits_are_computed_in_bf16(dtype: torch.dtype, chosen: str, loaded: LoadedModel):
    model = loaded.model.to(dtype)
    assert with_precision(settings(), model).mixed_precision == chosen
    for asked in ("no", "bf16"):
        assert with_precision(settings(mixed_precision=asked), model).mixed_precision == asked


def test_what_was_chosen_is_kept_with_the_training(loaded: LoadedModel, tmp_path: Path):
    run(loaded, tmp_path, max_steps=1)
    assert read_json(tmp_path / "training.json")["training"]["mixed_precision"] == "no"
    run(loaded, tmp_path, max_steps=1, mixed_precision="no")
    with pytest.raises(TrainingError, match=r"training.mixed_precision differ"):
        run(loaded, tmp_path, max_steps=1, mixed_precision="bf16")
