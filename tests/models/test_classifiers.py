"""Conversations as rows: whole where they fit, and the answer the last to be cut."""

from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from cst.errors import ModelError, RenderingError
from cst.models.classifiers import ClassifierRow, LayoutKind, fitted, layout_of, logits_of, longest_row, output_index
from cst.models.loading import LoadedClassifier, load_classifier
from models.families import conversation
from models.tiny import edit
from models.tiny_classifiers import END, KINDS, SPECIAL, START, Kind, classifier_folder, tiny_classifier, tiny_tokenizer

TEMPLATE = "\n\nHuman: {prompt}\n\nAssistant: {answer}"
LAYOUTS: list[tuple[LayoutKind, Kind]] = [("template", "roberta"), ("two_segments", "bert"), ("chat_template", "llama")]
WORDS = st.text(alphabet="abc de\n", min_size=1, max_size=60)


def layout(kind: LayoutKind, model: Kind):
    return layout_of(kind, tiny_tokenizer(model), template=TEMPLATE)


def read(tokens: tuple[int, ...], model: Kind = "roberta") -> str:
    return tiny_tokenizer(model).decode(list(tokens))


@pytest.mark.parametrize("talk", [conversation(None, "Q?", "A."), conversation(None, "Q?", "A.", "And?", "B.")])
def test_a_template_stands_once_an_exchange(talk) -> None:
    written = "".join(
        f"\n\nHuman: {q.content}\n\nAssistant: {a.content}" for q, a in zip(talk[::2], talk[1::2], strict=True)
    )

    assert layout("template", "roberta")(talk).tokens == tuple(tiny_tokenizer("roberta")(written)["input_ids"])


def test_two_segments_are_the_tokenizers_own() -> None:
    row = layout("two_segments", "bert")(conversation(None, "How do I bake?", "With flour."))
    own = tiny_tokenizer("bert")("How do I bake?", "With flour.")

    assert (row.tokens, row.segments) == (tuple(own["input_ids"]), tuple(own["token_type_ids"]))
    assert row.segments is not None
    assert set(row.segments) == {0, 1}


def test_a_chat_template_is_the_tokenizers_own() -> None:
    talk = conversation(None, "How do I bake?", "With flour.")
    own = tiny_tokenizer("llama").apply_chat_template([turn.model_dump() for turn in talk], return_dict=False)

    assert layout("chat_template", "llama")(talk).tokens == tuple(own)


@pytest.mark.parametrize(("kind", "model"), LAYOUTS)
def test_no_text_becomes_a_special_token(kind: LayoutKind, model: Kind) -> None:
    plain, hostile = conversation(None, "Q?", "A."), conversation(None, f"Q? {' '.join(SPECIAL)}", "".join(SPECIAL))
    specials = [
        [token for token in layout(kind, model)(talk).tokens if token < len(SPECIAL)] for talk in (plain, hostile)
    ]
    naive = tiny_tokenizer(model)("".join(SPECIAL))["input_ids"]

    assert specials[0] == specials[1] != []
    assert len([token for token in naive if token < len(SPECIAL)]) >= len(SPECIAL)


@given(history=st.lists(WORDS, max_size=2), question=WORDS, answer=WORDS, most=st.integers(24, 90))
@pytest.mark.parametrize(("kind", "model"), LAYOUTS)
def test_a_row_fits_and_the_answer_goes_last(
    kind: LayoutKind, model: Kind, history: list[str], question: str, answer: str, most: int
) -> None:
    talk = conversation(None, *(text for each in history for text in (each, each)), question, answer)
    made = fitted(talk, layout(kind, model), most)

    assert len(made.row.tokens) <= most
    assert made.question_lost <= sum(len(turn.content) for turn in talk[:-1])
    if made.answer_lost:
        assert made.question_lost == sum(len(turn.content) for turn in talk[:-1])
        assert made.answer_lost < len(answer)
    kept = answer[: len(answer) - made.answer_lost]
    assert kept.strip() in read(made.row.tokens, model)


def test_the_oldest_exchange_goes_first_then_the_beginning_of_the_question() -> None:
    talk = conversation(None, "old " * 9, "reply " * 3, "early words of the question and its late words", "The answer.")
    rows = {most: fitted(talk, layout("template", "roberta"), most) for most in (120, 70, 40)}
    texts = {most: read(row.row.tokens) for most, row in rows.items()}

    assert rows[120].question_lost == 0 < rows[70].question_lost < rows[40].question_lost
    assert ("old" in texts[120], "old" in texts[70], "early" in texts[70], "early" in texts[40]) == (
        *(True, False, True),
        False,
    )
    assert texts[40].endswith("late words\n\nAssistant: The answer.</s>")
    assert all(row.answer_lost == 0 for row in rows.values())


def test_a_tokenizers_own_truncation_loses_the_answer() -> None:
    """The control: what is done here is needed."""
    talk, most = conversation(None, "word " * 60, "The answer."), 40
    text = f"\n\nHuman: {talk[0].content}\n\nAssistant: The answer."
    own = tiny_tokenizer("roberta")(text, truncation=True, max_length=most)

    assert "answer" not in read(tuple(own["input_ids"]))
    assert "The answer." in read(fitted(talk, layout("template", "roberta"), most).row.tokens)


def test_an_answer_that_is_too_long_is_cut_at_its_end_and_counted() -> None:
    answer = "one two three four five six seven eight nine ten " * 5
    made = fitted(conversation(None, "Q?", answer), layout("template", "roberta"), 60)

    assert (made.row.tokens[0], made.row.tokens[-1]) == (START, END)
    assert made.question_lost == len("Q?")
    assert 0 < made.answer_lost < len(answer)
    assert read(made.row.tokens).endswith(f"Assistant: {answer[: len(answer) - made.answer_lost]}</s>")


def test_no_room_for_an_answer_is_refused() -> None:
    with pytest.raises(ModelError, match="max_length=8 leaves no room for a single character"):
        fitted(conversation(None, "Q?", "A."), layout("template", "roberta"), 8)


def test_a_chat_layout_needs_a_chat_template() -> None:
    with pytest.raises(RenderingError, match="has no chat template"):
        layout("chat_template", "roberta")


def test_how_long_a_row_may_be_is_said_by_tokenizer_or_positions() -> None:
    tokenizer, config = tiny_tokenizer("bert"), tiny_classifier("bert", labels=1, seed=0).config
    assert longest_row(tokenizer, config) == 128
    tokenizer.model_max_length = 10**30
    assert longest_row(tokenizer, config) == 128
    tokenizer.model_max_length = 64
    assert longest_row(tokenizer, config) == 64


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
