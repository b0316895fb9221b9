"""The whole method on the embedded model, small: every stage, resumed, replaced, and as a few lines of Python."""

import hashlib
import json
import math
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import cst
from cst.commands.console import read_recipe
from cst.errors import RunFolderError
from cst.records import Completion, Preference, Prompt, ResponsePair, Score
from cst.store import read_json, read_records, write_records

SMALL = (
    "prompts.training=[{kind: miniature, task: harmless, n: 24}, {kind: miniature, task: truthfulness, n: 12}, "
    "{kind: miniature, task: over_refusal, n: 12}]",
    "prompts.held_out=[{kind: miniature, task: harmless, n: 16}, {kind: miniature, task: truthfulness, n: 8}, "
    "{kind: miniature, task: over_refusal, n: 8}]",
    "training.max_steps=4",
    "training.save_steps=1",
    "training.eval_steps=2",
    "training.eval_prompts=4",
    "training.eval_tasks=[harmless]",
    "training.load_best_model_at_end=true",
    "training.snapshot_steps=[2, 4]",
    "training.per_device_train_batch_size=8",
    "generation.curve_prompts=6",
    "generation.arms=[{wordings: canonical}, {wordings: canonical, temperature: 1.0, tasks: [harmless]}, "
    "{wordings: held_out}, {wordings: unseen}, {wordings: none}, {wordings: neutral}, {wordings: unknown}, "
    "{wordings: canonical, tasks: [harmless, truthfulness], prompts: 1, framings: overrides}, "
    "{wordings: canonical, prompts: 1, framings: exchanges}]",
    "capabilities.limit=8",
)


@pytest.fixture(scope="module")
def recipe():
    return read_recipe(Path("miniature"), SMALL)


@pytest.fixture(scope="module")
def home(recipe, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "small"
    outcomes = cst.run(recipe, folder)
    assert set(outcomes.values()) == {"made"}
    return folder


def hashes(folder: Path) -> dict[str, str]:
    """Every final file but those that hold when things happened."""
    return {
        str(file.relative_to(folder)): hashlib.sha256(file.read_bytes()).hexdigest()
        for file in sorted(folder.rglob("*"))
        if file.is_file() and not file.name.startswith(("journal.sqlite", "spending.json"))
    }


def copy(home: Path, folder: Path) -> Path:
    """A run folder of one's own to change."""
    subprocess.run(["cp", "-r", str(home), str(folder)], check=True)
    return folder


def test_a_second_run_has_nothing_to_do(recipe, home):
    before = hashes(home)
    assert set(cst.run(recipe, home).values()) == {"done before"}
    assert hashes(home) == before


def test_pairs_become_one_row_a_configuration(home):
    pairs = read_records(home / "pairs.jsonl", ResponsePair)
    rows = read_records(home / "preferences" / "cst.jsonl", Preference)
    baseline = read_records(home / "preferences" / "dpo.jsonl", Preference)
    assert pairs
    assert len(rows) == 2 * len(pairs)
    assert len(baseline) == len(pairs)
    assert {row.configuration for row in baseline} == {"harmless", "honest"}
    prompts = read_records(home / "prompts.jsonl", Prompt)
    drops = (home / "drops.jsonl").read_text().splitlines()
    assert len(pairs) + len(drops) == len(prompts)


def test_training_starts_at_ln_2(home):
    for model in ("dpo", "cst"):
        first = json.loads((home / "models" / model / "metrics.jsonl").read_text().splitlines()[0])
        assert first["dpo_loss"] == pytest.approx(math.log(2), abs=1e-4)


def test_scores_are_paired_and_carry_n_and_interval(home):
    scores = [Score.model_validate(score) for score in read_json(home / "scores.json")]
    cells = {(s.model, s.task, s.configuration, s.wordings, s.temperature): s for s in scores if not s.framing}
    for model in ("base", "dpo", "cst"):
        for configuration in ("harmless", "uncensored"):
            score = cells[model, "harmless", configuration, "canonical", 0.0]
            assert score.n + score.unscored == 12
            assert score.low <= (score.rate or 0) <= score.high
            assert cells[model, "harmless", configuration, "canonical", 1.0].n + score.unscored <= 24
    completions = read_records(home / "completions.jsonl", Completion)
    asked = {(c.model, c.configuration, c.wordings, c.framing): set() for c in completions}
    for completion in completions:
        place = completion.configuration, completion.wordings, completion.framing
        asked[completion.model, *place].add(completion.prompt.id)
    for (_, *place), ids in asked.items():
        assert ids == asked["base", *place]


def test_every_part_beyond_the_paper_is_in_the_report(home):
    text = (home / "report.md").read_text()
    parts = ("User-turn overrides", "Several turns", "Switching", "Length-matched scores", "Other wordings")
    shown = {part: text.split(f"## {part}", 1)[1].split("\n## ", 1)[0] for part in parts}

    assert {part: "Nothing to show" in said for part, said in shown.items()} == dict.fromkeys(parts, False)
    assert "unknown system prompt" in shown["Other wordings"]
    assert "Control tokens part this template's turns" in shown["User-turn overrides"]


def test_the_report_reads_files_alone(home, tmp_path):
    folder = copy(home, tmp_path / "copied")
    before = {name: (folder / name).read_bytes() for name in ("report.md", "report.html")}
    for name in before:
        (folder / name).unlink()
    cst.render_report(folder)
    assert {name: (folder / name).read_bytes() for name in before} == before


def run_and_kill(folder: Path, stage: str) -> None:
    """Begin the run, or go on with it, and kill it while a stage is at work."""
    words = [word for override in SMALL for word in ("--set", override)]
    process = subprocess.Popen(
        [sys.executable, "-m", "cst", "run", "miniature", "--folder", str(folder), *words],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    for _ in range(6000):
        if (folder / "stages" / f"{stage}.unfinished").exists() or process.poll() is not None:
            break
        time.sleep(0.02)
    time.sleep(0.2)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL, f"the run ended before it could be killed in {stage}"


def test_killed_at_one_stage_after_the_other_it_goes_on_to_the_same_bytes(recipe, home, tmp_path):
    folder = tmp_path / "killed"
    for stage in ("synthesize", "train-cst", "generate", "capabilities"):
        run_and_kill(folder, stage)
        assert not (folder / "report.md").exists()
    cst.run(recipe, folder)
    assert hashes(folder) == hashes(home)


def test_a_replaced_file_makes_again_what_depends_on_it_where_that_is_asked_for(recipe, home, tmp_path):
    folder = copy(home, tmp_path / "replaced")
    pairs = read_records(folder / "pairs.jsonl", ResponsePair)
    write_records(folder / "pairs.jsonl", pairs[:-1])
    with pytest.raises(RunFolderError, match=r"pairs\.jsonl has changed since it was made"):
        cst.run(recipe, folder)
    outcomes = cst.run(recipe, folder, update=True)
    assert outcomes["prompts"] == "done before"
    assert outcomes["synthesize"] == "given"
    assert outcomes["condition-cst"] == outcomes["train-cst"] == outcomes["generate"] == "made"


@pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated:FutureWarning")  # peft's own call
def test_the_adapter_is_plain_peft(home):
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    from cst.miniature import model_path

    model = AutoModelForCausalLM.from_pretrained(model_path())
    adapted = PeftModel.from_pretrained(model, str(home / "models" / "cst" / "adapter"))
    assert adapted.peft_config["default"].r == 16
