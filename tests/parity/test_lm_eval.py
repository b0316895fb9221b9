"""Capability scores against `lm-eval run` on the same task files, settings and weights."""

import json
import os
import subprocess
import sys
from functools import partial

import pytest
from local_tasks import write_tasks

from cst.evaluation.capability import capability_scores
from cst.evaluation.harness import answered, named_sets
from cst.models.loading import load_model
from cst.recipe.evaluation import CapabilitySettings, CapabilityTask
from models.families import FAMILIES
from models.tiny import model_folder

SYSTEM_PROMPT = "You are a helpful yet harmless assistant that avoids generating illegal or harmful content."
WANTED = [
    ("letters", "acc"),
    ("letters", "acc_norm"),
    ("texts", "acc_norm"),
    ("truthful_shares", "acc"),
    ("both", "acc"),
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Task files, and beside them a model."""
    folder = tmp_path_factory.mktemp("parity")
    family = next(family for family in FAMILIES if family.name == "llama3")
    model_folder(folder / "model", family=family, vocab_size=700, max_positions=900, seed=3)
    return write_tasks(folder)


@pytest.fixture(scope="module")
def theirs(folder) -> dict:
    """What the command line tool makes of it: results, and the samples of each task."""
    words = [
        *("run", "--model", "hf", "--model_args", f"pretrained={folder / 'model'},dtype=float32", "--device", "cpu"),
        *("--tasks", "both,truthful_shares", "--include_path", str(folder), "--batch_size", "4"),
        *("--apply_chat_template", "--system_instruction", SYSTEM_PROMPT),
        *("--output_path", str(folder / "out"), "--log_samples"),
    ]
    offline = {**os.environ, "HF_HUB_OFFLINE": "1", "HF_DATASETS_CACHE": str(folder / "cache"), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-m", "lm_eval", *words], env=offline, cwd=folder, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    (results,) = (folder / "out").rglob("results_*.json")
    found = json.loads(results.read_text())
    for path in (folder / "out").rglob("samples_*.jsonl"):
        lines = [json.loads(line) for line in path.read_text().splitlines()]
        found.setdefault("samples", {})[path.name.removeprefix("samples_").rsplit("_", 1)[0]] = lines
    return found


@pytest.mark.parametrize(("task", "metric"), WANTED)
def test_scores_are_those_of_the_command_line_tool(folder, theirs, tmp_path, task, metric):
    sets = named_sets([CapabilityTask(task=task, metric=metric)], folder)
    models = {"base": partial(load_model, str(folder / "model"))}
    settings = CapabilitySettings(tasks="miniature", batch_size=3)
    (group,) = answered(models, {"s1": SYSTEM_PROMPT}, sets, settings, tmp_path)
    (score,) = capability_scores([group], base="base")

    assert score.mean == pytest.approx(theirs["results"][task][f"{metric},none"], abs=1e-6)
    for leaf in sets[0].tasks:
        samples = sorted(theirs["samples"][leaf.task_name], key=lambda sample: sample["doc_id"])
        ours = [answer for answer in group if answer.item_id.startswith(f"{leaf.task_name}/")]
        assert [answer.item_hash for answer in ours] == [sample["doc_hash"] for sample in samples]
        for answer, sample in zip(ours, samples, strict=True):
            assert answer.value == pytest.approx(sample[metric], abs=1e-6)
            assert answer.logps == pytest.approx([float(logp) for logp, _ in sample["filtered_resps"]], abs=1e-4)


def test_the_scores_are_no_trivial_ones(theirs):
    """A control: neither all right nor all wrong, and a normalised accuracy that isn't the plain one."""
    shares = theirs["results"]["truthful_shares"]["acc,none"]
    assert 0 < shares < 1
    assert 0 < theirs["results"]["both"]["acc,none"] < 1
