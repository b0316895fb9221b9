"""trl's DPOTrainer: loss and gradient on one batch, and the losses of whole trainings, to 1e-4; all weights trained."""

from pathlib import Path

import pytest
import torch
from datasets import Dataset
from tiny import load_tiny, mirrored_preferences, tiny_model, tiny_tokenizer, write_tiny
from trl import DPOConfig, DPOTrainer

from cst.models.logps import response_logps
from cst.models.rendering import Renderer
from cst.recipe.training import TrainingSettings
from cst.records import Preference
from cst.store import read_records
from cst.training.batches import plan_steps, tokenize
from cst.training.loss import PairLogps, dpo_loss, ipo_loss, nll_of
from cst.training.meters import StepMetrics
from cst.training.objectives import train

ROWS = mirrored_preferences(3)

PLAIN = {
    "use_cpu": True,
    "bf16": False,
    "gradient_checkpointing": False,
    "max_length": None,
    "report_to": [],
    "disable_tqdm": True,
}
"""trl in float32 on the CPU, which cuts no row."""


def conversation(row: Preference) -> dict[str, list[dict[str, str]]]:
    def turn(role: str, content: str | None) -> dict[str, str]:
        return {"role": role, "content": content or ""}

    return {
        "prompt": [turn("system", row.system_prompt), turn("user", row.prompt)],
        "chosen": [turn("assistant", row.chosen)],
        "rejected": [turn("assistant", row.rejected)],
    }


def trl_trainer(folder: Path, rows: int, kinds: list[str], weights: list[float], beta: float) -> DPOTrainer:
    data = Dataset.from_list([conversation(row) for row in ROWS[:rows]])
    config = DPOConfig(
        output_dir=str(folder),
        beta=beta,
        loss_type=kinds,
        loss_weights=weights,
        per_device_train_batch_size=rows,
        **PLAIN,
    )
    return DPOTrainer(
        model=tiny_model(1), ref_model=tiny_model(0), args=config, train_dataset=data, processing_class=tiny_tokenizer()
    )


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    ("kind", "nll_weight", "rows"),
    [
        ("sigmoid", 0.0, 6),
        ("ipo", 0.0, 6),
        ("sigmoid", 0.7, 1),
    ],  # trl's sft term pools tokens: equal to ours at one row
)
def test_loss_and_gradient_are_trls(kind: str, nll_weight: float, rows: int, tmp_path: Path):
    beta = 0.2
    kinds, weights = ([kind, "sft"], [1.0, nll_weight]) if nll_weight else ([kind], [1.0])
    trainer = trl_trainer(tmp_path, rows, kinds, weights, beta)
    batch = trainer.data_collator([trainer.train_dataset[index] for index in range(rows)])
    theirs = trainer.model
    theirs.train()
    their_loss = trainer.compute_loss(theirs, batch)
    their_loss.backward()

    tokens = tokenize(ROWS[:rows], Renderer.for_tokenizer(tiny_tokenizer()))
    sequences = [row.chosen for row in tokens] + [row.rejected for row in tokens]
    assert [list(s.tokens) for s in sequences] == [
        row[mask.bool()].tolist() for row, mask in zip(batch["input_ids"], batch["attention_mask"], strict=True)
    ]

    ours = tiny_model(1)

    def pair(model: torch.nn.Module) -> PairLogps:
        sides = ([row.chosen for row in tokens], [row.rejected for row in tokens])
        return PairLogps(*(response_logps(model, side, pad_token_id=0, batch_size=4) for side in sides))

    with torch.no_grad():
        reference = pair(tiny_model(0))
    policy = pair(ours)
    losses = {"sigmoid": dpo_loss, "ipo": ipo_loss}[kind](policy, reference, beta=beta) + nll_weight * nll_of(policy)
    our_loss = losses.mean()
    our_loss.backward()

    assert our_loss.item() == pytest.approx(their_loss.item(), abs=1e-4)
    gradients = dict(ours.named_parameters())
    compared = 0
    for name, parameter in theirs.named_parameters():
        if parameter.grad is not None:
            scale = parameter.grad.abs().max().clamp(min=1.0)
            assert torch.allclose(gradients[name].grad / scale, parameter.grad / scale, atol=1e-4), name
            compared += 1
    assert compared == sum(parameter.grad is not None for parameter in ours.parameters()) > 15


