"""Other processes: one, two and four that share a training, whole or sharded; and some that are killed.

Processes take seconds to start, so that a launch makes many trainings, one after another. The launches follow on each
other in one fixture: what one leaves unfinished, another finishes.
"""

import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from distributed_worker import Job, do, words
from running import files, metrics

from cst.models.tensors import load_tensors
from cst.training.folder import checkpoints

WORKER = Path(__file__).with_name("distributed_worker.py")

SETTINGS: dict[str, object] = {
    "learning_rate": 5e-3,
    "per_device_train_batch_size": 2,
    "gradient_accumulation_steps": 2,
    "num_train_epochs": 2,
    "nll_weight": 0.5,
    "tokens_per_pack": 160,
    "lora_r": 4,
    "lora_alpha": 8,
    "save_steps": 2,
}
KINDS: dict[str, Job] = {
    "packed": Job("", settings=SETTINGS),  # steps of 4, 4 and 2 rows: four processes have no work for all of them
    "padded": Job("", rows=5, settings=SETTINGS | {"per_device_train_batch_size": 1, "lora_dropout": 1e-12}),  # 2, 2, 1
    "recomputed": Job("", settings=SETTINGS | {"gradient_checkpointing": True, "snapshot_steps": [4]}),
}
SUPERVISED = {
    "method": "sft",
    "nll_weight": 0.0,
    "tokens_per_pack": 100,
    "eval_steps": 2,
    "load_best_model_at_end": True,
}
KINDS["supervised"] = Job("", settings=SETTINGS | SUPERVISED)
EVALUATED = Job("", settings=SETTINGS | {"eval_steps": 2, "load_best_model_at_end": True, "lora_dropout": 1e-12})
MANY = ["2", "2s", "4", "4s"]
"""How many processes; s: sharded."""

RESUMED = ["1-2", "1-2s", "2-1", "2-2", "2-2s", "2-4", "2s-1", "2s-2", "2s-2s", "2s-4", "4s-1"]
"""Begun by so many processes, ended by so many."""


def jobs_of(folder: Path, world: str) -> list[Job]:
    """What is done from the beginning to the end by so many processes."""
    found = [replace(job, folder=str(folder / f"{world}-{kind}")) for kind, job in KINDS.items()]
    found[1] = replace(found[1], again=f"{found[1].folder}-again")
    found.append(replace(KINDS["packed"], folder=str(folder / f"{world}-diverging"), after=4, event="no numbers"))
    found.append(replace(EVALUATED, folder=str(folder / f"{world}-evaluated")))
    return [replace(job, sharded=world.endswith("s")) for job in found]


def begun(folder: Path, *worlds: str) -> list[Job]:
    """Trainings broken off in step 3; the checkpoint is that of step 2."""
    return [replace(job, after=3) for job in _resumed(folder, 0, worlds)]


def ended(folder: Path, *worlds: str) -> list[Job]:
    """The same, not broken off."""
    return _resumed(folder, 1, worlds)


def _resumed(folder: Path, place: int, worlds: tuple[str, ...]) -> list[Job]:
    """Those that have one of `worlds` at this place of their name."""
    named = [(folder / name, name.split("-")[place]) for name in RESUMED]
    return [
        replace(KINDS["packed"], folder=str(path), sharded=world.endswith("s"))
        for path, world in named
        if world in worlds
    ]


def start(launcher: list[str], *arguments: str) -> subprocess.Popen[bytes]:
    environment = os.environ | {
        "OMP_NUM_THREADS": str(torch.get_num_threads()),
        "PYTHONPATH": os.pathsep.join(sys.path),
    }
    command = [sys.executable, *launcher, str(WORKER), *arguments]
    return subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)


def launch(processes: int, model: Path, *jobs: Job) -> tuple[int, str]:
    """All jobs by so many processes: exit code of the launcher, and what was told."""
    worker = start(
        ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(processes)], *words(model, *jobs)
    )
    _, told = worker.communicate(timeout=300)
    return worker.returncode, told.decode()


