import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from huggingface_hub import constants
from peft import PeftModel
from tiny import load_tiny, tiny_model, tuned, write_tiny
from transformers import AutoModelForCausalLM, GPT2Config, GPT2LMHeadModel

from cst.errors import ModelError
from cst.models.adapters import add_lora, load_adapter, save_adapter
from cst.models.loading import load_model
from cst.models.tensors import load_tensors, save_tensors
from models.tiny import edit
from models.tiny_adapters import biased, logits, plain_peft, taught

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


@plain_peft
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
    with pytest.raises(ModelError, match=r"adapter_model.bin is a pickle, .* never opens one.*save_pretrained"):
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
    with pytest.raises(
        ModelError, match=r"adapter of another model, or damaged: size mismatch .*by its own words '.*base"
    ):
        load_adapter(tiny_model(), tmp_path / "adapter")


@plain_peft
@pytest.mark.parametrize("options", [{"modules_to_save": ["lm_head"]}, {"modules_to_save": ["embed_tokens"]}, {}])
def test_embeddings_in_an_adapter_are_refused(options: dict[str, object], tmp_path: Path):
    taught(biased(vocab_size=62), **options).save_pretrained(str(tmp_path), save_embedding_layers=not options)
    for vocabulary in (60, 62):  # a vocabulary that the adapter extended, and one of its own size
        with pytest.raises(ModelError, match=r"brings embeddings or an output head of its own \(base_model"):
            load_adapter(biased(vocab_size=vocabulary), tmp_path)


@plain_peft
def test_an_adapter_on_tied_embeddings_is_refused(tmp_path: Path):
    adapted = taught(biased(tied=False), target_modules=["q_proj", "embed_tokens"])
    adapted.save_pretrained(str(tmp_path), save_embedding_layers=False)
    with pytest.raises(ModelError, match=r"adds to the embeddings .*one tensor in this model"):
        load_adapter(biased(tied=True), tmp_path)
    assert load_adapter(biased(tied=False), tmp_path), "the control: untied, they can be added to"


@plain_peft
@pytest.mark.parametrize(
    ("other", "named"),
    [
        (lambda: biased(num_hidden_layers=1), r"layers\.1\."),
        (lambda: biased(num_hidden_layers=3), r"layers\.2\."),
        (lambda: tiny_model(), "size mismatch"),
        (lambda: GPT2LMHeadModel(GPT2Config(vocab_size=60, n_embd=16, n_layer=1, n_head=2)), "Target modules"),
    ],
)
def test_names_and_shapes_tell_whose_an_adapter_is(other: Callable[[], Any], named: str, tmp_path: Path):
    adapted = taught(biased(), target_modules=["q_proj", "gate_proj"])
    adapted.save_pretrained(str(tmp_path))
    with pytest.raises(ModelError, match=rf"adapter of another model, or damaged: .*{named}"):
        load_adapter(other(), tmp_path)


@plain_peft
@pytest.mark.parametrize("lost", ["norm.weight", "q_proj.base_layer.bias", "lora_B"])
def test_weights_that_are_missing_are_no_start_values(lost: str, tmp_path: Path):
    taught(biased(), bias="all", modules_to_save=["norm"]).save_pretrained(str(tmp_path))
    weights = load_tensors(tmp_path / "adapter_model.safetensors")
    kept = {name: weight for name, weight in weights.items() if lost not in name}
    assert len(kept) < len(weights)
    save_tensors(tmp_path / "adapter_model.safetensors", kept, format="pt")
    with pytest.raises(ModelError, match="adapter of another model"):
        load_adapter(biased(), tmp_path)


def hub(monkeypatch: pytest.MonkeyPatch, cache: Path, name: str, folder: Path) -> str:
    """A hub's cache, offline, that holds a copy of a folder as the repository of that name; and the name."""
    repository = cache / f"models--{name.replace('/', '--')}"
    shutil.copytree(folder, repository / "snapshots" / "0123abc")
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text("0123abc")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(cache))
    return name


