"""Start models in 8 or 4 bits, through bitsandbytes: a frozen base that takes a half or a quarter of the memory.

All linear layers but the output head are quantized as they are loaded; whatever else the model has keeps its type, and
products are computed in that type. This file knows no folder.
"""

from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal, cast

import torch
from transformers import BitsAndBytesConfig, PreTrainedConfig, PreTrainedModel

from cst.distribution import install_command
from cst.errors import ModelError

Quantization = Literal["none", "8bit", "4bit"]


def quantization_config(kind: Literal["8bit", "4bit"], dtype: torch.dtype) -> BitsAndBytesConfig:
    """What transformers is to do: LLM.int8 (Dettmers et al. 2022) in 8 bits, QLoRA's base in 4 (Dettmers et al. 2023).

    QLoRA's are NormalFloat and double quantization (its section 3), and products in bfloat16, which `dtype`, the type
    of all else, is on a GPU.

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


def refuse_quantized(config: PreTrainedConfig, folder: Path) -> None:
    """A folder must not hold weights that bitsandbytes has quantized: what they were can't be had back from them.

    Raises:
        ModelError: it does.
    """
    stored: dict[str, object] = getattr(config, "quantization_config", None) or {}
    if stored.get("quant_method") == "bitsandbytes":
        raise ModelError(
            f"{folder} holds weights that bitsandbytes has quantized already. Name the model that they were made from; "
            "model.quantization quantizes it as it is loaded."
        )


def differentiable(model: PreTrainedModel) -> PreTrainedModel:
    """A quantized `model`, changed in place so that its 4-bit layers have a gradient on a CPU too.

    Where a CPU has avx512_bf16, bitsandbytes 0.50 packs the weights of a layer in evaluation mode anew for a product
    that has no gradient, and never unpacks them; a policy in evaluation mode would train without what its layers hand
    back, and unnoticed.
    """
    for layer in model.modules():
        if hasattr(layer, "support_avx512bf16_for_cpu"):
            cast(Any, layer).support_avx512bf16_for_cpu = False
    return model


def is_exact(model: PreTrainedModel) -> bool:
    """Whether a model computes in 32 bits or more; LLM.int8 rounds what goes into each layer to 8, whatever its type.

    Weights in 4 bits are no hindrance: their products are as exact as the type of all else.
    """
    return model.dtype in (torch.float32, torch.float64) and not getattr(model, "is_loaded_in_8bit", False)