@pytest.fixture(scope="module")
def done(tiny_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of all trainings."""
    folder = tmp_path_factory.mktemp("trainings")
    killed = replace(KINDS["packed"], folder=str(folder / "killed"))
    for job in (*jobs_of(folder, "1"), *begun(folder, "1")):
        do(tiny_folder, job)
    code, told = launch(2, tiny_folder, *begun(folder, "2", "2s"), replace(killed, after=3, event="kill", rank=1))
    assert code != 0, told
    assert sorted(path.name for path in (folder / "killed" / "checkpoints").glob("step*")) == ["step-000002"], told
    pair = (*jobs_of(folder, "2"), *jobs_of(folder, "2s"))
    code, told = launch(2, tiny_folder, killed, *pair, *ended(folder, "2", "2s"))
    assert code == 0, told
    four = (*jobs_of(folder, "4"), *jobs_of(folder, "4s"))
    code, told = launch(4, tiny_folder, *four, *ended(folder, "4", "4s"), *begun(folder, "4s"))
    assert code == 0, told
    for job in ended(folder, "1"):
        do(tiny_folder, job)
    return folder


def assert_the_same(one: Path, other: Path) -> None:
    """Losses and adapters, but for low bits."""
    assert losses(one) == pytest.approx(losses(other), abs=1e-6)
    ours, theirs = (load_tensors(folder / "adapter" / "adapter_model.safetensors") for folder in (one, other))
    assert ours.keys() == theirs.keys()
    for name, tensor in ours.items():
        assert torch.allclose(tensor, theirs[name], atol=1e-4), name


def losses(folder: Path) -> list[float]:
    return [line.loss for line in metrics(folder)]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("world", MANY)
def test_many_processes_make_the_steps_of_one(world: str, kind: str, done: Path):
    assert_the_same(done / f"{world}-{kind}", done / f"1-{kind}")
    assert losses(done / "1-packed")[-1] < losses(done / "1-packed")[0] - 0.005
    assert files(done / f"{world}-{kind}").keys() == files(done / f"1-{kind}").keys()


@pytest.mark.parametrize("world", MANY)
def test_many_processes_share_out_validation_rows(world: str, done: Path):
    """After steps 2, 4 and 6, whole or sharded."""
    ours, alone = (
        [line.evaluation for line in metrics(done / f"{name}-supervised") if line.evaluation] for name in (world, "1")
    )
    assert [(each.rows, each.tokens) for each in ours] == [(each.rows, each.tokens) for each in alone]
    assert [each.loss for each in ours] == pytest.approx([each.loss for each in alone], abs=1e-6)
    assert len({each.loss for each in alone}) == len(alone) == 3


@pytest.mark.parametrize("name", RESUMED)
def test_what_some_processes_begin_others_end(name: str, done: Path):
    assert_the_same(done / name, done / "1-packed")


@pytest.mark.parametrize("name", ["killed", "2-2", "2s-2s"])
def test_the_same_number_of_processes_ends_in_the_same_bytes(name: str, done: Path):
    whole = "2s-packed" if name == "2s-2s" else "2-packed"
    assert files(done / name) == files(done / whole)
    assert files(done / whole) != files(done / "1-packed"), "another order of sums would be seen"


@pytest.mark.parametrize("world", ["2", "4"])
def test_processes_share_out_the_answers_and_the_first_one_judges(world: str, done: Path):
    """Five prompts under two configurations, after steps 2, 4 and 6; the best weights are those that one would take."""
    ours, alone = done / f"{world}-evaluated", done / "1-evaluated"
    assert [line.evaluation for line in metrics(ours)] == [line.evaluation for line in metrics(alone)]
    assert (done / f"{world}-evaluated.judged-0").read_text() == "10\n10\n10\n"
    assert not (done / f"{world}-evaluated.judged-1").exists()
    assert_the_same(ours, alone)


@pytest.mark.parametrize("world", ["2s", "4s"])
def test_a_sharded_model_is_not_evaluated(world: str, done: Path):
    for rank in range(int(world[0])):
        assert "Launch without --use_fsdp" in (done / f"{world}-evaluated.refused-{rank}").read_text()
    assert not (done / f"{world}-evaluated" / "training.json").exists()


@pytest.mark.parametrize("world", ["1", *MANY])
def test_the_model_is_given_back_and_can_be_trained_again(world: str, done: Path):
    assert files(done / f"{world}-padded-again") == files(done / f"{world}-padded")


@pytest.mark.parametrize("world", MANY)
def test_a_process_holds_its_share_of_a_sharded_model(world: str, done: Path):
    held = [float((done / f"{world}-packed.held-{rank}").read_text()) for rank in range(int(world[0]))]
    assert sum(held) == pytest.approx(1 if world.endswith("s") else int(world[0]))


@pytest.mark.parametrize("world", MANY)
def test_one_process_without_numbers_stops_all_with_one_message(world: str, done: Path):
    told = {(done / f"{world}-diverging.refused-{rank}").read_text() for rank in range(int(world[0]))}
    assert len(told) == 1
    assert "step 5: the loss of" in told.pop()
    assert checkpoints(done / f"{world}-diverging" / "checkpoints")[-1].name == "step-000004"


@pytest.mark.parametrize("kind", ["packed", "supervised"])
def test_killed_and_started_again_it_ends_in_the_same_bytes(kind: str, tiny_folder: Path, tmp_path: Path):
    """One process, at whatever moment the signal comes."""
    longer = KINDS[kind].settings | {"num_train_epochs": 8, "snapshot_steps": [7]}
    whole = Job(str(tmp_path / "whole"), rows=20, settings=longer)
    cut = replace(whole, folder=str(tmp_path / "cut"))
    do(tiny_folder, whole)
    worker = start([], *words(tiny_folder, cut))
    lines = tmp_path / "cut" / "metrics.jsonl"
    deadline = time.monotonic() + 120
    while worker.poll() is None and time.monotonic() < deadline:
        if lines.exists() and lines.read_bytes().count(b"\n") >= 5:
            break
        time.sleep(0.002)
    worker.send_signal(signal.SIGKILL)
    worker.communicate(timeout=60)
    assert not (tmp_path / "cut" / "result.json").exists(), "it was finished before it was killed"
    do(tiny_folder, cut)
    assert files(tmp_path / "cut") == files(tmp_path / "whole")
