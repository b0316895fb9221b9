"""The start model is given back as it was; that sharding changes no number is for test_distributed.py."""

from pathlib import Path

import pytest
import torch
from accelerate import Accelerator, FullyShardedDataParallelPlugin
from running import LN2, files, forward_hook, run, settings
from tiny import load_tiny, tiny_model
from torch import nn
from transformers import LlamaConfig, PreTrainedModel

from cst.errors import TrainingError
from cst.models.loading import LoadedModel
from cst.training.folder import trained
from cst.training.policy import policy_of, shard, sharding_plan


def test_all_weights_can_be_trained(loaded: LoadedModel, tmp_path: Path):
    before = {name: value.clone() for name, value in loaded.model.state_dict().items()}
    result = run(loaded, tmp_path, full=True, learning_rate=1e-3)
    assert result.adapter is None
    assert result.first_loss == pytest.approx(LN2, abs=1e-5)
    assert result.last_loss < LN2 - 0.05
    tuned = load_tiny(result.model).model.state_dict()
    assert not all(torch.equal(tuned[name], before[name]) for name in before)
    assert all(torch.equal(value, before[name]) for name, value in loaded.model.state_dict().items())


def test_only_the_adapters_dropout_is_on(loaded: LoadedModel):
    loaded.model.train()
    with policy_of(loaded, settings(lora_dropout=0.1)) as policy:
        training = {type(module).__name__ for module in policy.modules() if module.training}
    assert training <= {"Dropout", "ModuleDict"}
    assert "Dropout" in training


def test_given_back_after_an_error(loaded: LoadedModel):
    before = {name: value.clone() for name, value in loaded.model.state_dict().items()}
    for full in (False, True):
        with pytest.raises(KeyboardInterrupt), policy_of(loaded, settings(full=full)) as policy:
            with torch.no_grad():
                for parameter in trained(policy).values():
                    parameter.add_(1)
            raise KeyboardInterrupt
        after = loaded.model.state_dict()
        assert after.keys() == before.keys()
        assert all(torch.equal(after[name], before[name]) for name in before)


SAME = {
    "packed": {},
    "packed in bf16": {"mixed_precision": "bf16"},
    "padded, with dropout": {"lora_dropout": 0.2},
    "all weights": {"full": True},
}


@pytest.mark.parametrize("name", SAME)
def test_recomputation_changes_no_byte_of_what_is_trained(name: str, loaded: LoadedModel, tmp_path: Path):
    passes: dict[bool, int] = {}
    for asked in (False, True):
        count = 0

        def counted(*_: object) -> None:
            nonlocal count
            count += 1

        handle = loaded.model.model.layers[0].mlp.register_forward_pre_hook(counted)
        run(loaded, tmp_path / str(asked), gradient_checkpointing=asked, **SAME[name])
        handle.remove()
        passes[asked] = count
    assert files(tmp_path / "True") == files(tmp_path / "False")
    assert passes[True] > 1.3 * passes[False], "the control: layers were computed again"
    assert not loaded.model.is_activation_checkpointing


def test_interrupted_without_it_and_resumed_with_it(loaded: LoadedModel, tmp_path: Path):
    run(loaded, tmp_path / "whole", gradient_checkpointing=False)
    forwards = 0

    def interrupt(*_: object) -> None:
        nonlocal forwards
        forwards += 1
        if forwards > 10:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt), forward_hook(loaded, interrupt):
        run(loaded, tmp_path / "cut", gradient_checkpointing=False)
    assert (tmp_path / "cut/checkpoints").is_dir()
    run(loaded, tmp_path / "cut", gradient_checkpointing=True)
    assert files(tmp_path / "cut") == files(tmp_path / "whole")


@pytest.mark.parametrize(("asked", "on"), [("auto", False), (False, False), (True, True)], ids=str)
def test_on_a_cpu_activations_are_kept_unless_asked(asked: bool | str, on: bool, loaded: LoadedModel):
    with policy_of(loaded, settings(gradient_checkpointing=asked)):
        assert loaded.model.is_activation_checkpointing is on
    assert not loaded.model.is_activation_checkpointing


@pytest.mark.skipif(not torch.cuda.is_available(), reason="what `auto` means on a GPU needs one")
def test_on_a_gpu_activations_are_computed_again_unless_told_otherwise(loaded: LoadedModel):
    loaded.model.to("cuda")
    for asked, on in (("auto", True), (False, False)):
        with policy_of(loaded, settings(gradient_checkpointing=asked)):
            assert loaded.model.is_activation_checkpointing is on


def test_sharding_is_asked_for_by_the_launcher(monkeypatch: pytest.MonkeyPatch):
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
