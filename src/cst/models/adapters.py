"""LoRA adapters through peft: added, saved, loaded.

An adapter's folder is plain peft (adapter_config.json, adapter_model.safetensors), written with the same bytes for the
same weights. This file knows nothing of training, nor of where models come from.
"""

import warnings
from pathlib import Path
from typing import Any, Literal

import torch
from peft import LoraConfig, PeftModel, get_peft_model, get_peft_model_state_dict, set_peft_model_state_dict
from peft.tuners.tuners_utils import BaseTunerLayer
from torch import nn
from transformers import PreTrainedModel, PreTrainedTokenizerBase
from transformers.utils import logging as transformers_logging

from cst.errors import ModelError
from cst.models.tensors import load_tensors, save_tensors, whole_folder
from cst.store import read_json, write_json

CONFIG_FILE = "adapter_config.json"
WEIGHTS_FILE = "adapter_model.safetensors"

TargetModules = Literal["all-linear"] | tuple[str, ...]


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


def save_model(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, folder: Path) -> None:
    """Write a Hugging Face folder: configuration, weights, tokenizer and chat template."""
    showed = transformers_logging.is_progress_bar_enabled()
    transformers_logging.disable_progress_bar()
    try:
        with whole_folder(folder) as partial:
            model.save_pretrained(partial)
            tokenizer.save_pretrained(partial)
    finally:
        if showed:
            transformers_logging.enable_progress_bar()


def load_adapter(model: PreTrainedModel, folder: Path) -> PeftModel:
    """Put a saved adapter on `model`, in place, for inference.

    Raises:
        ModelError: The folder holds no adapter in safetensors, or one of another model.
    """
    if not (folder / WEIGHTS_FILE).is_file() or not (folder / CONFIG_FILE).is_file():
        raise ModelError(
            f"{folder} holds no adapter: {CONFIG_FILE} and {WEIGHTS_FILE} are needed. Name an adapter folder."
        )
    weights = load_tensors(folder / WEIGHTS_FILE)
    wrapped = _wrap(model, _read_config(folder))
    try:
        result: Any = set_peft_model_state_dict(wrapped, weights)
    except RuntimeError as error:
        raise ModelError(
            f"{folder} is an adapter of another model: {error}. Load the model it was made for."
        ) from error
    strange = [name for name in result.missing_keys if "lora_" in name] + list(result.unexpected_keys)
    if strange:
        raise ModelError(
            f"{folder} is an adapter of another model: {strange[0]} doesn't fit. Load the model it was made for."
        )
    return wrapped.eval()


def _read_config(folder: Path) -> LoraConfig:
    values = read_json(folder / CONFIG_FILE)
    if not isinstance(values, dict) or values.get("peft_type") != "LORA":
        raise ModelError(f"{folder / CONFIG_FILE} describes no LoRA adapter. Only LoRA adapters can be used.")
    config: Any = LoraConfig.from_pretrained(str(folder), inference_mode=True)
    config.base_model_name_or_path = None  # a model may have moved since; what fits is decided by names and shapes
    return config
