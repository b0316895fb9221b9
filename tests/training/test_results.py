from pathlib import Path

import pytest
import torch

from cst.errors import DataError, TrainingError
from cst.store import write_records
from cst.training.meters import RowMeters, step_metrics
from cst.training.results import compare_identity, read_result, tuned_folder, write_identity, write_result

IDENTITY = {"reference": {"weights": "abc"}, "training": {"beta": 0.1, "seed": 0}}


def test_the_same_training_may_go_on(tmp_path: Path):
    compare_identity(tmp_path, IDENTITY)
    write_identity(tmp_path, IDENTITY)
    compare_identity(tmp_path, IDENTITY)


def test_what_differs_is_named(tmp_path: Path):
    write_identity(tmp_path, IDENTITY)
    other = {"reference": {"weights": "abd"}, "training": {"beta": 0.1}}
    with pytest.raises(TrainingError, match=r"reference.weights, training.seed differ \(reference.weights was 'abc'"):
        compare_identity(tmp_path, other)


@pytest.mark.parametrize("full", [False, True])
def test_a_result_reads_as_it_was(full: bool, tmp_path: Path):
    assert read_result(tmp_path) is None
    rows = RowMeters.unstacked(torch.ones(2, RowMeters.width(), dtype=torch.float64))
    line = step_metrics(rows, ["a", "b"], step=1, epoch=1.0, learning_rate=0.1, grad_norm=1.0)
    write_records(tmp_path / "metrics.jsonl", [line])
    write_result(tmp_path, [line], rows=2, dropped=3, tuned=tuned_folder(tmp_path, full=full))
    result = read_result(tmp_path)
    assert result is not None
    assert (result.steps, result.rows, result.dropped, result.first_loss) == (1, 2, 3, 1.0)
    assert (result.adapter, result.model) == ((None, tmp_path / "model") if full else (tmp_path / "adapter", None))


@pytest.mark.parametrize("content", ["", "{", "[]", '{"steps": 3}'])
def test_a_damaged_result_is_named(content: str, tmp_path: Path):
    (tmp_path / "result.json").write_text(content)
    with pytest.raises(DataError, match=r"result.json is no Outcome"):
        read_result(tmp_path)
