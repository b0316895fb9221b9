"""LoRA adapters through peft: added, saved, loaded, merged into the weights.

An adapter's folder is plain peft (adapter_config.json, adapter_model.safetensors), written with the same bytes for the
same weights. Merging is done in float32 and cast once, because merging in bfloat16 changes answers; what it changed is
measured on the spot. This file knows nothing of training.
"""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from peft import LoraConfig, PeftModel, get_peft_model, get_peft_model_state_dict, set_peft_model_state_dict
from peft.tuners.tuners_utils import BaseTunerLayer
from torch import Tensor, nn
from transformers import PreTrainedModel, PreTrainedTokenizerBase
from transformers.utils import logging as transformers_logging

from cst.errors import ModelError
from cst.models.loading import LoadedModel, load_model
from cst.models.tensors import load_tensors, save_tensors, whole_folder
from cst.records import Message
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


@dataclass(frozen=True)
class MergeReport:
    """What merging changed: greedy answers and next-token log-probs of adapter and merged model, on `prompts`.

    `same_answers` counts prompts whose greedy tokens are all equal; `largest_difference` is in nats, over all tokens of
    the vocabulary at every position of the answers.
    """

    folder: Path
    dtype: str
    prompts: int
    same_answers: int
    largest_difference: float


PROBES = ("Hello!", "Tell me about yourself.", "How do I keep a secret?", "What is two plus three?")
"""Prompts on which a merge is checked: short, and of no consequence."""

PROBE_TOKENS = 24
"""Greedy tokens compared after each probe."""


def merge_adapter(model_path: str, adapter: Path, out: Path, *, prompts: Sequence[str] = PROBES) -> MergeReport:
    """Write a Hugging Face folder of the model with the adapter in its weights: tokenizer and template with it.

    Merged in float32, cast once to the checkpoint's type, read back and compared with model and adapter apart.

    Raises:
        ModelError: Model or adapter can't be loaded, or `out` exists.
    """
    if out.exists():
        raise ModelError(f"{out} exists already. Name a folder that doesn't.")
    loaded = load_model(model_path, dtype="float32", device="cpu")
    tuned = load_adapter(loaded.model, adapter)
    before = [_greedy(tuned, loaded, prompt) for prompt in prompts]
    merged: Any = tuned.merge_and_unload()
    save_model(merged.to(loaded.checkpoint_dtype), loaded.tokenizer, out)
    again = load_model(str(out), dtype="float32", device="cpu")
    return _report(out, loaded.checkpoint_dtype, before, [_forced(again.model, trace) for trace in before])


@dataclass(frozen=True)
class _Trace:
    """Prompt and greedy answer [T], where the answer starts, and the log-probs before each of its tokens [A, V]."""

    tokens: Tensor
    start: int
    logps: Tensor


@torch.no_grad()
def _greedy(model: nn.Module, loaded: LoadedModel, prompt: str) -> _Trace:
    tokens = loaded.renderer.prompt([Message(role="user", content=prompt)])
    start = len(tokens)
    for _ in range(PROBE_TOKENS):
        logits: Tensor = model(input_ids=torch.tensor([tokens]), use_cache=False).logits[0, -1]
        tokens = [*tokens, int(logits.argmax())]
        if tokens[-1] in loaded.renderer.end_token_ids:
            break
    return _forced(model, _Trace(torch.tensor(tokens), start, torch.empty(0)))


@torch.no_grad()
def _forced(model: nn.Module, trace: _Trace) -> _Trace:
    """The same tokens, with the log-probs that `model` gives them: greedy answers differ iff an argmax does."""
    logits: Tensor = model(input_ids=trace.tokens[None], use_cache=False).logits[0, trace.start - 1 : -1]
    return _Trace(trace.tokens, trace.start, logits.float().log_softmax(-1))


def _report(folder: Path, dtype: torch.dtype, before: Sequence[_Trace], after: Sequence[_Trace]) -> MergeReport:
    pairs = list(zip(before, after, strict=True))
    return MergeReport(
        folder=folder,
        dtype=str(dtype).removeprefix("torch."),
        prompts=len(pairs),
        same_answers=sum(bool((a.logps.argmax(-1) == b.logps.argmax(-1)).all()) for a, b in pairs),
        largest_difference=max(float((a.logps - b.logps).abs().max()) for a, b in pairs),
    )
