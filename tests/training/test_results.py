from pathlib import Path

import pytest
import torch

from cst.errors import DataError, TrainingError
from cst.store import write_records
from cst.training.meters import RowMeters, SupervisedStepMetrics, Update, step_metrics, supervised_step_metrics
from cst.training.results import (
    Counts,
    compare_identity,
    read_metrics,
    read_result,
    tuned_folder,
    write_identity,
    write_result,
)

ROWS = RowMeters.unstacked(torch.ones(2, RowMeters.width(), dtype=torch.float64))
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
    line = step_metrics(ROWS, ["a", "b"], Update(1, epoch=1.0, learning_rate=0.1, grad_norm=1.0))
    write_records(tmp_path / "metrics.jsonl", [line])
    write_result(tmp_path, [line], Counts(rows=2, dropped=3), tuned=tuned_folder(tmp_path, full=full), best_step=None)
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
