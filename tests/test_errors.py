"""The error tree is complete, and as it is drawn."""

import inspect

import pytest

from cst import errors

DEFINED = [error for _, error in inspect.getmembers(errors, inspect.isclass) if error.__module__ == errors.__name__]


@pytest.mark.parametrize("error", DEFINED)
def test_each_error_is_a_users_to_mend_and_stands_in_the_drawing(error):
    assert issubclass(error, errors.CstError)
    assert error.__name__ in (errors.__doc__ or "")


def test_the_drawing_names_no_error_that_is_gone():
    drawn = {word for word in (errors.__doc__ or "").split() if word.endswith("Error")}

    assert drawn == {error.__name__ for error in DEFINED}
