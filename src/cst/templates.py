"""Prompt templates with `{name}` placeholders, filled in one pass.

A value is never read again, so text of users and models can't open a placeholder. This file knows no template.
"""

import re
from collections.abc import Mapping

from cst.errors import RecipeError

PLACEHOLDER = re.compile(r"\{([a-z_][a-z0-9_]*)\}")
"""Lower-case names in braces; any other brace is text."""


def placeholders(template: str) -> frozenset[str]:
    """The names that a template asks for."""
    return frozenset(PLACEHOLDER.findall(template))


def fill(template: str, values: Mapping[str, str]) -> str:
    """The template with each placeholder replaced by its value, in one pass from left to right.

    Raises:
        RecipeError: The template asks for a name that `values` doesn't have.
    """
    unknown = placeholders(template) - values.keys()
    if unknown:
        raise RecipeError(
            f"The template asks for {{{sorted(unknown)[0]}}}, but only {sorted(values)} can be filled in: "
            f"{template!r}. Correct the name, or write the brace apart from the word."
        )
    return PLACEHOLDER.sub(lambda match: values[match.group(1)], template)
