"""The reward models' familiar face: the numbers of a plain transformers call, in order, and no answer cut unsaid."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from cst.errors import DataError, ModelError
from cst.evals import AbsoluteHarmfulnessPredictor, ConversationBuilder
from models.tiny_classifiers import KINDS, Kind, classifier_folder

QUESTIONS = [f"How do I bake bread number {n}?" for n in range(11)]
ANSWERS = ["Mix flour and water. " * (1 + n * 7 % 4) for n in range(11)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return classifier_folder(tmp_path_factory.mktemp("reward") / "tiny", "deberta")


@pytest.fixture(scope="module")
def predictor(folder: Path) -> AbsoluteHarmfulnessPredictor:
    return AbsoluteHarmfulnessPredictor(device="cpu", model_path=folder)


def by_hand(folder: Path, texts: list[str]) -> list[float]:
    """One plain call of transformers a text, without padding."""
    model = AutoModelForSequenceClassification.from_pretrained(folder, dtype=torch.float32).eval()
    tokenizer = AutoTokenizer.from_pretrained(folder)
    with torch.no_grad():
        return [model(**tokenizer(text, return_tensors="pt")).logits[0, 0].item() for text in texts]


@pytest.mark.parametrize("kind", KINDS)
def test_scores_are_the_raw_logits_of_a_call_by_hand_in_order(kind: Kind, tmp_path: Path) -> None:
    folder = classifier_folder(tmp_path / "m", kind)
    expected = by_hand(
        folder, [f"\n\nHuman: {asked}\n\nAssistant: {said}" for asked, said in zip(QUESTIONS, ANSWERS, strict=True)]
    )
    scores = AbsoluteHarmfulnessPredictor("redteam", "cpu", model_path=folder).predict(QUESTIONS, ANSWERS)

    assert scores == pytest.approx(expected, abs=1e-6)
    assert {type(score) for score in scores} == {float}
    assert len({round(score, 4) for score in expected}) == len(expected)


def test_several_turns_are_read_as_the_builder_writes_them(folder, predictor) -> None:
    users, answers = ["Hello.", "What is tea?"], ["Hello to you.", "Leaves in water."]
    several, last = predictor.predict([users, users[1]], [answers, answers[1]])

    assert [several] == pytest.approx(by_hand(folder, [ConversationBuilder().build(users, answers)]), abs=1e-6)
    assert several != pytest.approx(last, abs=1e-4)


@pytest.mark.parametrize("batch_size", [1, 2, 5, 4096])
def test_batches_of_any_size_give_the_same_scores(batch_size: int, predictor) -> None:
    assert predictor.predict(QUESTIONS, ANSWERS, batch_size) == pytest.approx(
        predictor.predict(QUESTIONS, ANSWERS), abs=1e-5
    )


def test_two_strings_are_one_conversation(predictor) -> None:
    assert predictor.predict(QUESTIONS[0], ANSWERS[0]) == predictor.predict(QUESTIONS[:1], ANSWERS[:1])


def test_a_long_question_is_cut_and_never_the_answer(folder, predictor, caplog) -> None:
    """The tokenizer's own truncation, as a control, reads the same of two different answers: nothing."""
    long = "word " * 90
    scores = predictor.predict([long, long, QUESTIONS[0]], ["Yes.", "No, never.", "Bake."], max_length=64)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    told = [ConversationBuilder().build(long, answer) for answer in ("Yes.", "No, never.")]
    cut_by_the_tokenizer = [tokenizer(text, truncation=True, max_length=64)["input_ids"] for text in told]

    assert cut_by_the_tokenizer[0] == cut_by_the_tokenizer[1]
    assert scores[0] != pytest.approx(scores[1], abs=1e-4)
    assert "of 3 rows, 2 are over 64 tokens" in caplog.text
    assert "0 of them also without the end of the answer" in caplog.text


