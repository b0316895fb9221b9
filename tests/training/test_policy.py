from pathlib import Path

import pytest
import torch
from running import LN2, run, settings
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
