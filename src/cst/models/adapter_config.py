"""What a saved adapter's configuration asks for: taken where it is honoured to the letter, refused by name otherwise.

Whatever peft may add to its LoRA later is refused until it is looked at: an option that is passed over would make
another model of the same weights, without a word. This file knows no weights.
"""

import json
from pathlib import Path
from typing import Any, cast

from peft import LoraConfig

from cst.errors import ModelError
from cst.models.folders import ADAPTER_FILES
from cst.store import read_json

_HONOURED = (
    *("r", "lora_alpha", "rank_pattern", "alpha_pattern", "use_rslora", "use_dora", "lora_bias", "bias"),
    *("lora_dropout", "fan_in_fan_out", "modules_to_save"),
    *("target_modules", "exclude_modules", "layers_to_transform", "layers_pattern"),
)
"""What decides an adapter's answers; tests/models/test_adapter_config.py compares each with peft's own loading."""

_OF_NO_EFFECT = {
    *(
        "peft_type",
        "peft_version",
        "task_type",
        "auto_mapping",
        "inference_mode",
        "base_model_name_or_path",
        "revision",
    ),
    *("loftq_config", "eva_config"),
}
"""Notes, and how training began."""

_HARMLESS_STARTS = (True, False, "gaussian", "orthogonal", "eva")
"""Ways to begin A and B that leave the model as it is. Others (PiSSA, OLoRA, CorDA, LoftQ) change the model's weights,
so that the adapter fits another model than the one that it names."""


def lora_config(folder: Path) -> LoraConfig:
    """The configuration of an adapter's folder, in which start values aren't asked for: they are loaded.

    Raises:
        ModelError: It is no LoRA adapter's, or asks for what isn't honoured, or can't be read.
        DataError: The file is no JSON.
    """
    values = read_json(folder / ADAPTER_FILES[0])
    if not isinstance(values, dict) or cast(dict[str, Any], values).get("peft_type") != "LORA":
        raise ModelError(f"{folder / ADAPTER_FILES[0]} describes no LoRA adapter. Only LoRA adapters can be used.")
    _reject_strange(cast(dict[str, Any], values), folder)
    asked = {key: values[key] for key in _HONOURED if values.get(key) is not None}
    try:
        return LoraConfig(task_type="CAUSAL_LM", **asked)
    except (TypeError, ValueError) as error:
        raise ModelError(
            f"{folder / ADAPTER_FILES[0]} can't be used: {error}. Restore or re-download the adapter."
        ) from error


def _reject_strange(values: dict[str, Any], folder: Path) -> None:
    usual = LoraConfig()
    for key, value in values.items():
        is_known = key in _HONOURED or key in _OF_NO_EFFECT
        if key == "init_lora_weights" and value in _HARMLESS_STARTS:
            continue
        if not is_known and value and value != getattr(usual, key, None):
            raise ModelError(
                f"{folder / ADAPTER_FILES[0]} asks for {key}={json.dumps(value)[:80]}, which cst doesn't honour. Merge "
                "the adapter with the peft that made it (merge_and_unload, save_pretrained), and name the merged model."
            )