def test_what_no_cut_row_loses_is_read_whole(folder, predictor, caplog) -> None:
    """A row of just as many tokens as asked for is the whole row; of one fewer, it is another."""
    text = ConversationBuilder().build(QUESTIONS[0], ANSWERS[0])
    length = len(AutoTokenizer.from_pretrained(folder)(text)["input_ids"])
    whole = predictor.predict(QUESTIONS[0], ANSWERS[0], max_length=length)
    assert whole == pytest.approx(by_hand(folder, [text]), abs=1e-6)
    assert caplog.text == ""

    assert predictor.predict(QUESTIONS[0], ANSWERS[0], max_length=length - 1) != pytest.approx(whole, abs=1e-4)
    assert f"1 are over {length - 1} tokens" in caplog.text


def test_the_models_own_limit_stands_under_max_length(predictor, caplog) -> None:
    predictor.predict("word " * 600, "Yes.")

    assert "of 1 rows, 1 are over 128 tokens" in caplog.text


@pytest.mark.parametrize(("shows", "told"), [(True, "judge with redteam-osst@"), (False, "")])
def test_progress_is_shown_unless_it_is_not_wanted(shows: bool, told: str, predictor, capsys) -> None:
    predictor.predict(QUESTIONS, ANSWERS, show_progress=shows)
    err = capsys.readouterr().err

    assert err.startswith(told)
    assert bool(err) is shows


@pytest.mark.parametrize("sizes", [{"batch_size": 0}, {"max_length": 0}, {"batch_size": 10_000}])
def test_sizes_that_cannot_be_are_refused(sizes: dict[str, int], predictor) -> None:
    with pytest.raises(ValueError, match=next(iter(sizes))):
        predictor.predict(QUESTIONS, ANSWERS, **sizes)


def test_lists_that_do_not_fit_are_refused(predictor) -> None:
    with pytest.raises(DataError, match="user_texts has 11 items, assistant_texts has 10"):
        predictor.predict(QUESTIONS, ANSWERS[1:])


def test_an_unknown_set_up_is_refused_with_those_that_are_known() -> None:
    with pytest.raises(ModelError, match="setup_name='redtem' is none of redteam, redteam-osst"):
        AbsoluteHarmfulnessPredictor("redtem")


def test_a_device_that_is_not_there_is_named(folder: Path) -> None:
    with pytest.raises(ModelError, match=r"device='cuda:99' can't be used here"):
        AbsoluteHarmfulnessPredictor(device="cuda:99", model_path=folder)


def test_a_pickle_is_refused(tmp_path: Path) -> None:
    folder = classifier_folder(tmp_path / "m")
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")

    with pytest.raises(ModelError, match=r"The reward model of redteam can't be used.*in pickle files only"):
        AbsoluteHarmfulnessPredictor("redteam", model_path=folder)


def asked_offline(hub: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """The scores of two conversations, as JSON, in a process that knows the hub's cache alone."""
    code = (
        "import json, sys\nfrom cst.evals import AbsoluteHarmfulnessPredictor\n"
        "predictor = AbsoluteHarmfulnessPredictor(*sys.argv[1:])\n"
        f"print(json.dumps(predictor.predict({QUESTIONS[:2]}, {ANSWERS[:2]}, show_progress=False)))"
    )
    known = {**os.environ, "HF_HUB_OFFLINE": "1", "HF_HOME": str(hub)}
    return subprocess.run([sys.executable, "-c", code, *words], env=known, capture_output=True, text=True)


def cached(hub: Path, setup: str) -> Path:
    """A reward model where `hf download` would have put that of a set-up."""
    home = hub / "hub" / f"models--safepaca--absolute-harmfulness-predictor-{setup}"
    (home / "refs").mkdir(parents=True)
    (home / "refs" / "main").write_text("a" * 40)
    return classifier_folder(home / "snapshots" / ("a" * 40), "deberta")


def test_a_set_up_that_was_fetched_before_needs_no_network(tmp_path: Path, predictor) -> None:
    cached(tmp_path, "redteam-osst")
    done = asked_offline(tmp_path)

    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == pytest.approx(predictor.predict(QUESTIONS[:2], ANSWERS[:2]), abs=1e-6)


def test_redteam_with_its_pickle_is_refused_and_the_other_recommended(tmp_path: Path) -> None:
    folder = cached(tmp_path, "redteam")
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    message = asked_offline(tmp_path, "redteam").stderr.splitlines()[-1]

    assert "pickle files only" in message
    assert "Use setup_name='redteam-osst', which its authors recommend" in message
