"""Training by two processes gives what one gives, through the command line, and is told by one of them."""

import json
import os
import subprocess
import sys

import pytest

from cst.doors import run
from cst.errors import RunFolderError
from cst.recipe.reading import load_recipe
from cst.runs.folder import RunFolder
from cst.runs.processes import train_together
from test_cli import cst

RECIPE = """
name: together
model: {path: miniature}
preferences: {path: rows.jsonl}
training: {max_steps: 3, per_device_train_batch_size: 2, gradient_accumulation_steps: 2, learning_rate: 1.0e-3}
"""
TORCHRUN = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2")
FSDP2 = ("-m", "accelerate.commands.launch", "--num_processes", "2", "--use_fsdp", "--fsdp_version", "2")


def call(*words, cwd):
    env = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.run(words, cwd=cwd, env=env, capture_output=True, text=True, timeout=300)


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "together.yaml").write_text(RECIPE)
    rows = [
        {
            "system": f"Rule {i}.",
            "prompt": f"Question {i}?",
            "chosen": "Yes. " * (i + 1),
            "rejected": "No.",
            "task": "t",
        }
        for i in range(7)
    ]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return tmp_path


def losses(folder, run):
    lines = (folder / run / "models" / "cst" / "metrics.jsonl").read_text().splitlines()
    return [json.loads(line)["loss"] for line in lines]


def launched(launcher, *words, cwd):
    return call(sys.executable, *launcher, "-m", "cst", *words, cwd=cwd)


def test_two_processes_make_the_steps_of_one(folder):
    alone = cst("train", "together.yaml", "--folder", "alone", cwd=folder)
    assert alone.returncode == 0, alone.stderr
    for name, launcher in {"two": TORCHRUN, "sharded": FSDP2}.items():
        first = cst("condition", "together.yaml", "--folder", name, cwd=folder)
        assert first.returncode == 0, first.stderr
        together = launched(launcher, "train", "together.yaml", "--folder", name, cwd=folder)
        assert together.returncode == 0, together.stderr
        assert losses(folder, name) == pytest.approx(losses(folder, "alone"), abs=1e-6)
        assert together.stdout == alone.stdout.replace("alone", name)
        assert together.stderr.count("train cst: 3/3") == 1
        again = cst("train", "together.yaml", "--folder", name, cwd=folder)
        assert "nothing to do" in again.stderr


def test_another_recipe_or_verb_is_refused(folder, monkeypatch):
    monkeypatch.chdir(folder)
    run(load_recipe(folder / "together.yaml"), folder / "run", until="condition")
    with pytest.raises(RunFolderError, match="`cst report` is for one process"):
        train_together(load_recipe(folder / "together.yaml"), folder / "run", "report")
    with pytest.raises(RunFolderError, match="`--update` is for one process"):
        train_together(load_recipe(folder / "together.yaml"), folder / "run", "train", update=True)
    changed = load_recipe(folder / "together.yaml", ["training.max_steps=4"])
    with pytest.raises(RunFolderError, match=r"another recipe \(changed: training\)"):
        train_together(changed, folder / "run", "train")
    assert not (folder / "run" / "models").exists()


def test_processes_do_not_start_what_comes_before(folder):
    refused = launched(TORCHRUN, "train", "together.yaml", "--folder", "new", cwd=folder)
    assert refused.returncode != 0
    assert refused.stderr.count("Run `cst condition` once, by itself, first.") == 1
    assert not (folder / "new" / "preferences").exists()


def test_rows_that_have_changed_are_not_trained_on(folder, monkeypatch):
    monkeypatch.chdir(folder)
    run(load_recipe(folder / "together.yaml"), folder / "run", until="condition")
    rows = folder / "run" / "preferences" / "cst.jsonl"
    rows.write_text(rows.read_text().replace("No.", "So.", 1))
    with pytest.raises(RunFolderError, match=r"cst\.jsonl has changed since it was made"):
        train_together(load_recipe(folder / "together.yaml"), folder / "run", "train")
    assert not (folder / "run" / "models").exists()


def test_a_folder_in_which_another_command_is_at_work_is_left_alone(folder):
    with RunFolder(folder / "held").locked(), pytest.raises(RunFolderError, match="Another cst process is at work"):
        train_together(load_recipe(folder / "together.yaml"), folder / "held", "train")
