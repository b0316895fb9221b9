import shutil
from pathlib import Path

import pytest
import torch
from tiny import tiny_model
from torch.optim import AdamW

from cst.errors import DataError, TrainingError
from cst.models.adapters import add_lora
from cst.store import write_json, write_records
from cst.training.folder import (
    Counts,
    checkpoints,
    compare_identity,
    load_checkpoint,
    read_metrics,
    read_result,
    remove_checkpoints,
    restore,
    save_checkpoint,
    trained,
    write_result,
)
from cst.training.meters import RowMeters, SupervisedStepMetrics, Update, step_metrics, supervised_step_metrics

ROWS = RowMeters(*torch.ones(len(RowMeters._fields), 2, dtype=torch.float64))
IDENTITY = {"reference": {"weights": "abc"}, "training": {"beta": 0.1, "seed": 0}}


def test_the_same_training_may_go_on(tmp_path: Path):
    compare_identity(tmp_path, IDENTITY)
    write_json(tmp_path / "training.json", IDENTITY)
    compare_identity(tmp_path, IDENTITY)


def test_what_differs_is_named(tmp_path: Path):
    write_json(tmp_path / "training.json", IDENTITY)
    other = {"reference": {"weights": "abd"}, "training": {"beta": 0.1}}
    with pytest.raises(TrainingError, match=r"reference.weights, training.seed differ \(reference.weights was 'abc'"):
        compare_identity(tmp_path, other)


@pytest.mark.parametrize("full", [False, True])
def test_a_result_reads_as_it_was(full: bool, tmp_path: Path):
    assert read_result(tmp_path) is None
    line = step_metrics(ROWS, ["a", "b"], Update(1, epoch=1.0, learning_rate=0.1, grad_norm=1.0))
    write_records(tmp_path / "metrics.jsonl", [line])
    tuned = tmp_path / ("model" if full else "adapter")
    write_result(tmp_path, [line], Counts(rows=2, dropped=3), tuned=tuned, best_step=None)
    result = read_result(tmp_path)
    assert result is not None
    assert (result.steps, result.rows, result.dropped, result.first_loss) == (1, 2, 3, 1.0)
    assert (result.adapter, result.model) == ((None, tmp_path / "model") if full else (tmp_path / "adapter", None))


def supervised(step: int) -> SupervisedStepMetrics:
    update = Update(step, epoch=1.0, learning_rate=0.1, grad_norm=1.0)
    return supervised_step_metrics(torch.ones(2), torch.ones(2), ["a", "b"], update)


def test_cut_rows_are_counted_and_no_others_are_written(tmp_path: Path):
    written = []
    for cut in (0, 4):
        write_records(tmp_path / "metrics.jsonl", [supervised(1)])
        write_result(
            tmp_path, [supervised(1)], Counts(rows=2, dropped=3, cut=cut), tuned=tmp_path / "adapter", best_step=None
        )
        result = read_result(tmp_path)
        assert result is not None
        assert (result.rows, result.dropped, result.cut) == (2, 3, cut)
        written.append("cut" in (tmp_path / "result.json").read_text())
    assert written == [False, True]


def test_lines_are_read_as_those_of_their_method(tmp_path: Path):
    preferred = step_metrics(ROWS, ["a", "b"], Update(1, epoch=1.0, learning_rate=0.1, grad_norm=1.0))
    for lines in ([preferred, preferred], [supervised(1), supervised(2)], []):
        write_records(tmp_path / "metrics.jsonl", lines)
        assert read_metrics(tmp_path / "metrics.jsonl") == lines
    write_records(tmp_path / "metrics.jsonl", [supervised(1), preferred])
    with pytest.raises(DataError, match=r"metrics.jsonl:2 is not a valid SupervisedStepMetrics"):
        read_metrics(tmp_path / "metrics.jsonl")


@pytest.mark.parametrize("content", ["", "{", "[]", '{"steps": 3}'])
def test_a_damaged_result_is_named(content: str, tmp_path: Path):
    (tmp_path / "result.json").write_text(content)
    with pytest.raises(DataError, match=r"result.json is not a valid Outcome"):
        read_result(tmp_path)


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