TOLERANCE = 1e-4
"""Between the losses of a step, in nats."""

BATCH, ACCUMULATION = 4, 2

STRICTER = {"harmless": "Refuse whatever could ever harm.", "uncensored": "Answer it all, and hide nothing from me."}


def four_configurations(n: int) -> list[Preference]:
    """Mirrored rows, and the same under other system prompts: 4 n rows under four configurations."""
    rows = mirrored_preferences(n)
    strict = [
        row.model_copy(
            update={
                "id": f"strict-{row.id}",
                "configuration": f"strict-{row.configuration}",
                "system_prompt": STRICTER[row.configuration],
            }
        )
        for row in rows
    ]
    return [*rows, *strict]


def settings(steps: int, **changes: object) -> TrainingSettings:
    values: dict[str, object] = {
        "full": True,
        "max_steps": steps,
        "learning_rate": 5e-4,
        "per_device_train_batch_size": BATCH,
        "gradient_accumulation_steps": ACCUMULATION,
        "tokens_per_pack": 300,
        "weight_decay": 0.1,
    }
    return TrainingSettings.model_validate(values | changes)


def our_losses(rows: list[Preference], told: TrainingSettings, folder: Path) -> list[float]:
    """Those of a training as users call it: reference computed once, rows in packs, our own schedule."""
    train(rows, loaded=load_tiny(write_tiny(folder / "model")), settings=told, folder=folder / "run")
    return [line.loss for line in read_records(folder / "run" / "metrics.jsonl", StepMetrics)]


def trl_losses(rows: list[Preference], told: TrainingSettings, folder: Path) -> list[float]:
    """Those of trl's trainer on the rows in the order of our plan; with its NLL term, one row a pass (see above)."""
    per_step = BATCH * ACCUMULATION
    plan = plan_steps(len(rows), seed=told.seed, epochs=1, rows_per_step=per_step, max_steps=told.max_steps)
    assert {len(step) for step in plan} == {per_step}, "a smaller step in the middle is none of trl's"
    batch = 1 if told.nll_weight else BATCH
    config = DPOConfig(
        output_dir=str(folder / "theirs"),
        beta=told.beta,
        loss_type=[told.loss_type, "sft"] if told.nll_weight else [told.loss_type],
        loss_weights=[1.0, told.nll_weight] if told.nll_weight else [1.0],
        per_device_train_batch_size=batch,
        gradient_accumulation_steps=per_step // batch,
        learning_rate=told.learning_rate,
        lr_scheduler_type=told.lr_scheduler_type,
        warmup_steps=told.warmup_ratio,
        weight_decay=told.weight_decay,
        max_steps=len(plan),
        train_sampling_strategy="sequential",
        logging_steps=1,
        save_strategy="no",
        **PLAIN,
    )
    trainer = DPOTrainer(
        model=tiny_model(),
        ref_model=tiny_model(),
        args=config,
        train_dataset=Dataset.from_list([conversation(rows[index]) for step in plan for index in step]),
        processing_class=tiny_tokenizer(),
    )
    trainer.train()
    return [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]


def apart(one: list[float], other: list[float]) -> float:
    """How far the losses of the same steps are apart at most, in nats."""
    return max(abs(a - b) for a, b in zip(one, other, strict=True))


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    ("steps", "changes"),
    [(50, {}), (15, {"loss_type": "ipo"}), (15, {"nll_weight": 0.7, "lr_scheduler_type": "cosine"})],
    ids=["sigmoid", "ipo", "nll"],
)
def test_whole_trainings_have_trls_loss_at_every_step(steps: int, changes: dict[str, object], tmp_path: Path):
    rows, told = four_configurations(10), settings(steps, **changes)
    ours, theirs = our_losses(rows, told, tmp_path), trl_losses(rows, told, tmp_path)
    assert len(ours) == steps
    assert apart(ours, theirs) < TOLERANCE
    assert max(abs(loss - ours[0]) for loss in ours) > 1000 * TOLERANCE


def test_a_training_that_differs_a_little_is_further_apart(tmp_path: Path):
    """The control: one part in a hundred of the learning rate shows within 15 steps."""
    rows, told = four_configurations(10), settings(15)
    other = told.model_copy(update={"learning_rate": 1.01 * told.learning_rate})
    assert apart(our_losses(rows, told, tmp_path / "a"), our_losses(rows, other, tmp_path / "b")) > TOLERANCE
