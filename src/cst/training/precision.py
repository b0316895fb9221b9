"""The type that a training computes in. This file knows no data and no loss."""

import torch
from transformers import PreTrainedModel

from cst.recipe import TrainingSettings


def with_precision(settings: TrainingSettings, model: PreTrainedModel) -> TrainingSettings:
    """The settings with `mixed_precision` decided: bf16 where `model`'s weights have 16 bits, none otherwise.

    Weights of 16 bits have given up exact results for speed, and without autocast peft would compute a float32 adapter
    in float32. Weights in float32, the default on a CPU, stay exact. GPUs older than bfloat16 only emulate it.
    """
    if settings.mixed_precision != "auto":
        return settings
    computes_bf16 = model.device.type != "cuda" or torch.cuda.is_bf16_supported(including_emulation=False)
    bf16 = model.dtype in (torch.bfloat16, torch.float16) and computes_bf16
    return settings.model_copy(update={"mixed_precision": "bf16" if bf16 else "no"})
