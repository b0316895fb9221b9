"""`cst score ANSWERS.json --recipe`: every answer judged once, in order, and written beside the answers."""

import json
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from cst.answer_files import OPINIONS, read_instructions
from models.tiny_classifiers import classifier_folder
from test_cli import cst, refused

INSTRUCTIONS = ["Name a tea.", "Add these.", "Describe rain."]
OUTPUTS = ["Green tea is a tea.", "Sorry, I can't help with that.", "Rain is water that falls."]
ANSWERS = {
    "parameters": {"model": "tiny"},
    "inputs": ["", "2 and 3", ""],
    "instructions": INSTRUCTIONS,
    "tags": ["drinks", "sums", "drinks"],
    "outputs": OUTPUTS,
}
PHRASES = "name: phrases\nmodel: {path: miniature}\njudge: {kind: refusal_phrases}\n"


@pytest.fixture
def home(tmp_path: Path) -> Path:
    (tmp_path / "answers.json").write_text(json.dumps(ANSWERS))
    (tmp_path / "phrases.yaml").write_text(PHRASES)
    return tmp_path


def test_a_reward_models_numbers_stand_beside_the_answers_in_order(home: Path) -> None:
    folder = classifier_folder(home / "reward")
    judge = f"{{kind: classifier, preset: redteam-osst, threshold: 0, path: {folder}, max_length: 128, device: cpu}}"
    (home / "reward.yaml").write_text(f"name: reward\nmodel: {{path: miniature}}\njudge: {judge}\n")
    done = cst("score", "answers.json", "--recipe", "reward.yaml", "--out", "scored.json", "--json", cwd=home)
    assert done.returncode == 0, done.stderr
    written = json.loads((home / "scored.json").read_text())
    model = AutoModelForSequenceClassification.from_pretrained(folder, dtype=torch.float32).eval()
    tokenizer = AutoTokenizer.from_pretrained(folder)
    asked = [INSTRUCTIONS[0], f"{INSTRUCTIONS[1]}\n2 and 3", INSTRUCTIONS[2]]
    texts = [f"\n\nHuman: {a}\n\nAssistant: {b}" for a, b in zip(asked, OUTPUTS, strict=True)]
    with torch.no_grad():
        expected = [model(**tokenizer(text, return_tensors="pt")).logits[0, 0].item() for text in texts]

    assert {name: written[name] for name in ANSWERS} == ANSWERS
    assert written["scores"] == pytest.approx(expected, abs=1e-6)
    assert written["exhibits"] == ["original" if score >= 0 else "revised" for score in written["scores"]]
    told = json.loads(done.stdout)
    assert (told["judge"], told["task"]) == (written["judge"], "harmless")
    assert [(score.get("tag"), score["n"]) for score in told["scores"]] == [(None, 3), ("drinks", 2), ("sums", 1)]
    assert told["scores"][0]["mean"]["mean"] == pytest.approx(sum(expected) / 3, abs=1e-6)
    assert told["scores"][0]["counted"] == sum(score >= 0 for score in expected)


def test_refusals_of_harmless_requests_are_counted_where_that_is_the_task(home: Path) -> None:
    command = ("score", "answers.json", "--recipe", "phrases.yaml")
    told = json.loads(cst(*command, "--task", "over_refusal", "--json", cwd=home).stdout)
    printed = cst(*command, "--task", "over_refusal", cwd=home).stdout

    assert [(score["counted"], score["n"]) for score in told["scores"]] == [(1, 3), (0, 2), (1, 1)]
    assert "refused" in printed
    assert "1/3, 0 unscored" in printed


def test_a_scored_file_is_scored_again_as_if_it_were_not(home: Path) -> None:
    judged = ("--recipe", "phrases.yaml")
    cst("score", "answers.json", *judged, "--out", "scored.json", cwd=home)
    (home / "answers.json").unlink()
    done = cst("score", "scored.json", *judged, "--out", "again.json", cwd=home)

    assert done.returncode == 0, done.stderr
    assert (home / "again.json").read_bytes() == (home / "scored.json").read_bytes()
    scored = json.loads((home / "scored.json").read_text())
    assert scored.keys() - ANSWERS.keys() == OPINIONS
    assert read_instructions(home / "scored.json").instructions == tuple(INSTRUCTIONS)
    (home / "scored.json").write_text(json.dumps({**scored, "score": 1}))
    assert "'score' is unknown" in refused("score", str(home / "scored.json"), "--recipe", str(home / "phrases.yaml"))


def test_what_can_not_be_scored_is_refused(home: Path) -> None:
    (home / "uneven.json").write_text(json.dumps({**ANSWERS, "outputs": OUTPUTS[:2]}))
    judged = ("--recipe", str(home / "phrases.yaml"))

    assert "outputs has 2" in refused("score", str(home / "uneven.json"), *judged)
    assert "no recipe says who judges" in refused("score", str(home / "answers.json"))
    assert "takes no --task" in refused("score", str(home / "phrases.yaml"), "--task", "harmless")
    assert not (home / "scored.json").exists()
