"""Evaluations leave a training as it is, and decide what they are asked to decide."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from held_out import Scripted, held_out, score
from running import files, forward_hook, metrics, settings
from tiny import load_tiny, mirrored_preferences

from cst.errors import BudgetError, TrainingError
from cst.models.loading import LoadedModel, load_model
from cst.records import Completion, Verdict
from cst.training.evaluating import EvaluationSet, HeldOut, best_step, check_evaluation, is_enough, metric_of
from cst.training.folder import TrainingResult, checkpoints
from cst.training.meters import Evaluation, RowMeters, StepMetrics, Update, step_metrics
from cst.training.objectives import train

EVALUATED = {"eval_steps": 2, "save_steps": 3}
KINDS = {
    "packed": {},
    "padded": {"lora_dropout": 0.1},
    "recomputed": {"gradient_checkpointing": True},
    "full": {"full": True},
}


def run(loaded: LoadedModel, folder: Path, asked: HeldOut | None, **changes: object) -> TrainingResult:
    rows = mirrored_preferences(10)
    return train(rows, loaded=loaded, settings=settings(**changes), folder=folder, held_out=asked)


def tuned(folder: Path) -> dict[str, bytes]:
    return {name: content for name, content in files(folder).items() if name.startswith(("adapter/", "model/"))}


@pytest.mark.parametrize("kind", KINDS)
def test_a_training_is_the_same_with_and_without_evaluations(kind: str, loaded: LoadedModel, tmp_path: Path):
    """Nine steps, of which four and the last are evaluated."""
    run(loaded, tmp_path / "without", None, **KINDS[kind])
    run(loaded, tmp_path / "with", held_out(), **EVALUATED, **KINDS[kind])
    lines = metrics(tmp_path / "with")
    assert [line.step for line in lines if line.evaluation] == [2, 4, 6, 8, 9]
    assert tuned(tmp_path / "with") == tuned(tmp_path / "without")
    assert [line.model_copy(update={"evaluation": None}) for line in lines] == metrics(tmp_path / "without")


def test_the_control_an_evaluation_that_moves_a_weight_is_seen(loaded: LoadedModel, tmp_path: Path):
    class Clumsy(Scripted):
        def answer(self, loaded: LoadedModel, *, rank: int, world_size: int) -> list[Completion]:
            adapter = next(p for name, p in loaded.model.named_parameters() if "lora_B" in name)
            adapter.data.add_(1e-6)
            return []

    run(loaded, tmp_path / "without", None)
    run(loaded, tmp_path / "with", Clumsy(1, 2, 3, 4, 5), **EVALUATED)
    assert tuned(tmp_path / "with") != tuned(tmp_path / "without")


def test_answers_are_those_of_the_adapter_without_its_dropout(loaded: LoadedModel, tmp_path: Path):
    """The last evaluation says what the saved weights say; at a rate that shows, dropout would give other answers."""
    told: list[list[Completion]] = []

    def keep(completions: Sequence[Completion]) -> list[Verdict]:
        told.append(list(completions))
        return held_out().judge(completions)

    run(loaded, tmp_path, held_out(judge=keep), lora_dropout=0.8, num_train_epochs=6, **EVALUATED)
    saved = load_model(loaded.path, device="cpu", adapter=tmp_path / "adapter")
    assert held_out().answer(saved, rank=0, world_size=1) == told[-1]
    assert held_out().answer(loaded, rank=0, world_size=1) != told[-1]
    assert [line.evaluation.scores for line in metrics(tmp_path) if line.evaluation][-1] == tuple(
        held_out().score(told[-1])
    )


def test_each_prompt_is_answered_by_one_process(loaded: LoadedModel):
    whole = held_out(5).answer(loaded, rank=0, world_size=1)
    shares = [held_out(5).answer(loaded, rank=rank, world_size=7) for rank in range(7)]
    assert sorted(c.id for share in shares for c in share) == sorted(c.id for c in whole)
    assert [len(share) for share in shares] == [2, 2, 2, 2, 2, 0, 0]


@pytest.mark.parametrize("forwards", [9, 14, 20, 40, 75])
@pytest.mark.parametrize("kind", ["padded", "full"])
def test_interrupted_anywhere_it_ends_in_the_same_bytes(forwards: int, kind: str, loaded: LoadedModel, tmp_path: Path):
    """In steps and in the midst of answers; no evaluation is made twice but the one that was interrupted."""
    changes = {**EVALUATED, **KINDS[kind], "load_best_model_at_end": True, "early_stopping_patience": 3}
    calls = 0

    def count(completions: Sequence[Completion]) -> list[Verdict]:
        nonlocal calls
        calls += 1
        return held_out().judge(completions)

    run(loaded, tmp_path / "whole", held_out(judge=count), **changes)
    evaluations, passes = calls, 0

    def interrupt(*_: object) -> None:
        nonlocal passes
        passes += 1
        if passes == forwards:
            raise KeyboardInterrupt

    calls = 0
    with forward_hook(loaded, interrupt), pytest.raises(KeyboardInterrupt):
        run(loaded, tmp_path / "cut", held_out(judge=count), **changes)
    run(load_tiny(Path(loaded.path)), tmp_path / "cut", held_out(judge=count), **changes)
    assert files(tmp_path / "cut") == files(tmp_path / "whole")
    assert calls == evaluations


def test_a_judge_whose_budget_is_spent_stops_the_training_and_a_larger_one_goes_on(loaded: LoadedModel, tmp_path: Path):
    calls = 0

    def poor(completions: Sequence[Completion]) -> list[Verdict]:
        nonlocal calls
        calls += 1
        if calls == 3:
            raise BudgetError("The next call might pass the budget.")
        return held_out().judge(completions)

    with pytest.raises(BudgetError):
        run(loaded, tmp_path / "cut", held_out(judge=poor), **EVALUATED)
    assert checkpoints(tmp_path / "cut" / "checkpoints")[-1].name == "step-000004"
    run(loaded, tmp_path / "cut", held_out(judge=poor), **EVALUATED)
    assert calls == 6, "five evaluations, of which one is asked for again"
    run(loaded, tmp_path / "whole", held_out(), **EVALUATED)
    assert files(tmp_path / "cut") == files(tmp_path / "whole")


def test_a_training_stops_where_evaluations_no_longer_rise(
    loaded: LoadedModel, tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    patient = {**EVALUATED, "num_train_epochs": 10, "early_stopping_patience": 2}
    stopped = run(loaded, tmp_path, Scripted(4, 6, 6, 5, 9), **patient)
    assert (stopped.steps, stopped.best_step) == (8, 4)
    assert "Training stops at step 8 of 30: 2 evaluations without improvement" in caplog.text
    assert "on that of step 4." in caplog.text
    assert run(loaded, tmp_path, Scripted(), **patient) == stopped, "a finished training asks no more"


@pytest.mark.parametrize("kind", ["packed", "full"])
def test_the_best_weights_are_handed_on_if_that_is_asked_for(kind: str, loaded: LoadedModel, tmp_path: Path):
    changes = {**EVALUATED, **KINDS[kind], "num_train_epochs": 4, "snapshot_steps": [4, 12]}
    for best in (True, False):
        result = run(loaded, tmp_path / str(best), Scripted(4, 6, 6, 5, 3, 2), load_best_model_at_end=best, **changes)
        assert (result.steps, result.best_step) == (12, 4)
    handed = {best: list(tuned(tmp_path / str(best)).values()) for best in (True, False)}
    kept = [list(files(tmp_path / "True" / "snapshots" / name).values()) for name in ("step-000004", "step-000012")]
    assert [handed[True], handed[False]] == kept
    assert handed[True] != handed[False]


def test_without_a_known_metric_the_last_weights_are_handed_on(
    loaded: LoadedModel, tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    silent = replace(held_out(), decisive=frozenset())
    result = run(loaded, tmp_path, silent, load_best_model_at_end=True, **EVALUATED)
    assert result.best_step is None
    assert "the last weights are handed on" in caplog.text
    run(loaded, tmp_path / "without", None)
    assert tuned(tmp_path) == tuned(tmp_path / "without")


def test_trackers_hear_of_every_evaluation(loaded: LoadedModel, tmp_path: Path):
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    run(loaded, tmp_path, held_out(), report_to=["tensorboard"], logging_steps=5, **EVALUATED)
    events = EventAccumulator(str(next((tmp_path / "trackers").rglob("events.out.tfevents*")).parent))
    events.Reload()
    sent = {event.step: event.value for event in events.Scalars("eval/harmless/harmless/n")}
    lines = {line.step: line.evaluation.scores[0].n for line in metrics(tmp_path) if line.evaluation}
    assert sent == lines
    assert [event.step for event in events.Scalars("loss")] == [5]


def test_another_set_of_prompts_is_another_training(loaded: LoadedModel, tmp_path: Path):
    run(loaded, tmp_path, held_out(3), **EVALUATED)
    with pytest.raises(TrainingError, match="another training: held_out differ"):
        run(loaded, tmp_path, held_out(4), **EVALUATED)


@pytest.mark.parametrize(
    ("every", "asked", "sharded", "says"),
    [
        (2, None, False, "eval_steps is 2, and no held-out prompts were given"),
        (None, Scripted(), False, "eval_steps is None, and held-out prompts were given"),
        (2, Scripted(), True, "eval_steps=2 asks for answers of a model whose layers FSDP divides"),
    ],
)
def test_what_can_not_be_evaluated_is_refused(every: int | None, asked: HeldOut | None, sharded: bool, says: str):
    with pytest.raises(TrainingError, match=says):
        check_evaluation(settings(eval_steps=every), EvaluationSet(asked), sharded=sharded)


@pytest.mark.parametrize("training", [True, False])
def test_modes_are_given_back_whatever_happens(training: bool, loaded: LoadedModel, tmp_path: Path):
    """Torch's own generator, too."""
    seen: list[bool] = []

    class Broken(Scripted):
        def answer(self, loaded: LoadedModel, *, rank: int, world_size: int) -> list[Completion]:
            seen.append(any(module.training for module in loaded.model.modules()))
            raise KeyboardInterrupt

    state = torch.get_rng_state()
    with pytest.raises(KeyboardInterrupt):
        run(loaded, tmp_path, Broken(), lora_dropout=0.1, gradient_checkpointing=training, **EVALUATED)
    assert seen == [False]
    assert torch.equal(torch.get_rng_state(), state)


ROWS = RowMeters(*torch.ones(len(RowMeters._fields), 1, dtype=torch.float64))


def lines(*values: float | str | None) -> list[StepMetrics]:
    """One line a step, with these metrics; "" where no evaluation was due."""
    made = []
    for number, value in enumerate(values):
        line = step_metrics(ROWS, ["a"], Update(number + 1, epoch=1.0, learning_rate=0.1, grad_norm=1.0))
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
