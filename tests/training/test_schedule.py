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


@pytest.mark.parametrize("kind", SCHEDULES)
@pytest.mark.filterwarnings("ignore:.*lr_scheduler.step:UserWarning")
def test_rates_are_hugging_faces(kind: str):
    settings = TrainingSettings(learning_rate=2e-3, warmup_ratio=0.25, lr_scheduler_type=kind)
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=2e-3)
    schedule = SCHEDULES[kind](optimizer, 5, 20)
    for index in range(20):
        assert learning_rate(index, 20, settings) == pytest.approx(schedule.get_last_lr()[0], abs=1e-15)
        optimizer.step()
        schedule.step()


@pytest.mark.parametrize("ratio", [0, 0.1, 1])
def test_a_training_of_one_step_trains(ratio: float):
    assert learning_rate(0, 1, TrainingSettings(warmup_ratio=ratio)) == TrainingSettings().learning_rate
