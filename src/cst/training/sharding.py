"""FSDP2: the start model's layers divided among processes, for a model that is too large for one of them.

Only layers are divided. They are nearly all of a large model, and each of them is whole in a process just while it is
computed. Embeddings, head and adapter stay whole everywhere: the first two would be whole during a pass anyway, and an
adapter is small. So all that is trained is the same in every process, as it is without sharding, and checkpoints,
gradients and the norm of gradients know nothing of this file. `accelerate.prepare` is not used, because it divides the
head too and looks for calls of the whole model, while packs enter it by `base_model` and read the head's weight.

Processes gather a layer's weights together, so that each has to make as many passes as the others: see `passes`.
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

import torch
from accelerate import Accelerator, FullyShardedDataParallelPlugin
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FSDPModule, fully_shard
from transformers import PreTrainedModel
from transformers.modeling_layers import GradientCheckpointingLayer

from cst.errors import TrainingError


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
    _move(model, whole, accelerator.device)
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


@torch.no_grad()
def _move(model: nn.Module, parameters: set[nn.Parameter], device: torch.device) -> None:
    for tensor in (*parameters, *model.buffers()):
        tensor.data = tensor.data.to(device)


@dataclass(frozen=True)
class Pass:
    """Rows that are computed together, by their positions; one that doesn't `count` is made to keep others company."""

    positions: list[int]
    counts: bool = True


def passes(shares: Sequence[list[int]], *, filler: int, model: PreTrainedModel, accelerator: Accelerator) -> list[Pass]:
    """One pass for each share of this process, and no more where `model` is whole.

    Where it is sharded, passes with the row `filler` alone are added, until each process has as many as the one with
    the most shares. They are computed in vain, so that a short row is best.
    """
    mine = [Pass(share) for share in shares]
    if is_sharded(model):
        counts = torch.tensor([len(mine)], device=accelerator.device)
        most = int(cast(Tensor, accelerator.gather(counts)).max())
        mine += [Pass([filler], counts=False)] * (most - len(mine))
    return mine
