"""What is asked for and what is refused; that sharding changes no number is for test_distributed.py."""

import pytest
import torch
from accelerate import Accelerator, FullyShardedDataParallelPlugin
from tiny import tiny_model
from torch import nn
from transformers import LlamaConfig, PreTrainedModel

from cst.errors import TrainingError
from cst.training.sharding import Pass, is_sharded, passes, shard, sharding_plan


def test_it_is_asked_for_by_the_launcher(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("ACCELERATE_USE_FSDP", raising=False)
    assert sharding_plan(full=True) is None
    monkeypatch.setenv("ACCELERATE_USE_FSDP", "true")
    monkeypatch.setenv("FSDP_VERSION", "2")
    monkeypatch.setenv("FSDP_RESHARD_AFTER_FORWARD", "false")
    plan = sharding_plan(full=False)
    assert plan is not None
    assert plan.reshard_after_forward is False
    with pytest.raises(TrainingError, match=r"training.full=true .* launch without --use_fsdp"):
        sharding_plan(full=True)
    monkeypatch.setenv("FSDP_VERSION", "1")
    monkeypatch.delenv("FSDP_RESHARD_AFTER_FORWARD")
    with pytest.raises(TrainingError, match=r"FSDP 1, .*--fsdp_version 2"):
        sharding_plan(full=False)


class Flat(PreTrainedModel):
    """A model of one layer that doesn't call itself one."""

    config_class = LlamaConfig

    def __init__(self) -> None:
        super().__init__(LlamaConfig())
        self.layer = nn.Linear(2, 2)


def test_what_cannot_be_divided_is_named():
    plan = FullyShardedDataParallelPlugin(fsdp_version=2)
    with pytest.raises(TrainingError, match=r"divide Flat, which doesn't mark its layers"):
        shard(Flat(), Accelerator(cpu=True), plan)
    model = tiny_model()
    codes = nn.Parameter(torch.zeros(4, dtype=torch.uint8), requires_grad=False)
    model.model.layers[1].mlp.register_parameter("codes", codes)
    with pytest.raises(TrainingError, match=r"quantized weights \(model.layers.1.mlp.codes first\)"):
        shard(model, Accelerator(cpu=True), plan)


def test_a_whole_model_makes_a_pass_for_each_share():
    model = tiny_model()
    assert not is_sharded(model)
    found = passes([[3, 1], [2]], filler=0, model=model, accelerator=Accelerator(cpu=True))
    assert found == [Pass([3, 1]), Pass([2])]
    assert passes([], filler=0, model=model, accelerator=Accelerator(cpu=True)) == []
