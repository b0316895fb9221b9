"""LoRA adapters through peft: added, saved, loaded.

An adapter's folder is plain peft (adapter_config.json, adapter_model.safetensors), and the same weights give the same
bytes. An option in a saved configuration is either honoured exactly or rejected by name: to skip one would silently
make another model of the same weights. This file doesn't know training, nor where models come from.
"""

import json
import warnings
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Literal, cast

import torch
from peft import LoraConfig, PeftModel, get_peft_model, get_peft_model_state_dict, set_peft_model_state_dict
from peft.tuners.tuners_utils import BaseTunerLayer
from torch import nn
from transformers import PreTrainedModel

from cst.errors import ModelError
from cst.models.folders import ADAPTER_FILES, adapter_folder
from cst.models.tensors import load_tensors, save_tensors, whole_folder
from cst.store import read_json, write_json

CONFIG_FILE, WEIGHTS_FILE = ADAPTER_FILES

TargetModules = Literal["all-linear"] | tuple[str, ...]

_MERGE_ELSEWHERE = "Merge it with the tool that made it, and name the merged model."

_HONOURED = (
    *("r", "lora_alpha", "rank_pattern", "alpha_pattern", "use_rslora", "use_dora", "lora_bias", "bias"),
    *("lora_dropout", "fan_in_fan_out", "modules_to_save"),
    *("target_modules", "exclude_modules", "layers_to_transform", "layers_pattern"),
)
"""What decides an adapter's answers; tests/models/test_adapters.py compares each with peft's own loading."""

_OF_NO_EFFECT = {
    *("peft_type", "peft_version", "task_type", "auto_mapping", "inference_mode", "base_model_name_or_path"),
    *("revision", "loftq_config", "eva_config"),
}
"""Notes, and how training began."""

_HARMLESS_STARTS = (True, False, "gaussian", "orthogonal", "eva")
"""Ways to initialise A and B that leave the model as it is. Others (PiSSA, OLoRA, CorDA, LoftQ) change the model's
weights, so that the adapter fits another model than the one it names."""


def add_lora(
    model: PreTrainedModel, *, r: int, alpha: float, dropout: float, target_modules: TargetModules, seed: int
) -> PeftModel:
    """A fresh adapter on `model`, whose linear layers are replaced in place and whose weights are frozen.

    A is drawn (Kaiming uniform, as in peft) from `seed` alone, B is 0: the adapter changes nothing yet. Adapter weights
    are float32 even where the model's are not. `PeftModel.unload` takes the adapter off again.

    Raises:
        ModelError: `model` carries an adapter already, or has no such modules.
    """
    if any(isinstance(module, BaseTunerLayer) for module in model.modules()):
        raise ModelError("The model carries an adapter already. Merge it with `cst merge`, and train the merged model.")
    config = LoraConfig(
        r=r,
        lora_alpha=alpha,  # pyright: ignore[reportArgumentType] - peft divides by r, a float is as good
        lora_dropout=dropout,
        target_modules=target_modules if isinstance(target_modules, str) else list(target_modules),
        task_type="CAUSAL_LM",
    )
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        try:
            return _wrap(model, config)
        except ValueError as error:
            known = sorted(
                {name.rsplit(".")[-1] for name, part in model.named_modules() if isinstance(part, nn.Linear)}
            )
            raise ModelError(
                f"No adapter fits lora_target_modules={target_modules!r}: {error} "
                f"The model's linear layers are {known}."
            ) from error


def _wrap(model: PreTrainedModel, config: LoraConfig) -> PeftModel:
    with warnings.catch_warnings():
        # peft 0.21 asks transformers for a name that 5.23 calls deprecated; it is no concern of a user's.
        warnings.filterwarnings("ignore", message="`is_gradient_checkpointing` is deprecated", category=FutureWarning)
        return get_peft_model(model, config)


def save_adapter(model: PeftModel, folder: Path, *, base: str) -> None:
    """Write the adapter as peft reads it; `base` is the path or hub id of the model that it belongs to."""
    with whole_folder(folder) as partial:
        weights = get_peft_model_state_dict(model, save_embedding_layers=False)
        save_tensors(partial / WEIGHTS_FILE, weights, format="pt")
        write_json(partial / CONFIG_FILE, _config_values(model, base))


