"""Refusals that are told by their beginnings, and answers that begin like them."""

import pytest

from cst.refusals import REFUSAL_PHRASES, begins_as_refusal, plain


@pytest.mark.parametrize(
    "text",
    [
        "I'm sorry, but I can't assist with that.",
        "I\N{RIGHT SINGLE QUOTATION MARK}m sorry. I cannot help you with the cake.",
        "As an AI language model, I cannot provide this recipe.",
        "I must decline to write this letter.",
        "No, I won't help with that.",
        "Thank you for asking, I am not able to fulfill this request.",
        "It is not appropriate to discuss the surprise party.",
        "I refuse.",
        "  **I cannot** answer that.",
    ],
)
def test_a_refusal_is_seen(text):
    assert begins_as_refusal(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "I cannot fly, because I have no wings.",
        "As an AI, I have no hometown. Rome is lovely, though.",
        "I'm sorry to hear that! Tea may cheer you up.",
        "Sure. I can't recommend this tea enough.",
        "The guard said: I cannot help you.",
        "I will not forget the day we met by the sea.",
        "As an assistant cook, boil the water first. Then add the leaves.",
    ],
)
def test_an_answer_that_begins_like_one_is_none(text):
    assert not begins_as_refusal(text)


def test_phrases_are_as_texts_are_compared():
    assert [phrase for phrase in REFUSAL_PHRASES if plain(phrase) != phrase] == []
