import pytest
import torch

from cst.training.meters import (
    SINKING_NATS_PER_TOKEN,
    Evaluation,
    RowMeters,
    StepMetrics,
    TaskMetrics,
    Update,
    alarms,
    step_metrics,
    supervised_step_metrics,
)


def meters(chosen: list[float], reference: list[float], tokens: list[float]) -> RowMeters:
    columns = {name: torch.zeros(len(chosen), dtype=torch.float64) for name in RowMeters._fields}
    told = {"chosen_logps": chosen, "reference_chosen_logps": reference, "chosen_tokens": tokens}
    return RowMeters(**columns | {name: torch.tensor(values, dtype=torch.float64) for name, values in told.items()})


def line(step: int, rows: RowMeters, names: list[str]) -> StepMetrics:
    return step_metrics(rows, names, Update(step, epoch=0.5, learning_rate=1e-3, grad_norm=1.0))


def test_means_are_by_configuration():
    found = line(1, meters([-10, -20, -30], [-10, -10, -30], [10, 10, 10]), ["a", "b", "a"])
    assert list(found.configurations) == ["a", "b"]
    assert found.configurations["a"].rows == 2
    assert found.configurations["a"].chosen_logps == -20
    assert found.configurations["a"].chosen_log_ratio_per_token == 0
    assert found.configurations["b"].chosen_log_ratio_per_token == pytest.approx(-1.0)


def test_the_alarm_is_of_tokens_and_told_once():
    calm = line(1, meters([-10], [-9], [10]), ["a"])
    sinking = [line(step, meters([-10 - step], [-7], [10]), ["a"]) for step in (2, 3)]
    assert not calm.sinking
    assert [part.sinking for part in sinking] == [("a",), ("a",)]
    (alarm,) = alarms([calm, *sinking])
    assert alarm.step == 2
    assert alarm.chosen_log_ratio_per_token < SINKING_NATS_PER_TOKEN
    assert "'a'" in str(alarm)
    assert "nll_weight" in str(alarm)


def test_tasks_are_told_apart_and_their_tokens_weigh_alike():
    told = supervised_step_metrics(
        torch.tensor([10.0, 3.0, 2.0]),
        torch.tensor([4.0, 2.0, 4.0]),
        ["b", "a", "b"],
        Update(3, epoch=0.5, learning_rate=1e-3, grad_norm=1.0),
    )
    assert told.tasks == {"a": TaskMetrics(rows=1, tokens=2, nll=1.5), "b": TaskMetrics(rows=2, tokens=8, nll=1.5)}
    assert (told.loss, told.tokens) == (1.5, 10)
    assert str(told) == "step 3: loss 1.5000, 10 tokens"
    assert told.scalars() == {
        "epoch": 0.5,
        "loss": 1.5,
        "learning_rate": 1e-3,
        "grad_norm": 1.0,
        "tokens": 10,
        "a/nll": 1.5,
        "b/nll": 1.5,
    }
    assert alarms([told]) == ()


def test_an_evaluation_without_validation_rows_is_written_as_it_always_was():
    assert Evaluation(metric=0.5, scores=()).model_dump_json() == '{"metric":0.5,"scores":[]}'
    with_loss = Evaluation(metric=-2.0, loss=2.0, rows=3, tokens=40)
    assert Evaluation.model_validate_json(with_loss.model_dump_json()) == with_loss
    assert with_loss.scalars() == {"eval/metric": -2.0, "eval/loss": 2.0}


def test_a_file_keeps_everything():
    rows = meters([-10.25, -1e-300], [0.1, 2], [3, 4])
    told = line(1, rows, ["a", "b"])
    assert StepMetrics.model_validate_json(told.model_dump_json()) == told
