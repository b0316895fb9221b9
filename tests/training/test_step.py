from pathlib import Path

import pytest
import torch
from running import LN2, forward_hook, metrics, run, settings
from transformers import (
    get_constant_schedule_with_warmup,
    get_cosine_schedule_with_warmup,
    get_linear_schedule_with_warmup,
)

from cst.errors import TrainingError
from cst.models.loading import LoadedModel
from cst.recipe.training import TrainingSettings
from cst.store import read_json
from cst.training.folder import checkpoints
from cst.training.step import learning_rate, with_precision


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


SCHEDULES = {
    "linear": lambda optimizer, warmup, total: get_linear_schedule_with_warmup(optimizer, warmup, total),
    "cosine": lambda optimizer, warmup, total: get_cosine_schedule_with_warmup(optimizer, warmup, total),
    "constant": lambda optimizer, warmup, total: get_constant_schedule_with_warmup(optimizer, warmup),
}


@pytest.mark.parametrize(
    "warmup", [{"warmup_ratio": 0.25}, {"warmup_steps": 5}, {"warmup_steps": 5, "warmup_ratio": 1}]
)
@pytest.mark.parametrize("kind", SCHEDULES)
@pytest.mark.filterwarnings("ignore:.*lr_scheduler.step:UserWarning")
def test_rates_are_hugging_faces(kind: str, warmup: dict[str, float]):
    settings = TrainingSettings(learning_rate=2e-3, lr_scheduler_type=kind, **warmup)
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=2e-3)
    schedule = SCHEDULES[kind](optimizer, 5, 20)
    for index in range(20):
        assert learning_rate(index, 20, settings) == pytest.approx(schedule.get_last_lr()[0], abs=1e-15)
        optimizer.step()
        schedule.step()


@pytest.mark.parametrize(
    "warmup", [{"warmup_ratio": 0}, {"warmup_ratio": 0.1}, {"warmup_ratio": 1}, {"warmup_steps": 10}]
)
def test_a_training_of_one_step_trains(warmup: dict[str, float]):
    assert learning_rate(0, 1, TrainingSettings(**warmup)) == TrainingSettings().learning_rate


def test_no_warm_up_steps_are_none_whatever_the_ratio():
    settings = TrainingSettings(warmup_steps=0, warmup_ratio=0.5)
    assert learning_rate(0, 20, settings) == settings.learning_rate
    assert learning_rate(0, 20, TrainingSettings(warmup_ratio=0.5)) == 0


@pytest.mark.parametrize(
    ("dtype", "chosen"),
    [(torch.float32, "no"), (torch.float64, "no"), (torch.bfloat16, "bf16"), (torch.float16, "bf16")],
)
def test_weights_of_16_bits_are_computed_in_bf16(dtype: torch.dtype, chosen: str, loaded: LoadedModel):
    model = loaded.model.to(dtype)
    assert with_precision(settings(), model).mixed_precision == chosen
    for asked in ("no", "bf16"):
        assert with_precision(settings(mixed_precision=asked), model).mixed_precision == asked


def test_what_was_chosen_is_kept_with_the_training(loaded: LoadedModel, tmp_path: Path):
    run(loaded, tmp_path, max_steps=1)
    assert read_json(tmp_path / "training.json")["training"]["mixed_precision"] == "no"
    run(loaded, tmp_path, max_steps=1, mixed_precision="no")
    with pytest.raises(TrainingError, match=r"training.mixed_precision differ"):
        run(loaded, tmp_path, max_steps=1, mixed_precision="bf16")
