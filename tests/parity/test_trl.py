"""Loss and gradient of trl's DPOTrainer on the same batch, to 1e-4: every weight is trained and compared."""

from pathlib import Path

import pytest
import torch
from datasets import Dataset
from tiny import mirrored_preferences, tiny_model, tiny_tokenizer
from trl import DPOConfig, DPOTrainer

from cst.models.rendering import Renderer
from cst.training.batches import tokenize
from cst.training.logps import response_logps
from cst.training.loss import PairLogps, dpo_loss

ROWS = mirrored_preferences(3)


def trl_trainer(folder: Path, rows: int, kinds: list[str], weights: list[float], beta: float) -> DPOTrainer:
    def turn(role: str, content: str | None) -> dict[str, str]:
        return {"role": role, "content": content or ""}

    data = Dataset.from_list(
        [
            {
                "prompt": [turn("system", row.system_prompt), turn("user", row.prompt)],
                "chosen": [turn("assistant", row.chosen)],
                "rejected": [turn("assistant", row.rejected)],
            }
            for row in ROWS[:rows]
        ]
    )
    config = DPOConfig(
        output_dir=str(folder),
        use_cpu=True,
        bf16=False,
        report_to=[],
        beta=beta,
        loss_type=kinds,
        loss_weights=weights,
        per_device_train_batch_size=rows,
        gradient_checkpointing=False,
        max_length=None,
        disable_tqdm=True,
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
    our_loss = dpo_loss(pair(ours), reference, beta=beta, loss_type=kind, nll_weight=nll_weight).loss.mean()
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
