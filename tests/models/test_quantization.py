"""A quantized base is a model like any other: its gradients are its own, and an adapter learns on it."""

import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch
from peft import PeftModel
from running import LN2, metrics, run
from tiny import tuned, write_tiny
from torch import nn
from transformers import AutoModelForCausalLM

from cst.errors import ModelError, TrainingError
from cst.models.adapters import save_adapter
from cst.models.loading import LoadedModel, load_model
from cst.models.merging import merge_adapter
from cst.models.quantization import Quantization, is_exact
from models.tiny import edit

TOKENS = torch.tensor([[1, 3, 40, 50, 60, 7, 90, 12]])

needs_bitsandbytes = pytest.mark.skipif(find_spec("bitsandbytes") is None, reason="needs bitsandbytes")


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny(tmp_path_factory.mktemp("base") / "model")


def load(base: Path, kind: Quantization, dtype: str = "float32") -> LoadedModel:
    return load_model(str(base), device="cpu", dtype=dtype, quantization=kind)


def gradients(model: nn.Module) -> torch.Tensor:
    """Of a loss on an adapter that has learned something, after an evaluation: the order of a training."""
    policy = tuned(model)
    with torch.no_grad():
        policy(TOKENS)
    policy(TOKENS).logits.log_softmax(-1)[0, :-1].gather(1, TOKENS[0, 1:, None]).sum().backward()
    return torch.cat([p.grad.flatten() for p in policy.parameters() if p.requires_grad])


@needs_bitsandbytes
def test_gradients_are_those_of_the_weights_that_four_bits_stand_for(base: Path):
    """bitsandbytes drops them without a word in evaluation mode on some CPUs."""
    quantized = load(base, "4bit")
    expected = gradients(load(base, "4bit").model.dequantize(torch.float32))
    assert torch.allclose(gradients(quantized.model), expected, rtol=1e-4, atol=1e-5 * float(expected.abs().max()))
    other = gradients(load(base, "none").model)
    assert (other - expected).norm() > 0.05 * expected.norm(), "the control: four bits stand for other weights"


@needs_bitsandbytes
@pytest.mark.parametrize(("kind", "dtype"), [("8bit", "bfloat16"), ("4bit", "bfloat16"), ("4bit", "float32")])
def test_an_adapter_learns_in_packs(
    kind: Quantization, dtype: str, base: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    loaded = load(base, kind, dtype)
    assert is_exact(loaded.model) == (dtype == "float32")
    result = run(loaded, tmp_path)
    assert result.first_loss == pytest.approx(LN2, abs=1e-6 if is_exact(loaded.model) else 1e-2)
    assert result.last_loss < 0.3
    assert not any("padded" in record.getMessage() for record in caplog.records)


@needs_bitsandbytes
def test_packed_and_padded_are_the_same_training_on_four_bits(base: Path, tmp_path: Path):
    for name, dropout in (("packed", 0.0), ("padded", 1e-12)):
        run(load(base, "4bit"), tmp_path / name, lora_dropout=dropout)
    losses = [[line.loss for line in metrics(tmp_path / name)] for name in ("packed", "padded")]
    assert losses[0] == pytest.approx(losses[1], abs=1e-4)


@needs_bitsandbytes
@pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated:FutureWarning")  # peft's own
def test_the_adapter_is_plain_peft_and_answers_on_the_base_it_was_made_for(base: Path, tmp_path: Path):
    save_adapter(tuned(load(base, "4bit").model), tmp_path / "adapter", base=str(base))
    plain = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(base), tmp_path / "adapter")
    exact = tuned(load(base, "none").model)
    again = load_model(
        str(base), device="cpu", quantization="4bit", adapter=tmp_path / "adapter", merge_adapter=True
    ).model
    with torch.no_grad():
        assert torch.allclose(plain(TOKENS).logits, exact(TOKENS).logits, atol=1e-5)
        assert torch.equal(again(TOKENS).logits, tuned(load(base, "4bit").model)(TOKENS).logits)
    assert isinstance(again, PeftModel), "an adapter merged into four bits would be rounded to them"


@needs_bitsandbytes
def test_a_saved_adapter_answers_on_eight_bits_as_it_was_trained_on_them(base: Path, tmp_path: Path):
    trained = tuned(load(base, "8bit").model)
    save_adapter(trained, tmp_path / "adapter", base=str(base))
    again = load_model(
        str(base), device="cpu", quantization="8bit", adapter=tmp_path / "adapter", merge_adapter=True
    ).model
    with torch.no_grad():
        assert torch.equal(again(TOKENS).logits, trained(TOKENS).logits)
        assert not torch.equal(again(TOKENS).logits, load(base, "8bit").model(TOKENS).logits)
    assert isinstance(again, PeftModel), "an adapter merged into eight bits would be rounded to them"


@needs_bitsandbytes
def test_another_quantization_is_another_model(base: Path, tmp_path: Path):
    assert len({load(base, kind).fingerprint for kind in ("none", "8bit", "4bit")}) == 3
    run(load(base, "4bit"), tmp_path, max_steps=1)
    with pytest.raises(TrainingError, match=r"reference.weights"):
        run(load(base, "none"), tmp_path, max_steps=1)


def test_weights_that_are_quantized_already_are_refused(base: Path, tmp_path: Path):
    folder = write_tiny(tmp_path / "quantized")
    edit(folder / "config.json", quantization_config={"quant_method": "bitsandbytes", "load_in_4bit": True})
    with pytest.raises(ModelError, match="has quantized already"):
        load_model(str(folder), device="cpu")
    with pytest.raises(ModelError, match="Name the model that they were made from"):
        merge_adapter(str(folder), tmp_path / "adapter", tmp_path / "merged")


def test_without_bitsandbytes_one_line_says_what_to_install(base: Path):
    program = (
        "import sys; sys.modules['bitsandbytes'] = None\n"
        "from cst.models.loading import load_model\n"
        f"load_model({str(base)!r}, device='cpu', quantization='4bit')"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.stderr.splitlines()[-1] == (
        "cst.errors.ModelError: model.quantization=4bit needs bitsandbytes, which isn't installed. Install it "
        "(pip install 'configurable-safety-tuning[quantization]'), or leave model.quantization out."
    )
