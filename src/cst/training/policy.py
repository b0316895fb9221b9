"""The start model made ready to be tuned, and given back as it was.

All dropout of the start model is off, so that the first policy is the reference; only the adapter's own dropout may be
on. Its activations are kept for the backward pass, or computed again there: the same numbers to the bit, so a training
may be interrupted with one and resumed with the other. This file knows no data and no loss.
"""

from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import torch
from peft import PeftModel
from torch import nn
from transformers import PreTrainedModel
from transformers.modeling_layers import GradientCheckpointingLayer

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
    start = _copy_of_weights(model) if settings.full else {}
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


def _copy_of_weights(model: nn.Module) -> dict[str, torch.Tensor]:
    return {name: parameter.detach().to("cpu", copy=True) for name, parameter in model.named_parameters()}


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
