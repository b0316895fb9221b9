"""Other processes: two that share a training, and one that is killed."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from distributed_worker import main as train_here

from cst.recipe import TrainingSettings
from cst.store import read_records
from cst.training.meters import StepMetrics

WORKER = Path(__file__).with_name("distributed_worker.py")


def settings(**changes: object) -> str:
    values: dict[str, object] = {
        "learning_rate": 5e-3,
        "per_device_train_batch_size": 2,
        "gradient_accumulation_steps": 2,
        "nll_weight": 0.5,
        "lora_r": 4,
        "lora_alpha": 8,
        "save_steps": 2,
    }
    return TrainingSettings.model_validate(values | changes).model_dump_json()


def start(launcher: list[str], *arguments: str) -> subprocess.Popen[bytes]:
    environment = os.environ | {
        "OMP_NUM_THREADS": str(torch.get_num_threads()),
        "PYTHONPATH": os.pathsep.join(sys.path),
    }
    command = [sys.executable, *launcher, str(WORKER), *arguments]
    return subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)


def losses(folder: Path) -> list[float]:
    return [line.loss for line in read_records(folder / "metrics.jsonl", StepMetrics)]


TORCHRUN = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]


@pytest.mark.parametrize(
    ("rows", "changes"),
    [
        (10, {"num_train_epochs": 3}),  # steps of 4, 4, 2 rows
        (5, {"num_train_epochs": 2, "per_device_train_batch_size": 1}),  # 4 and 1: a process without any row
    ],
)
def test_two_processes_make_the_steps_of_one(rows: int, changes: dict[str, object], tiny_folder: Path, tmp_path: Path):
    told = settings(**changes)
    train_here(str(tiny_folder), told, str(rows), str(tmp_path / "one"))
    folders = [str(tmp_path / name) for name in ("two", "two", "again")]  # a finished one in between
    worker = start(TORCHRUN, str(tiny_folder), told, str(rows), *folders)
    _, error = worker.communicate(timeout=300)
    assert worker.returncode == 0, error.decode()
    assert losses(tmp_path / "two") == pytest.approx(losses(tmp_path / "one"), abs=1e-6)
    adapters = [tmp_path / name / "adapter" / "adapter_model.safetensors" for name in ("two", "again")]
    assert adapters[0].read_bytes() == adapters[1].read_bytes()


def test_killed_and_started_again_it_ends_in_the_same_bytes(tiny_folder: Path, tmp_path: Path):
    told = settings(num_train_epochs=12, snapshot_steps=[7])
    train_here(str(tiny_folder), told, "20", str(tmp_path / "whole"))
    worker = start([], str(tiny_folder), told, "20", str(tmp_path / "cut"))
    metrics = tmp_path / "cut" / "metrics.jsonl"
    deadline = time.monotonic() + 120
    while worker.poll() is None and time.monotonic() < deadline:
        if metrics.exists() and metrics.read_bytes().count(b"\n") >= 5:
            break
        time.sleep(0.002)
    worker.send_signal(signal.SIGKILL)
    worker.communicate(timeout=60)
    assert not (tmp_path / "cut" / "result.json").exists(), "it was finished before it was killed"
    train_here(str(tiny_folder), told, "20", str(tmp_path / "cut"))
    for path in sorted((tmp_path / "whole").rglob("*")):
        if path.is_file():
            assert (tmp_path / "cut" / path.relative_to(tmp_path / "whole")).read_bytes() == path.read_bytes(), path