def _config_values(model: PeftModel, base: str) -> dict[str, Any]:
    """The adapter's configuration with sets sorted: peft writes them in an order that changes from run to run."""
    config = model.peft_config["default"]
    values: dict[str, Any] = config.to_dict() | {"base_model_name_or_path": base, "inference_mode": True}
    return {key: sorted(value) if isinstance(value, set) else value for key, value in sorted(values.items())}


def load_adapter(model: PreTrainedModel, adapter: str | Path) -> PeftModel:
    """Put a saved adapter, named by its folder or hub id, on `model`, in place, for inference.

    Raises:
        ModelError: There is no such adapter in safetensors, or it is one of another model, or asks for what isn't
            honoured.
        DataError: Its configuration is no JSON.
    """
    folder = adapter_folder(adapter)
    config, weights = _lora_config(folder), load_tensors(folder / WEIGHTS_FILE)
    _reject_embeddings(weights, model, folder)
    try:
        wrapped = _wrap(model, config)
        result: Any = set_peft_model_state_dict(wrapped, weights)
    except (RuntimeError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise _of_another_model(folder, str(error).strip().splitlines()[-1].strip()) from error
    strange = _not_as_trained(wrapped, set(result.missing_keys)) + list(result.unexpected_keys)
    if strange:
        raise _of_another_model(folder, f"{strange[0]} doesn't fit")
    wrapped.requires_grad_(False)
    return wrapped.eval()


def _lora_config(folder: Path) -> LoraConfig:
    """The configuration of an adapter's folder, without initialisation: the weights are loaded."""
    path = folder / CONFIG_FILE
    values = read_json(path)
    if not isinstance(values, dict) or cast(dict[str, Any], values).get("peft_type") != "LORA":
        raise ModelError(f"{path} describes no LoRA adapter. Only LoRA adapters can be used.")
    _reject_strange(cast(dict[str, Any], values), path)
    asked = {key: values[key] for key in _HONOURED if values.get(key) is not None}
    try:
        return LoraConfig(task_type="CAUSAL_LM", **asked)
    except (TypeError, ValueError) as error:
        raise ModelError(f"{path} can't be used: {error}. Restore or re-download the adapter.") from error


def _reject_strange(values: dict[str, Any], path: Path) -> None:
    usual = LoraConfig()
    for key, value in values.items():
        is_known = key in _HONOURED or key in _OF_NO_EFFECT
        if key == "init_lora_weights" and value in _HARMLESS_STARTS:
            continue
        if not is_known and value and value != getattr(usual, key, None):
            raise ModelError(
                f"{path} asks for {key}={json.dumps(value)[:80]}, which cst doesn't honour. Merge "
                "the adapter with the peft that made it (merge_and_unload, save_pretrained), and name the merged model."
            )


def _reject_embeddings(weights: Iterable[str], model: PreTrainedModel, folder: Path) -> None:
    """An adapter may add to embeddings and head, but not bring its own; and add to none where both are one tensor."""
    ends = (model.get_input_embeddings(), model.get_output_embeddings())
    names = [name for name, module in model.named_modules() if module in ends]
    touched = [key for key in weights if any(f".{name}." in key for name in names)]
    own = [key for key in touched if "lora_" not in key]
    if own:
        raise ModelError(
            f"{folder} brings embeddings or an output head of its own ({own[0]}): it was saved with them, or has a "
            f"vocabulary of its own. {_MERGE_ELSEWHERE}"
        )
    if touched and getattr(model.config, "tie_word_embeddings", False):
        raise ModelError(
            f"{folder} adds to the embeddings or the output head ({touched[0]}), which are one tensor in this model: "
            f"merged, it would change both. Train it on other modules."
        )


def _not_as_trained(model: PeftModel, missing: set[str]) -> list[str]:
    """Weights of the adapter that weren't in its file, and weights of the model that were."""
    trained = {name: weight.requires_grad for name, weight in model.named_parameters(remove_duplicate=False)}
    return sorted(name for name, is_adapters in trained.items() if is_adapters == (name in missing))


def _of_another_model(folder: Path, reason: str) -> ModelError:
    made_for = read_json(folder / CONFIG_FILE).get("base_model_name_or_path")
    return ModelError(
        f"{folder} is an adapter of another model, or damaged: {reason.rstrip('.')}. Load the model it was made for"
        + (f", by its own words {made_for!r}." if made_for else ".")
    )
