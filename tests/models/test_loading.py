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

from cst.errors import ModelError, RenderingError, TrainingError
from cst.models.adapters import save_adapter
from cst.models.folders import model_fingerprint
from cst.models.loading import (
    LoadedModel,
    Quantization,
    is_exact,
    load_classifier,
    load_model,
    load_renderer,
    load_tokenizer,
)
from cst.models.merging import merge_adapter
from models.families import NO_TEMPLATE, conversation, tokenizer_of
from models.tiny import edit, model_folder
from models.tiny_classifiers import classifier_folder


def test_halves_on_the_disk_are_floats_on_a_cpu(whole: Path) -> None:
    loaded = load_model(str(whole), device="cpu")
    assert {parameter.dtype for parameter in loaded.model.parameters()} == {torch.float32}
    assert loaded.checkpoint_dtype == torch.float16
    assert not loaded.model.training
    assert loaded.path == str(whole)
    assert loaded.renderer.prompt(conversation(None, "Hi"))


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
def test_the_type_asked_for_is_the_type(whole: Path, dtype) -> None:
    assert load_model(str(whole), dtype=dtype, device="cpu").model.dtype == getattr(torch, dtype)


def test_loading_says_nothing(whole: Path, capfd: pytest.CaptureFixture[str]) -> None:
    load_model(str(whole), device="cpu")
    assert capfd.readouterr() == ("", "")


def test_a_template_of_ones_own(whole: Path, tmp_path: Path) -> None:
    template = tmp_path / "mine.jinja"
    template.write_text(
        "{{ messages[-1]['content'] + '<|assistant|>' }}{% if messages[-1].role == 'assistant' %}{% endif %}"
    )
    with pytest.raises(RenderingError, match=r"loses a turn|differently"):
        load_model(str(whole), chat_template=template)
    template.write_text(
        "{% for m in messages %}<|{{ m.role }}|>{{ m.content }}<|end|>{% endfor %}"
        "{% if add_generation_prompt %}<|assistant|>{% endif %}"
    )
    mine = load_model(str(whole), chat_template=template)
    assert mine.fingerprint != load_model(str(whole)).fingerprint
    assert mine.tokenizer.decode(mine.renderer.prompt(conversation(None, "Hi"))) == "<|user|>Hi<|end|><|assistant|>"
    with pytest.raises(ModelError, match="can't be read"):
        load_model(str(whole), chat_template=tmp_path / "none.jinja")


def test_an_unknown_architecture(folder: Path) -> None:
    edit(folder / "config.json", model_type="nonesuch", architectures=["NoneSuch"])
    with pytest.raises(ModelError, match="nonesuch"):
        load_model(str(folder))


def test_cut_weights(folder: Path) -> None:
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    with pytest.raises(ModelError, match="can't be loaded"):
        load_model(str(folder))


def test_weights_of_another_shape(folder: Path) -> None:
    edit(folder / "config.json", intermediate_size=64)
    with pytest.raises(ModelError, match="can't be loaded"):
        load_model(str(folder))


def test_weights_that_are_not_there_are_no_random_numbers(folder: Path) -> None:
    edit(folder / "config.json", num_hidden_layers=3)
    with pytest.raises(ModelError, match=r"lacks \d+ weights of its architecture \(model.layers.2"):
        load_model(str(folder))


def test_no_tokenizer(folder: Path) -> None:
    for name in ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja", "special_tokens_map.json"):
        (folder / name).unlink(missing_ok=True)
    with pytest.raises(ModelError, match="No tokenizer in"):
        load_tokenizer(str(folder))


def test_a_damaged_tokenizer(folder: Path) -> None:
    (folder / "tokenizer.json").write_text("{}")
    with pytest.raises(ModelError, match=r"The tokenizer in .* can't be loaded"):
        load_model(str(folder))


def test_a_tokenizer_without_template(folder: Path) -> None:
    (folder / "chat_template.jinja").unlink()
    tokenizer_of(NO_TEMPLATE).save_pretrained(folder)
    with pytest.raises(RenderingError, match="has no chat template"):
        load_model(str(folder))


def test_a_tokenizer_of_another_model(tmp_path: Path) -> None:
    folder = model_folder(tmp_path / "small", vocab_size=300)
    with pytest.raises(ModelError, match=r"has \d+ tokens, its model embeds 300"):
        load_model(str(folder))


def test_a_system_policy_reaches_the_renderer(whole: Path) -> None:
    assert load_model(str(whole), system_policy="fold_into_user").renderer.describe().system_policy == "fold_into_user"


def test_renderer_and_fingerprint_need_no_weights_in_memory(whole: Path) -> None:
    loaded = load_model(str(whole), device="cpu", system_policy="fold_into_user")
    renderer = load_renderer(str(whole), system_policy="fold_into_user")
    assert renderer.describe() == loaded.renderer.describe()
    assert model_fingerprint(str(whole)) == loaded.fingerprint


def test_a_classifier_is_known_by_its_bytes(tmp_path: Path) -> None:
    first, again, other = (
        load_classifier(str(classifier_folder(tmp_path / name, seed=seed)), device="cpu")
        for name, seed in (("a", 0), ("b", 0), ("c", 1))
    )
    assert first.fingerprint == again.fingerprint == model_fingerprint(str(tmp_path / "a"))
    assert first.fingerprint != other.fingerprint
    assert not first.model.training


@pytest.mark.parametrize("device", ["cuda:99", "gpu"])
def test_a_device_that_is_not_there_is_named(device: str, whole: Path) -> None:
    with pytest.raises(ModelError, match=f"device='{device}' can't be used here: .* Name another one"):
        load_model(str(whole), device=device)


def test_a_classifier_is_never_read_from_a_pickle(tmp_path: Path) -> None:
    folder = classifier_folder(tmp_path / "m")
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    with pytest.raises(ModelError, match="pickle files only"):
        load_classifier(str(folder))


def test_a_model_without_a_head_is_no_classifier(whole: Path) -> None:
    with pytest.raises(ModelError, match=r"lacks 1 weights of its architecture \(score.weight"):
        load_classifier(str(whole))


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
