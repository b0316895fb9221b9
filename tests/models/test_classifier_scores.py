"""Rows to logits: in order, equal to a call written by hand, whatever the architecture."""

from pathlib import Path

import pytest
import torch
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from cst.errors import ModelError
from cst.models.classifier_rows import ClassifierRow, LayoutKind, layout_of
from cst.models.classifier_scores import logits_of, output_index
from cst.models.loading import LoadedClassifier, load_classifier
from models.families import conversation
from models.tiny import edit
from models.tiny_classifiers import KINDS, Kind, classifier_folder

TALKS = [
    conversation(None, f"How do I bake bread number {n}?", "Mix flour and water. " * (1 + n * 7 % 4)) for n in range(9)
]


def by_hand(folder: Path, kind: LayoutKind, output: int) -> list[float]:
    """One plain call of transformers a conversation, without padding."""
    model = AutoModelForSequenceClassification.from_pretrained(folder, dtype=torch.float32).eval()
    tokenizer = AutoTokenizer.from_pretrained(folder)
    found = []
    for question, answer in TALKS:
        if kind == "two_segments":
            inputs = tokenizer(question.content, answer.content, return_tensors="pt")
        elif kind == "chat_template":
            turns = [question.model_dump(), answer.model_dump()]
            inputs = tokenizer.apply_chat_template(turns, return_tensors="pt", return_dict=True)
        else:
            text = f"\n\nHuman: {question.content}\n\nAssistant: {answer.content}"
            inputs = tokenizer(text, return_tensors="pt")
        with torch.no_grad():
            found.append(model(**inputs).logits[0, output].item())
    return found


def rows(loaded: LoadedClassifier, kind: LayoutKind = "template") -> list[ClassifierRow]:
    layout = layout_of(kind, loaded.tokenizer, template="\n\nHuman: {prompt}\n\nAssistant: {answer}")
    return [layout(talk) for talk in TALKS]


def scores(loaded: LoadedClassifier, kind: LayoutKind = "template", *, output: int = 0, size: int = 4) -> list[float]:
    return logits_of(loaded, rows(loaded, kind), output=output, batch_size=size, description="score")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("labels", [1, 3])
def test_scores_are_those_of_a_call_by_hand_in_order(kind: Kind, labels: int, tmp_path: Path) -> None:
    folder = classifier_folder(tmp_path / "m", kind, labels=labels)
    expected = by_hand(folder, "template", labels - 1)

    assert scores(load_classifier(str(folder)), output=labels - 1) == pytest.approx(expected, abs=1e-6)
    assert max(expected) - min(expected) > 1e-3


@pytest.mark.parametrize(("layout", "kind"), [("two_segments", "bert"), ("chat_template", "llama")])
def test_the_other_layouts_too(layout: LayoutKind, kind: Kind, tmp_path: Path) -> None:
    folder = classifier_folder(tmp_path / "m", kind)

    assert scores(load_classifier(str(folder)), layout) == pytest.approx(by_hand(folder, layout, 0), abs=1e-6)


def test_the_order_is_kept_whatever_the_batches(tmp_path: Path) -> None:
    loaded = load_classifier(str(classifier_folder(tmp_path / "m")))

    assert len({len(row.tokens) for row in rows(loaded)}) > 2
    for size in (1, 2, 5, 100):
        assert scores(loaded, size=size) == pytest.approx(scores(loaded, size=3), abs=1e-6)


def test_an_output_has_an_index_and_a_label(tmp_path: Path) -> None:
    folder = classifier_folder(tmp_path / "m", labels=2)
    edit(folder / "config.json", id2label={"0": "safe", "1": "harmful"}, label2id={"safe": 0, "harmful": 1})
    loaded = load_classifier(str(folder))

    assert [output_index(loaded, name) for name in ("harmful", "safe", 1)] == [1, 0, 1]
    for unknown in (2, -1, "toxic"):
        with pytest.raises(ModelError, match=r"has no output .*\{0: 'safe', 1: 'harmful'\}"):
            output_index(loaded, unknown)


def test_what_is_no_number_is_no_score(tmp_path: Path) -> None:
    loaded = load_classifier(str(classifier_folder(tmp_path / "m")))
    with torch.no_grad():
        next(loaded.model.parameters()).fill_(float("nan"))

    with pytest.raises(ModelError, match="gave nan for row 0"):
        scores(loaded)


def test_progress_is_shown_where_it_has_a_name(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    loaded = load_classifier(str(classifier_folder(tmp_path / "m")))
    found = {
        name: (logits_of(loaded, rows(loaded), output=0, batch_size=4, description=name), capsys.readouterr().err)
        for name in ("score", None)
    }

    assert found["score"][0] == found[None][0]
    assert found["score"][1].startswith("score: 9/9")
    assert found[None][1] == ""


def test_no_rows_have_no_scores(tmp_path: Path) -> None:
    loaded = load_classifier(str(classifier_folder(tmp_path / "m")))

    assert logits_of(loaded, [], output=0, batch_size=4, description="score") == []
