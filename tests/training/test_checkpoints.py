import shutil
from pathlib import Path

import pytest
import torch
from tiny import tiny_model
from torch.optim import AdamW

from cst.errors import TrainingError
from cst.models.adapters import add_lora
from cst.training.checkpoints import checkpoints, load_checkpoint, remove_checkpoints, restore, save_checkpoint, trained


def policy(seed: int = 0) -> tuple[torch.nn.Module, AdamW]:
    model = add_lora(tiny_model(), r=2, alpha=4, dropout=0.0, target_modules="all-linear", seed=seed)
    return model, AdamW(trained(model).values(), lr=1e-2)


def update(model: torch.nn.Module, optimizer: AdamW, step: int) -> None:
    model(torch.tensor([[1, 5 + step, 9]])).logits.square().mean().backward()
    optimizer.step()
    optimizer.zero_grad()


def test_restoring_goes_on_to_the_same_bits(tmp_path: Path):
    one, first = policy()
    for step in range(3):
        update(one, first, step)
    save_checkpoint(tmp_path, step=3, model=one, optimizer=first, metrics=[])
    two, second = policy(seed=9)
    checkpoint = load_checkpoint(checkpoints(tmp_path)[-1])
    assert checkpoint.step == 3
    restore(checkpoint, two, second)
    for step in range(3, 6):
        update(one, first, step)
        update(two, second, step)
    assert all(torch.equal(p, trained(two)[name]) for name, p in trained(one).items())


def test_the_last_and_the_one_before_are_kept_and_half_ones_are_not_seen(tmp_path: Path):
    model, optimizer = policy()
    update(model, optimizer, 0)
    for step in (1, 2, 10):
        save_checkpoint(tmp_path, step=step, model=model, optimizer=optimizer, metrics=[])
    (tmp_path / ".step-000012.partial").mkdir()
    assert [path.name for path in checkpoints(tmp_path)] == ["step-000002", "step-000010"]
    remove_checkpoints(tmp_path)
    assert not tmp_path.exists()
    assert checkpoints(tmp_path) == []


def test_the_best_one_is_kept_as_long_as_it_is_the_best(tmp_path: Path):
    model, optimizer = policy()
    update(model, optimizer, 0)
    kept = []
    for step, best in ((1, None), (2, 1), (3, 1), (4, 1), (5, 4), (6, 4)):
        save_checkpoint(tmp_path, step=step, model=model, optimizer=optimizer, metrics=[], best=best)
        kept.append([int(path.name.removeprefix("step-")) for path in checkpoints(tmp_path)])
    assert kept == [[1], [1, 2], [1, 2, 3], [1, 3, 4], [4, 5], [4, 5, 6]]


@pytest.mark.parametrize("name", ["weights.safetensors", "optimizer.safetensors", "metrics.jsonl", "state.json"])
@pytest.mark.parametrize("how", ["cut", "gone", "flipped"])
def test_a_damaged_checkpoint_is_named(name: str, how: str, tmp_path: Path):
    model, optimizer = policy()
    update(model, optimizer, 0)
    file = save_checkpoint(tmp_path, step=1, model=model, optimizer=optimizer, metrics=[]) / name
    content = file.read_bytes()
    if how == "gone":
        file.unlink()
    else:
        file.write_bytes(content[: len(content) // 2] if how == "cut" else b"#" + content)
    if name == "metrics.jsonl" and how == "cut":
        file.write_bytes(b"{")
    with pytest.raises(TrainingError, match=r"step-000001 is damaged: .*Remove the folder to start from the beginning"):
        load_checkpoint(checkpoints(tmp_path)[-1])


def test_a_damaged_one_leaves_the_one_before_it(tmp_path: Path):
    model, optimizer = policy()
    update(model, optimizer, 0)
    for step in (1, 2):
        save_checkpoint(tmp_path, step=step, model=model, optimizer=optimizer, metrics=[])
    last = checkpoints(tmp_path)[-1]
    (last / "state.json").write_text("[]")
    with pytest.raises(TrainingError, match=r"step-000002 is damaged: .*to go on from step-000001, which is kept"):
        load_checkpoint(last)
    shutil.rmtree(last)
    assert load_checkpoint(checkpoints(tmp_path)[-1]).step == 1


def test_no_pickle(tmp_path: Path):
    model, optimizer = policy()
    update(model, optimizer, 0)
    folder = save_checkpoint(tmp_path, step=1, model=model, optimizer=optimizer, metrics=[])
    assert {path.suffix for path in folder.iterdir()} == {".safetensors", ".json", ".jsonl"}
