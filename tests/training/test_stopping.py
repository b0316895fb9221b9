import pytest
import torch
from held_out import score
from running import settings

from cst.training.meters import Evaluation, RowMeters, StepMetrics, step_metrics
from cst.training.stopping import best_step, is_enough, metric_of

ROWS = RowMeters.unstacked(torch.ones(1, RowMeters.width(), dtype=torch.float64))


def lines(*values: float | str | None) -> list[StepMetrics]:
    """One line a step, with these metrics; "" where no evaluation was due."""
    made = []
    for number, value in enumerate(values):
        line = step_metrics(ROWS, ["a"], step=number + 1, epoch=1.0, learning_rate=0.1, grad_norm=1.0)
        evaluation = None if isinstance(value, str) else Evaluation(metric=value, scores=())
        made.append(line.model_copy(update={"evaluation": evaluation}))
    return made


def test_the_worst_rate_can_not_be_bought_with_another_configuration():
    collapsed = [score("harmless", 10), score("uncensored", 1)]
    balanced = [score("harmless", 6), score("uncensored", 5)]
    names = {"harmless", "uncensored"}
    worst = [metric_of(scores, names, "worst_rate") for scores in (collapsed, balanced)]
    mean = [metric_of(scores, names, "mean_rate") for scores in (collapsed, balanced)]
    assert worst == pytest.approx([0.1, 0.5])
    assert mean == pytest.approx([0.55, 0.55])
    assert metric_of(collapsed, {"harmless"}, "worst_rate") == 1, "what isn't trained on doesn't decide"


def test_a_rate_that_is_not_known_gives_no_metric():
    scores = [score("harmless", 10), score("uncensored", 0, n=0, unscored=10)]
    assert metric_of(scores, {"harmless", "uncensored"}, "worst_rate") is None
    assert metric_of(scores, {"harmless"}, "worst_rate") == 1
    assert metric_of([], {"harmless"}, "mean_rate") is None


@pytest.mark.parametrize(
    ("values", "best"),
    [
        ((), None),
        (("", ""), None),
        ((None,), None),
        ((0.5, "", 0.7, 0.7, 0.6), 3),
        ((None, 0.0, None), 2),
    ],
)
def test_of_equal_evaluations_the_first_is_the_best(values: tuple[float | str | None, ...], best: int | None):
    assert best_step(lines(*values)) == best


@pytest.mark.parametrize(
    ("values", "patience", "threshold", "enough"),
    [
        ((0.5, 0.5, 0.5), None, 0.0, False),
        ((0.5,), 1, 0.0, False),
        ((0.5, 0.5), 1, 0.0, True),
        ((0.5, "", 0.4, "", ""), 2, 0.0, False),
        ((0.5, 0.4, 0.5), 2, 0.0, True),
        ((0.5, 0.4, 0.6, 0.6), 2, 0.0, False),
        ((0.5, 0.55, 0.6), 2, 0.1, True),
        ((0.5, 0.55, 0.7), 2, 0.1, False),
        ((None, None), 2, 0.0, True),
        ((None, 0.0), 2, 0.0, False),
    ],
)
def test_patience_counts_evaluations_without_improvement(
    values: tuple[float | str | None, ...], patience: int | None, threshold: float, enough: bool
):
    asked = settings(eval_steps=1, early_stopping_patience=patience, early_stopping_threshold=threshold)
    assert is_enough(lines(*values), asked) is enough


def test_patience_is_that_of_hugging_face():
    """The same decisions as the callback of transformers, which is told the best metric by its trainer."""
    from transformers import EarlyStoppingCallback, TrainerControl, TrainerState, TrainingArguments

    values = [0.5, 0.52, 0.55, 0.54, 0.7, 0.75, 0.74, 0.79, 0.8, 0.1, 0.85]
    asked = settings(eval_steps=1, early_stopping_patience=3, early_stopping_threshold=0.04)
    callback = EarlyStoppingCallback(early_stopping_patience=3, early_stopping_threshold=0.04)
    told = TrainingArguments(output_dir="unused", metric_for_best_model="eval_rate", greater_is_better=True)
    state, stopped = TrainerState(), []
    for value in values:
        control = TrainerControl()
        callback.on_evaluate(told, state, control, metrics={"eval_rate": value})
        state.best_metric = value if state.best_metric is None else max(value, state.best_metric)
        stopped.append(control.should_training_stop)
    ours = [is_enough(lines(*values[:end]), asked) for end in range(1, len(values) + 1)]
    assert ours == stopped
    assert True in ours
    assert False in ours
