"""The start model made ready to be tuned, given back as it was, and divided among processes where it is too large.

All dropout of the start model is off, so that the first policy is the reference; only the adapter's own dropout may be
on. Its activations are kept for the backward pass, or computed again there: the same numbers to the bit, so a training
may be interrupted with one and resumed with the other.

FSDP2 divides layers only. They are nearly all of a large model, and each of them is whole in a process just while it is
computed. Embeddings, head and adapter stay whole everywhere: the first two would be whole during a pass anyway, and an
adapter is small. So all that is trained is the same in every process, as it is without sharding, and checkpoints,
gradients and the norm of gradients know nothing of it. `accelerate.prepare` is not used, because it divides the head
too and looks for calls of the whole model, while packs enter it by `base_model` and read the head's weight.

This file knows no data and no loss.
"""

import os
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator, FullyShardedDataParallelPlugin
from peft import PeftModel
from torch import nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FSDPModule, fully_shard
from transformers import PreTrainedModel
from transformers.modeling_layers import GradientCheckpointingLayer

from cst.errors import TrainingError
from cst.models.adapters import add_lora, save_adapter
from cst.models.loading import LoadedModel, save_model
from cst.recipe.training import TrainingSettings


@contextmanager
def policy_of(loaded: LoadedModel, settings: TrainingSettings) -> Generator[nn.Module]:
    """The model to tune: with a fresh adapter, or with all its weights trainable.

    `training.gradient_checkpointing` holds while the context is open; `auto` is on for a model on CUDA, where memory
    runs out first, and off on a CPU, where the second forward pass costs a third of a step.

    `loaded.model` is changed in place while the context is open, and is the start model again after it, in evaluation
    mode (a copy of the weights is kept on the CPU for that, if all of them are trained).
    """
    model = loaded.model
    trainable = [parameter for parameter in model.parameters() if parameter.requires_grad]
    weights = model.named_parameters() if settings.full else ()
    start = {name: parameter.detach().to("cpu", copy=True) for name, parameter in weights}
    policy = model if settings.full else _with_adapter(model, settings)
    try:
        _set_modes(policy, settings)
        asked = settings.gradient_checkpointing
        with _recomputing(model, needed=model.device.type == "cuda" if asked == "auto" else asked):
            yield policy
    finally:
        if isinstance(policy, PeftModel):
            policy.unload()
        _give_back(model, start, trainable)
        model.eval()


def _with_adapter(model: PreTrainedModel, settings: TrainingSettings) -> PeftModel:
    return add_lora(
        model,
        r=settings.lora_r,
        alpha=settings.lora_alpha,
        dropout=settings.lora_dropout,
        target_modules=settings.lora_target_modules,
        seed=settings.seed,
    )


def _set_modes(policy: nn.Module, settings: TrainingSettings) -> None:
    """Dropout off but for the adapter's."""
    policy.eval()
    if settings.full:
        policy.requires_grad_(True)
    for name, module in policy.named_modules():
        if "lora_dropout" in name.split("."):
            module.train()


@contextmanager
def _recomputing(model: PreTrainedModel, *, needed: bool) -> Generator[None]:
    """While open and `needed`, `model` keeps the input of each layer and computes the rest again when it goes back."""
    if not needed:
        yield
        return
    layers = [layer for layer in model.modules() if isinstance(layer, GradientCheckpointingLayer)]
    model.activation_checkpointing_enable({"use_reentrant": False})
    for layer in layers:
        layer.training = True  # transformers recomputes in training mode only; the parts of a layer stay in evaluation
    try:
        yield
    finally:
        for layer in layers:
            layer.training = False
        model.activation_checkpointing_disable()
        model.disable_input_require_grads()


@torch.no_grad()
def _give_back(model: PreTrainedModel, start: dict[str, torch.Tensor], trainable: list[nn.Parameter]) -> None:
    for name, parameter in model.named_parameters():
        if name in start:
            parameter.copy_(start[name])
        parameter.grad = None
    model.requires_grad_(False)
    for parameter in trainable:
        parameter.requires_grad_(True)


def save_policy(policy: nn.Module, folder: Path, loaded: LoadedModel) -> None:
    """Write what was tuned: a plain peft adapter, or the whole model with its tokenizer."""
    if isinstance(policy, PeftModel):
        save_adapter(policy, folder, base=loaded.path)
        return
    save_model(loaded.model, loaded.tokenizer, folder)


def sharding_plan(*, full: bool) -> FullyShardedDataParallelPlugin | None:
    """What `accelerate launch --use_fsdp --fsdp_version 2` asks for, or None: read from the environment it sets.

    Of its settings, `fsdp_reshard_after_forward` and `fsdp_offload_params` are heeded.

    Raises:
        TrainingError: FSDP 1 is asked for, or all weights are to be trained (`full`).
    """
    if os.environ.get("ACCELERATE_USE_FSDP", "false").lower() != "true":
        return None
    plan = FullyShardedDataParallelPlugin()
    if plan.fsdp_version != 2:
        raise TrainingError(
            f"accelerate asks for FSDP {plan.fsdp_version}, and only FSDP 2 is known here. Pass it --fsdp_version 2."
        )
    if full:
        raise TrainingError(
            "training.full=true would train the weights that FSDP divides among processes, which isn't supported. "
            "Train an adapter (training.full=false), or launch without --use_fsdp."
        )
    return plan


def is_sharded(model: PreTrainedModel) -> bool:
    """Whether `shard` has been here."""
    return isinstance(model.base_model, FSDPModule)


def shard(model: PreTrainedModel, accelerator: Accelerator, plan: FullyShardedDataParallelPlugin) -> None:
    """Divide the layers of `model` among the processes, in place and for good; the rest moves to the device whole.

    Each process must hold the whole model, on the CPU where it has no room on the device.

    Raises:
        TrainingError: The model doesn't say what its layers are, or its weights are quantized.
    """
    if is_sharded(model):
        return
    layers = _layers(model)
    rules: dict[str, Any] = {
        "mesh": init_device_mesh(accelerator.device.type, (accelerator.num_processes,)),
        "reshard_after_forward": plan.reshard_after_forward,
        "offload_policy": plan.cpu_offload,
    }
    for layer in layers:
        fully_shard(layer, **rules)
    divided = {id(parameter) for layer in layers for parameter in layer.parameters()}
    whole = {parameter for parameter in model.parameters() if id(parameter) not in divided}
    with torch.no_grad():
        for tensor in (*whole, *model.buffers()):
            tensor.data = tensor.data.to(accelerator.device)
    fully_shard(model.base_model, **rules, ignored_params=whole)  # no weights of its own: it leads its layers


def _layers(model: PreTrainedModel) -> list[nn.Module]:
    layers: list[nn.Module] = [part for part in model.modules() if isinstance(part, GradientCheckpointingLayer)]
    coded = [name for name, weight in model.named_parameters() if not weight.is_floating_point()]
    if layers and not coded:
        return layers
    reason = f"holds quantized weights ({coded[0]} first)" if coded else "doesn't mark its layers"
    raise TrainingError(
        f"FSDP can't divide {type(model).__name__}, which {reason}. Load it in bfloat16, or launch without --use_fsdp."
    )
