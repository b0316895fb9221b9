import pytest
from hypothesis import given
from hypothesis import strategies as st

from cst.evaluation.judges.folding import fold
from evaluation.judges.adversaries import CYRILLIC, FULL_WIDTH, ZERO_WIDTH


@pytest.mark.parametrize(
    ("text", "looks"),
    [
        ("plain\n\ttext 123 []", "plain\n\ttext 123 []"),
        ("[[HARM]]".translate(FULL_WIDTH), "[[HARM]]"),
        ("HARM".translate(CYRILLIC), "HARM"),
        ("\u27e61\u27e7", "[[1]]"),
        ("e\u0301\u00e9", "ee"),
        (f"a{ZERO_WIDTH}b\x00c", "abc"),
        ("a\r\nb\u2028c", "a\n\nb\nc"),
        ("\U0001d407\u2460", "H1"),
        ("\u3164\u65e5\u672c", "\u65e5\u672c"),
    ],
)
def test_text_is_folded_to_what_it_looks_like(text, looks):
    assert fold(text).text == looks


@given(st.text(st.characters(codec="utf-8")))
def test_folding_keeps_track_of_where_characters_came_from(text):
    folded = fold(text)
    assert len(folded.text) == len(folded.origins)
    assert list(folded.origins) == sorted(folded.origins)
    assert all(0 <= origin < len(text) for origin in folded.origins)
    assert all(fold(text[origin]).text for origin in folded.origins)


@given(st.text(st.characters(codec="utf-8")))
def test_what_is_folded_stays_as_it_is(text):
    once = fold(text).text
    assert fold(once).text == once
