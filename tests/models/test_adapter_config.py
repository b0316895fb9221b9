import json
from pathlib import Path
from typing import Any

import pytest
import torch

from cst.errors import ModelError
from cst.models.adapters import load_adapter
from models.tiny import edit
from models.tiny_adapters import biased, logits, plain_peft, taught

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
