"""Models and tokenizers from a folder or the hub, as plain data: no pickle is opened and no model's own code is run.

`folders` decides what may be opened; this file loads it, in 8 or 4 bits through bitsandbytes where asked, and saves it.
Quantization leaves the output head as it is; everything that isn't quantized keeps its type, and products are computed
in that type. This file doesn't know training.
"""

from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal, cast

import torch
from safetensors import SafetensorError, safe_open
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoModelForSequenceClassification,
    AutoTokenizer,
    BitsAndBytesConfig,
    PreTrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)
from transformers.utils import logging as transformers_logging

from cst.distribution import install_command
from cst.errors import ModelError
from cst.models.adapters import load_adapter
from cst.models.folders import (
    TOKENIZER_FILES,
    adapter_folder,
    damaged,
    first_line,
    folder_fingerprint,
    local_folder,
    reject_code,
    template_text,
    weight_files,
)
from cst.models.rendering import Renderer, SystemPolicy
from cst.models.tensors import whole_folder
from cst.store import fingerprint

Dtype = Literal["auto", "float32", "bfloat16", "float16"]
"""`auto`: the checkpoint's own on an accelerator, float32 on a CPU, where halves are slow and inexact."""

Quantization = Literal["none", "8bit", "4bit"]

_STORED = {"F64": torch.float64, "F32": torch.float32, "BF16": torch.bfloat16, "F16": torch.float16}
_ASKED = {"auto": torch.float32, "float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


@dataclass(frozen=True)
class LoadedModel:
    """A model ready for inference, its tokenizer, its renderer, and what identifies it.

    `path` is what was asked for; `fingerprint` is a SHA-256 over the bytes of weights, configuration, tokenizer,
    template and adapter, and over the quantization, if there is one. `checkpoint_dtype` is what the weights are stored
    in, whatever they were loaded as.
    """

    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    renderer: Renderer
    fingerprint: str
    path: str
    checkpoint_dtype: torch.dtype


@dataclass(frozen=True)
class LoadedClassifier:
    """A sequence classifier or reward model ready for inference, its tokenizer, and what identifies it.

    `path` and `fingerprint` are as in `LoadedModel`.
    """

    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    fingerprint: str
    path: str


def load_model(
    path: str,
    *,
    dtype: Dtype = "auto",
    quantization: Quantization = "none",
    device: str | None = None,
    adapter: str | Path | None = None,
    merge_adapter: bool = False,
    system_policy: SystemPolicy = "native",
    chat_template: str | Path | None = None,
) -> LoadedModel:
    """A causal language model by folder or hub id, in evaluation mode, with its adapter if it has one.

    `device` is as in torch; by default the first accelerator, or the CPU. `chat_template` is a template file to use
    instead of the tokenizer's own, in Jinja or Alpaca-style JSON. `adapter` is a folder or hub id too; `merge_adapter`
    adds it to weights that are float32 in memory, which changes low bits and saves a third of the time of decoding
    (the miniature, r = 16); halves and quantized weights, which would change by more than that, are left alone.

    Raises:
        ModelError: there is no such model, or it needs code or pickles, or its files are missing, damaged or unknown,
            or the adapter isn't one of this model, or bitsandbytes is needed and isn't there, or the device isn't.
        RenderingError: the tokenizer has no chat template, or an unusable one.
    """
    folder = local_folder(path)
    reject_code(folder)
    weights = weight_files(folder)
    tuned = None if adapter is None else adapter_folder(adapter)
    template = None if chat_template is None else template_text(Path(chat_template))
    tokenizer = load_tokenizer(path)
    if template is not None:
        tokenizer.chat_template = template  # saved with whatever is made of this model
    renderer = Renderer.for_tokenizer(tokenizer, system_policy=system_policy)
    place = _place(device)
    stored = _stored_dtype(weights[0])
    model: Any = _load_weights(folder, _kept_dtype(dtype, stored, place), quantization, place)
    _check_vocabulary(model, tokenizer, folder)
    identity = folder_fingerprint(folder, weights, template, tuned)
    if tuned is not None:
        model = load_adapter(model, tuned)
        if merge_adapter and quantization == "none" and model.dtype == torch.float32:
            model = model.merge_and_unload()
    return LoadedModel(
        model=model.to(place).eval(),
        tokenizer=tokenizer,
        renderer=renderer,
        fingerprint=identity if quantization == "none" else fingerprint(identity, quantization),
        path=path,
        checkpoint_dtype=stored,
    )


def load_classifier(path: str, *, dtype: Dtype = "auto", device: str | None = None) -> LoadedClassifier:
    """A sequence classifier or reward model by folder or hub id, in evaluation mode; safetensors only.

    Raises:
        ModelError: there is no such model, or it needs code or pickles, or its files are missing, damaged or unknown,
            or it is a model without a classifier's head, or the device isn't there.
    """
    folder = local_folder(path)
    reject_code(folder)
    weights = weight_files(folder)
    tokenizer = load_tokenizer(path)
    place = _place(device)
    kept = _kept_dtype(dtype, _stored_dtype(weights[0]), place)
    model: Any = _load_weights(folder, kept, "none", place, AutoModelForSequenceClassification)
    _check_vocabulary(model, tokenizer, folder)
    return LoadedClassifier(
        model=model.to(place).eval(),
        tokenizer=tokenizer,
        fingerprint=folder_fingerprint(folder, weights, None, None),
        path=path,
    )


def load_tokenizer(path: str) -> PreTrainedTokenizerBase:
    """The tokenizer of a model folder or hub id.

    Raises:
        ModelError: there is none, or it needs its own code, or its files are damaged.
    """
    folder = local_folder(path)
    reject_code(folder)
    if not any((folder / name).is_file() for name in TOKENIZER_FILES):
        raise ModelError(
            f"No tokenizer in {folder}: none of {', '.join(TOKENIZER_FILES[:4])}, ... is there. "
            "Save it beside the weights with tokenizer.save_pretrained."
        )
    try:
        with _quiet():
            tokenizer: Any = AutoTokenizer.from_pretrained(folder, trust_remote_code=False, local_files_only=True)
    # The tokenizers library raises bare Exceptions for damaged files, so nothing narrower catches them all.
    except Exception as error:
        raise ModelError(
            f"The tokenizer in {folder} can't be loaded: {first_line(error)}. Restore or re-download its files."
        ) from error
    return cast(PreTrainedTokenizerBase, tokenizer)


def load_renderer(
    path: str, *, system_policy: SystemPolicy = "native", chat_template: str | Path | None = None
) -> Renderer:
    """The renderer that `load_model` would give a model; weights aren't read. Raises what `load_model` raises."""
    template = None if chat_template is None else template_text(Path(chat_template))
    return Renderer.for_tokenizer(load_tokenizer(path), system_policy=system_policy, chat_template=template)


def _stored_dtype(weights: Path) -> torch.dtype:
    """The type of the first floating tensor of a file.

    Raises:
        ModelError: the file is damaged.
    """
    try:
        with safe_open(weights, framework="pt") as file:
            names = [str(file.get_slice(key).get_dtype()) for key in file.keys()]  # noqa: SIM118 - not a mapping
    except (SafetensorError, OSError) as error:
        raise damaged(weights, error) from error
    return next((_STORED[name] for name in names if name in _STORED), torch.float32)


def _kept_dtype(asked: Dtype, stored: torch.dtype, place: torch.device) -> torch.dtype:
    return stored if asked == "auto" and place.type != "cpu" else _ASKED[asked]


def _load_weights(
    folder: Path,
    dtype: torch.dtype,
    quantization: Quantization,
    place: torch.device,
    kind: type[AutoModelForCausalLM | AutoModelForSequenceClassification] = AutoModelForCausalLM,
) -> PreTrainedModel:
    quantized: dict[str, Any] = {}
    if quantization != "none":
        quantized = {"quantization_config": quantization_config(quantization, dtype), "device_map": {"": place}}
    try:
        with _quiet():
            config: Any = AutoConfig.from_pretrained(folder, trust_remote_code=False, local_files_only=True)
            _reject_quantized(config, folder)
            loaded: Any = kind.from_pretrained(
                folder,
                config=config,
                dtype=dtype,
                use_safetensors=True,
                trust_remote_code=False,
                local_files_only=True,
                output_loading_info=True,
                **quantized,
            )
    except (OSError, ValueError, RuntimeError, KeyError, TypeError, AttributeError, SafetensorError) as error:
        raise damaged(folder, error) from error
    model, report = loaded
    missing = sorted(report["missing_keys"])
    if missing:
        raise ModelError(
            f"{folder} lacks {len(missing)} weights of its architecture ({', '.join(missing[:3])}, ...), which would "
            "be random numbers. Restore or re-download the model."
        )
    return differentiable(model) if quantized else cast(PreTrainedModel, model)


def quantization_config(kind: Literal["8bit", "4bit"], dtype: torch.dtype) -> BitsAndBytesConfig:
    """Settings for transformers: LLM.int8 (Dettmers et al. 2022) in 8 bits, QLoRA (Dettmers et al. 2023) in 4.

    QLoRA uses NormalFloat and double quantization (its section 3) and computes products in bfloat16; here they are in
    `dtype`, the type of everything else, which is bfloat16 on a GPU.

    Raises:
        ModelError: bitsandbytes isn't installed.
    """
    if find_spec("bitsandbytes") is None:
        raise ModelError(
            f"model.quantization={kind} needs bitsandbytes, which isn't installed. Install it "
            f"({install_command('quantization')}), or leave model.quantization out."
        )
    return BitsAndBytesConfig(
        load_in_8bit=kind == "8bit",
        load_in_4bit=kind == "4bit",
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=dtype,
    )


def _reject_quantized(config: PreTrainedConfig, folder: Path) -> None:
    """Weights that bitsandbytes has quantized can't be used: the original ones can't be recovered from them."""
    stored: dict[str, object] = getattr(config, "quantization_config", None) or {}
    if stored.get("quant_method") == "bitsandbytes":
        raise ModelError(
            f"{folder} holds weights that bitsandbytes has quantized already. Name the model that they were made from; "
            "model.quantization quantizes it as it is loaded."
        )


def differentiable(model: PreTrainedModel) -> PreTrainedModel:
    """A quantized `model`, changed in place so that its 4-bit layers have a gradient on a CPU too.

    Where a CPU has avx512_bf16, bitsandbytes 0.50 packs the weights of layers in evaluation mode for a product that has
    no gradient, and never unpacks them: a policy in evaluation mode would silently train without those gradients.
    """
    for layer in model.modules():
        if hasattr(layer, "support_avx512bf16_for_cpu"):
            cast(Any, layer).support_avx512bf16_for_cpu = False
    return model


def is_exact(model: PreTrainedModel) -> bool:
    """Whether a model computes in 32 bits or more. LLM.int8 doesn't: it rounds the input of each layer to 8 bits.

    4-bit weights do not matter: their products are as exact as the type of everything else.
    """
    return model.dtype in (torch.float32, torch.float64) and not getattr(model, "is_loaded_in_8bit", False)


def _check_vocabulary(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, folder: Path) -> None:
    rows = cast(int, cast(Any, model.get_input_embeddings()).weight.shape[0])
    if len(tokenizer) > rows:
        raise ModelError(
            f"The tokenizer in {folder} has {len(tokenizer)} tokens, its model embeds {rows}: they don't belong "
            "together. Use the tokenizer that the model was trained with, or resize the embeddings."
        )


def _place(device: str | None) -> torch.device:
    accelerator = torch.accelerator.current_accelerator() if torch.accelerator.is_available() else None
    try:
        place = torch.device(device or (accelerator.type if accelerator else "cpu"))
        torch.empty(0, device=place)
    except (RuntimeError, AssertionError) as error:  # AssertionError: a torch that was built without CUDA
        raise ModelError(
            f"device={device!r} can't be used here: {first_line(error)}. Name another one, or none for the first "
            "accelerator or the CPU."
        ) from error
    return place


def save_model(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, folder: Path) -> None:
    """Write a Hugging Face folder: configuration, weights, tokenizer and chat template.

    Raises:
        DataError: the system doesn't let it be written.
    """
    with _quiet(), whole_folder(folder) as partial:
        model.save_pretrained(partial)
        tokenizer.save_pretrained(partial)


@contextmanager
def _quiet() -> Generator[None]:
    """Without transformers' progress bar and load report: what is wrong is raised, and the rest is noise."""
    showed, level = transformers_logging.is_progress_bar_enabled(), transformers_logging.get_verbosity()
    transformers_logging.disable_progress_bar()
    transformers_logging.set_verbosity_error()
    try:
        yield
    finally:
        transformers_logging.set_verbosity(level)
        if showed:
            transformers_logging.enable_progress_bar()
