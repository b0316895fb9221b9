import pytest
import torch
from transformers import (
    get_constant_schedule_with_warmup,
    get_cosine_schedule_with_warmup,
    get_linear_schedule_with_warmup,
)

from cst.recipe import TrainingSettings
from cst.training.schedule import learning_rate

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