def test_an_adapter_of_the_hub_is_the_folder_that_it_holds(base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    save_adapter(tuned(load_tiny(base).model), tmp_path / "adapter", base=str(base))
    name = hub(monkeypatch, tmp_path / "cache", "somebody/an-adapter", tmp_path / "adapter")
    from_hub, local = (load_model(str(base), device="cpu", adapter=given) for given in (name, tmp_path / "adapter"))
    assert from_hub.fingerprint == local.fingerprint != load_tiny(base).fingerprint
    with torch.no_grad():
        assert torch.equal(from_hub.model(TOKENS).logits, local.model(TOKENS).logits)
    with pytest.raises(ModelError, match=r"'nobody/nothing' is no folder here.*download the adapter first"):
        load_model(str(base), device="cpu", adapter="nobody/nothing")
    with pytest.raises(ModelError, match="No adapter folder at"):
        load_model(str(base), device="cpu", adapter=tmp_path / "none")


def test_a_pickle_of_the_hub_is_told_and_never_opened(base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    save_adapter(tuned(load_tiny(base).model), tmp_path / "adapter", base=str(base))
    (tmp_path / "adapter" / "adapter_model.safetensors").unlink()
    name = hub(monkeypatch, tmp_path / "cache", "somebody/a-pickle", tmp_path / "adapter")
    with pytest.raises(ModelError, match=r"somebody/a-pickle has no adapter_model.safetensors.*is a pickle"):
        load_model(str(base), device="cpu", adapter=name)


HONOURED: list[Any] = [
    {},
    {"use_dora": True},
    {"use_rslora": True},
    {"bias": "all"},
    {"bias": "lora_only"},
    pytest.param(
        {"lora_bias": True},
        marks=pytest.mark.filterwarnings("ignore:Adapter 'default'. 4 LoRA tensor"),  # its own, and mistaken
    ),
    {"rank_pattern": {"q_proj": 3}, "alpha_pattern": {"q_proj": 5}},
    {"layers_to_transform": [1], "layers_pattern": "layers"},
    {"modules_to_save": ["norm"]},
    {"target_modules": ".*q_proj"},
    {"exclude_modules": ["k_proj"]},
    {"target_modules": ["q_proj", "lm_head"]},
    {"init_lora_weights": "gaussian", "lora_dropout": 0.5},
]


@plain_peft
@pytest.mark.parametrize("options", HONOURED, ids=str)
def test_what_an_adapter_asks_for_is_done_apart_and_merged(options: dict[str, object], tmp_path: Path):
    ours, saved = taught(biased(), **options), tmp_path / "adapter"
    expected = logits(ours)
    ours.save_pretrained(str(saved), save_embedding_layers=False)
    loaded = load_adapter(biased(), saved)
    assert torch.equal(logits(loaded), expected)
    assert not any(weight.requires_grad for weight in loaded.parameters())
    assert torch.allclose(logits(loaded.merge_and_unload()), expected, atol=1e-4)
    if options.keys() - {"init_lora_weights", "lora_dropout"}:
        assert not gives(expected, without(saved, options)), "the control: passed over, it would be another model"


def without(folder: Path, options: dict[str, object]) -> Path:
    """The adapter, with a configuration that has lost these options."""
    values = json.loads((folder / "adapter_config.json").read_text())
    kept = {key: value for key, value in values.items() if key not in options}
    (folder / "adapter_config.json").write_text(json.dumps(kept))
    return folder


def gives(expected: torch.Tensor, folder: Path) -> bool:
    try:
        return torch.equal(logits(load_adapter(biased(), folder)), expected)
    except ModelError:
        return False


@plain_peft
@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"init_lora_weights": "pissa"}, r'init_lora_weights="pissa"'),
        ({"init_lora_weights": "olora"}, r'init_lora_weights="olora"'),
        ({"trainable_token_indices": [3, 4]}, r"trainable_token_indices=\[3, 4\]"),
        ({"target_parameters": ["layers.0.mlp.down_proj.weight"]}, "target_parameters="),
        ({"alora_invocation_tokens": [3]}, r"alora_invocation_tokens=\[3\]"),
    ],
)
def test_what_is_not_honoured_is_refused_by_name(options: dict[str, object], named: str, tmp_path: Path):
    taught(biased(), **options).save_pretrained(str(tmp_path))
    with pytest.raises(ModelError, match=rf"adapter_config.json asks for {named}.*name the merged model"):
        load_adapter(biased(), tmp_path)


@plain_peft
def test_an_option_of_a_later_peft_is_refused_unless_it_asks_for_nothing(tmp_path: Path):
    taught(biased()).save_pretrained(str(tmp_path))
    edit(tmp_path / "adapter_config.json", use_wonders=False, wonders=None)
    assert load_adapter(biased(), tmp_path)
    edit(tmp_path / "adapter_config.json", use_wonders=True)
    with pytest.raises(ModelError, match="asks for use_wonders=true, which cst doesn't honour"):
        load_adapter(biased(), tmp_path)


@plain_peft
@pytest.mark.parametrize(
    "damage", [{"target_modules": 5}, {"rank_pattern": "q_proj"}, {"r": "four"}, {"r": 0}, {"bias": "some"}], ids=str
)
def test_a_damaged_configuration_is_refused(damage: dict[str, object], tmp_path: Path):
    taught(biased()).save_pretrained(str(tmp_path))
    edit(tmp_path / "adapter_config.json", **damage)
    with pytest.raises(ModelError):
        load_adapter(biased(), tmp_path)
