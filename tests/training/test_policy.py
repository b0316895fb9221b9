from pathlib import Path

import pytest
import torch
from running import LN2, files, forward_hook, run, settings
from tiny import load_tiny

from cst.models.loading import LoadedModel
from cst.training.checkpoints import trained
from cst.training.policy import policy_of


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
