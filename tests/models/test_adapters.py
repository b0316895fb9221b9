import json
import shutil
from pathlib import Path

import pytest
import torch
from peft import PeftModel
from tiny import load_tiny, tiny_model, tuned, write_tiny
from transformers import AutoModelForCausalLM

from cst.errors import ModelError
from cst.models.adapters import add_lora, load_adapter, save_adapter
from cst.models.loading import load_model

TOKENS = torch.tensor([[1, 3, 40, 50, 60]])


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny(tmp_path_factory.mktemp("base") / "model")


def test_a_fresh_adapter_changes_nothing_and_is_all_that_learns():
    model = tiny_model()
    with torch.no_grad():
        before = model(TOKENS).logits
    adapted = add_lora(model, r=4, alpha=8, dropout=0.0, target_modules="all-linear", seed=0)
    assert torch.equal(adapted(TOKENS).logits, before)
    learning = [name for name, parameter in adapted.named_parameters() if parameter.requires_grad]
    assert learning
    assert all("lora_" in name for name in learning)
    assert not any("lm_head" in name for name in learning)


def test_start_values_come_from_the_seed_alone():
    def start(seed: int) -> torch.Tensor:
        torch.rand(seed + 3)
        adapted = add_lora(tiny_model(), r=2, alpha=2, dropout=0.0, target_modules=("q_proj",), seed=seed)
        return torch.cat([p.flatten() for n, p in adapted.named_parameters() if "lora_A" in n])

    state = torch.random.get_rng_state()
    one = start(0)
    torch.random.set_rng_state(state)
    torch.rand(7)
    expected = torch.random.get_rng_state()
    torch.random.set_rng_state(state)
    torch.rand(7)
    assert torch.equal(torch.random.get_rng_state(), expected)
    assert torch.equal(start(0), one)
    assert not torch.equal(start(1), one)


@pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated:FutureWarning")  # peft's own
def test_plain_peft_reads_it_with_the_same_logits(base: Path, tmp_path: Path):
    ours = tuned(load_tiny(base).model)
    save_adapter(ours, tmp_path / "adapter", base=str(base))
    plain = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(base), tmp_path / "adapter")
    loaded = load_adapter(load_tiny(base).model, tmp_path / "adapter")
    through_loading = load_model(str(base), device="cpu", adapter=tmp_path / "adapter")
    with torch.no_grad():
        expected = ours(TOKENS).logits
        assert torch.equal(plain(TOKENS).logits, expected)
        assert torch.equal(loaded(TOKENS).logits, expected)
        assert torch.equal(through_loading.model(TOKENS).logits, expected)
    assert sorted(p.name for p in (tmp_path / "adapter").iterdir()) == [
        "adapter_config.json",
        "adapter_model.safetensors",
    ]
    targets = json.loads((tmp_path / "adapter" / "adapter_config.json").read_text())["target_modules"]
    assert targets == sorted(targets)
    assert {target.rsplit(".")[-1] for target in targets} == {
        "q_proj",
        "k_proj",
        "v_proj",
        "o_proj",
        "gate_proj",
        "up_proj",
        "down_proj",
    }


def test_a_second_adapter_is_refused():
    adapted = tuned(tiny_model())
    with pytest.raises(ModelError, match="carries an adapter already"):
        add_lora(adapted, r=1, alpha=1, dropout=0.0, target_modules="all-linear", seed=0)


def test_a_module_that_is_not_there_is_named_with_those_that_are():
    with pytest.raises(ModelError, match=r"'query'.*down_proj.*q_proj"):
        add_lora(tiny_model(), r=1, alpha=1, dropout=0.0, target_modules=("query",), seed=0)


def test_a_folder_that_is_no_adapter_is_refused(base: Path, tmp_path: Path):
    with pytest.raises(ModelError, match="holds no adapter"):
        load_adapter(tiny_model(), tmp_path)
    save_adapter(tuned(load_tiny(base).model), tmp_path / "adapter", base=str(base))
    pickled = shutil.copytree(tmp_path / "adapter", tmp_path / "pickled")
    (pickled / "adapter_model.safetensors").rename(pickled / "adapter_model.bin")
    with pytest.raises(ModelError, match="holds no adapter"):
        load_adapter(tiny_model(), pickled)
    config = pickled / "adapter_config.json"
    (pickled / "adapter_model.bin").rename(pickled / "adapter_model.safetensors")
    config.write_text(json.dumps({"peft_type": "IA3"}))
    with pytest.raises(ModelError, match="no LoRA adapter"):
        load_adapter(tiny_model(), pickled)


def test_an_adapter_of_another_model_is_refused(base: Path, tmp_path: Path):
    save_adapter(tuned(load_tiny(base).model, r=2), tmp_path / "adapter", base=str(base))
    config = tmp_path / "adapter" / "adapter_config.json"
    config.write_text(config.read_text().replace('"r": 2', '"r": 3'))
    with pytest.raises(ModelError, match="adapter of another model"):
        load_adapter(tiny_model(), tmp_path / "adapter")
