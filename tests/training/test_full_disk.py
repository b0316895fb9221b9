"""A disk that fills up while a training writes: told by file, the last good state kept, the end as if it never had."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from running import files, run
from tiny import load_tiny

WORKER = Path(__file__).with_name("full_disk_worker.py")


@pytest.fixture(scope="module")
def parent(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("full")


@pytest.fixture(scope="module")
def told(tiny_folder: Path, parent: Path) -> dict[str, Any]:
    run(load_tiny(tiny_folder), parent / "whole", max_steps=6)
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, str(WORKER), str(tiny_folder), str(parent)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.parametrize(
    ("moment", "file", "kept"),
    [
        ("reference", "reference.safetensors", []),
        ("metrics", "metrics.jsonl", ["step-000002"]),
        ("checkpoint", "checkpoints/.step-000004.partial/weights.safetensors", ["step-000002"]),
        ("adapter", ".adapter.partial/adapter_model.safetensors", ["step-000002", "step-000004"]),
    ],
)
def test_the_last_good_state_is_kept_and_gone_on_from(
    moment: str, file: str, kept: list[str], told: dict[str, Any], parent: Path
):
    assert told[moment]["message"].startswith(f"{parent / moment / file} can't be written: File too large.")
    assert told[moment]["checkpoints"] == kept
    assert told[moment]["half"] == []
    assert told[moment]["torn"] == (moment == "metrics")
    assert files(parent / moment) == files(parent / "whole")
