"""Conversations as rows: whole where they fit, and the answer the last to be cut."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cst.errors import ModelError, RenderingError
from cst.models.classifier_rows import LayoutKind, fitted, layout_of, longest_row
from models.families import conversation
from models.tiny_classifiers import END, SPECIAL, START, Kind, tiny_classifier, tiny_tokenizer

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
