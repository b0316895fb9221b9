"""trl's SFTTrainer: loss and gradient of a step, and the losses of whole trainings, to 1e-4; all weights trained."""

from pathlib import Path

import pytest
import torch
from datasets import Dataset
from demonstrated import demonstrations, sft, step_of, work_on
from tiny import load_tiny, tiny_model, tiny_tokenizer, write_tiny
from transformers import TrainerCallback
from trl import SFTConfig, SFTTrainer

from cst.recipe.training import TrainingSettings
from cst.records import Demonstration
from cst.training.batches import plan_steps, tokenize_demonstrations, with_inputs
from cst.training.folder import read_metrics
from cst.training.objectives import fine_tune

TOLERANCE = 1e-4
"""Between losses, in nats, and between gradients, as a share of the greatest entry where that is above 1."""

ROWS = demonstrations()
BATCH, ACCUMULATION = 2, 2


def settings(steps: int, **changes: object) -> TrainingSettings:
    values: dict[str, object] = {
        "full": True,
        "max_steps": steps,
        "learning_rate": 5e-4,
        "per_device_train_batch_size": BATCH,
        "gradient_accumulation_steps": ACCUMULATION,
        "tokens_per_pack": 100,
        "weight_decay": 0.1,
        "warmup_steps": 3,
    }
    return sft(**(values | changes))


def conversation(row: Demonstration) -> dict[str, list[dict[str, str]]]:
    system = [] if row.system_prompt is None else [{"role": "system", "content": row.system_prompt}]
    turns = [{"role": turn.role, "content": turn.content} for turn in row.turns]
    return {"prompt": [*system, *turns], "completion": [{"role": "assistant", "content": row.response}]}


class Gradients(TrainerCallback):
    """The gradients that the first optimizer step sees."""

    def __init__(self) -> None:
        self.first: dict[str, torch.Tensor] = {}

    def on_pre_optimizer_step(self, *_: object, model: torch.nn.Module, **__: object) -> None:
        if not self.first:
            self.first = {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}


def trls(told: TrainingSettings, folder: Path) -> tuple[list[float], dict[str, torch.Tensor], list[list[int]]]:
    """Loss of each step, the first step's gradients, and the rows' tokens."""
    plan = plan_steps(len(ROWS), seed=told.seed, epochs=1, rows_per_step=BATCH * ACCUMULATION, max_steps=told.max_steps)
    config = SFTConfig(
        output_dir=str(folder / "trl"),
        completion_only_loss=not told.train_on_inputs,
        per_device_train_batch_size=BATCH,
        gradient_accumulation_steps=ACCUMULATION,
        learning_rate=told.learning_rate,
        lr_scheduler_type=told.lr_scheduler_type,
        warmup_steps=told.warmup_steps,
        weight_decay=told.weight_decay,
        max_steps=len(plan),
        max_length=None,
        max_grad_norm=told.max_grad_norm,
        train_sampling_strategy="sequential",
        logging_steps=1,
        save_strategy="no",
        use_cpu=True,
        bf16=False,
        gradient_checkpointing=False,
        report_to=[],
        disable_tqdm=True,
    )
    gradients = Gradients()
    data = Dataset.from_list([conversation(ROWS[index]) for step in plan for index in step])
    trainer = SFTTrainer(
        model=tiny_model(),
        args=config,
        train_dataset=data,
        processing_class=tiny_tokenizer(),
        callbacks=[gradients],
    )
    trainer.train()
    losses = [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
    return losses, gradients.first, [list(row["input_ids"]) for row in trainer.train_dataset]


def ours(told: TrainingSettings, folder: Path) -> list[float]:
    """Loss of each step."""
    loaded = load_tiny(write_tiny(folder / "model"))
    fine_tune(ROWS, loaded=loaded, settings=told, folder=folder / "run")
    return [line.loss for line in read_metrics(folder / "run" / "metrics.jsonl")]


def apart(one: list[float], other: list[float]) -> float:
    """How far the losses of the same steps are apart at most, in nats."""
    return max(abs(a - b) for a, b in zip(one, other, strict=True))


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("inputs", [False, True], ids=["response", "whole row"])
def test_loss_and_gradient_of_a_step_are_trls(inputs: bool, tmp_path: Path):
    """Four rows of unequal length, which trl takes two by two; both see the same tokens."""
    told = settings(1, train_on_inputs=inputs, max_grad_norm=1e9)
    (their_loss,), theirs, tokens = trls(told, tmp_path)
    loaded = load_tiny(write_tiny(tmp_path / "model"))
    rows = tokenize_demonstrations(ROWS, loaded.renderer)
    (step,) = plan_steps(len(ROWS), seed=told.seed, epochs=1, rows_per_step=BATCH * ACCUMULATION, max_steps=1)
    assert [list(rows[index].sequences[0].tokens) for index in step] == tokens
    with work_on(loaded, told, [with_inputs(row) for row in rows] if inputs else rows) as work:
        loss, found = step_of(work, step)
    assert loss == pytest.approx(their_loss, abs=TOLERANCE)
    assert found.keys() == theirs.keys()
    for name, gradient in theirs.items():
        scale = gradient.abs().max().clamp(min=1.0)
        assert torch.allclose(found[name] / scale, gradient / scale, atol=TOLERANCE), name


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("inputs", [False, True], ids=["response", "whole row"])
def test_whole_trainings_have_trls_loss_at_every_step(inputs: bool, tmp_path: Path):
    told = settings(20, train_on_inputs=inputs)
    losses, (theirs, *_) = ours(told, tmp_path), trls(told, tmp_path)
    assert len(losses) == 20
    assert apart(losses, theirs) < TOLERANCE
    assert max(abs(loss - losses[0]) for loss in losses) > 1000 * TOLERANCE


@pytest.mark.parametrize("change", [{"learning_rate": 5.05e-4}, {"warmup_steps": 2}], ids=str)
def test_a_training_that_differs_a_little_is_further_apart(change: dict[str, object], tmp_path: Path):
    """The control: one part in a hundred of the learning rate, or a step of warm-up, shows within 20 steps."""
    one, other = settings(20), settings(20, **change)
    assert apart(ours(one, tmp_path / "a"), ours(other, tmp_path / "b")) > TOLERANCE
