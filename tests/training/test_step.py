from pathlib import Path

import pytest
import torch
from running import LN2, forward_hook, metrics, run

from cst.errors import TrainingError
from cst.models.loading import LoadedModel
from cst.training.checkpoints import checkpoints


def test_splitting_a_step_changes_low_bits_alone(loaded: LoadedModel, tmp_path: Path):
    """Eight rows a step, whatever the size of a forward pass; the last step of an epoch has four."""
    losses = []
    for size, times in ((8, 1), (4, 2), (1, 8)):
        folder = tmp_path / str(size)
        run(loaded, folder, per_device_train_batch_size=size, gradient_accumulation_steps=times, nll_weight=0.5)
        losses.append([line.loss for line in metrics(folder)])
    assert losses[1] == pytest.approx(losses[0], abs=1e-6)
    assert losses[2] == pytest.approx(losses[0], abs=1e-6)


def test_a_policy_that_is_not_the_reference_is_refused(loaded: LoadedModel, tmp_path: Path):
    def noise(_module: object, _inputs: object, output: object) -> None:
        if torch.is_grad_enabled():
            output.last_hidden_state = output.last_hidden_state + torch.linspace(0, 5, 16)

    with forward_hook(loaded, noise), pytest.raises(TrainingError, match=r"The first sigmoid loss is .* 0.693147"):
        run(loaded, tmp_path)
    assert not (tmp_path / "adapter").exists()


def test_dropout_of_the_start_model_is_off(loaded: LoadedModel, tmp_path: Path):
    loaded.model.train()
    for layer in loaded.model.model.layers:
        layer.self_attn.attention_dropout = 0.5
    result = run(loaded, tmp_path, max_steps=1, gradient_checkpointing=True)
    assert result.first_loss == pytest.approx(LN2, abs=1e-5)
    assert not any(module.training for module in loaded.model.modules())


def test_a_loss_that_is_not_finite_stops_and_keeps_the_checkpoint(loaded: LoadedModel, tmp_path: Path):
    count = 0

    def break_later(_module: object, _inputs: object, output: object) -> None:
        nonlocal count
        count += torch.is_grad_enabled()
        if count > 4:  # one pack a step
            output.last_hidden_state = output.last_hidden_state * float("nan")

    with forward_hook(loaded, break_later), pytest.raises(TrainingError, match=r"step 5: .* not finite.*step-000004"):
        run(loaded, tmp_path, gradient_checkpointing=False)  # `auto` takes two passes to measure
    assert checkpoints(tmp_path / "checkpoints")[-1].name == "step-000004"
    assert [line.step for line in metrics(tmp_path)] == [1, 2, 3, 4]


@pytest.mark.parametrize("loss_type", ["sigmoid", "ipo"])
def test_bf16_starts_at_the_reference(loss_type: str, loaded: LoadedModel, tmp_path: Path):
    result = run(loaded, tmp_path, mixed_precision="bf16", loss_type=loss_type, beta=0.5)
    assert result.first_loss == pytest.approx(LN2 if loss_type == "sigmoid" else 1.0, abs=1e-2)
    assert result.last_loss < result.first_loss
