"""Templates are filled in one pass: no value is read as a template."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cst.errors import RecipeError
from cst.templates import fill, placeholders


def test_each_placeholder_gets_its_value():
    assert fill("{a} and {b}, {a}", {"a": "one", "b": "two", "unused": "three"}) == "one and two, one"


def test_a_value_that_looks_like_a_placeholder_stays_text():
    values = {"prompt": "{original}", "original": "{prompt}"}

    assert fill("{prompt}|{original}", values) == "{original}|{prompt}"


@given(st.text(), st.text(), st.text(alphabet="ab {}\\g<1>"))
def test_values_are_put_in_as_they_are(prompt, original, between):
    template = "{prompt}" + between.replace("{", "").replace("}", "") + "{original}"
    expected = prompt + between.replace("{", "").replace("}", "") + original

    assert fill(template, {"prompt": prompt, "original": original}) == expected


@pytest.mark.parametrize("template", ["", "plain", '{"json": 1}', "{ spaced }", "{Upper}", "{}", "{1}", "}{"])
def test_other_braces_are_text(template):
    assert placeholders(template) == frozenset()
    assert fill(template, {}) == template


def test_an_unknown_name_is_refused_with_the_known_ones():
    with pytest.raises(RecipeError, match=r"asks for \{orignal\}.*\['original', 'prompt'\].*Correct the name"):
        fill("Mend {orignal}", {"original": "x", "prompt": "y"})
