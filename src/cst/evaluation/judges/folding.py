"""Text as it looks to a reader: invisible characters gone, look-alikes as the plain characters they look like.

This file knows nothing of what the text is searched for.
"""

import re
import unicodedata
from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

_LETTERS = (
    ("АВЕЅІЈКМНОРСТХУ", "ABESIJKMHOPCTXY"),  # noqa: RUF001 - Cyrillic
    ("аеорсухіјѕһԁԛԝ", "aeopcyxijshdqw"),  # noqa: RUF001 - Cyrillic
    ("ΑΒΕΖΗΙΚΜΝΟΡΤΥΧαινορυχ", "ABEZHIKMNOPTYXaivopux"),
)
_BRACKETS = (
    ("【〔❲⁅", "["),  # noqa: RUF001
    ("】〕❳⁆", "]"),  # noqa: RUF001
    ("⟦〚", "[["),
    ("⟧〛", "]]"),
    ("‹〈⟨❮", "<"),  # noqa: RUF001
    ("›〉⟩❯", ">"),  # noqa: RUF001
)
_ENDS_OF_LINES = "\r\v\f\x85\u2028\u2029"
_EMPTY_LETTERS = "\u115f\u1160\u3164"

_LOOKALIKES = str.maketrans(
    {look: plain for looks, plains in _LETTERS for look, plain in zip(looks, plains, strict=True)}
    | {look: plain for looks, plain in _BRACKETS for look in looks}
    | dict.fromkeys(_ENDS_OF_LINES, "\n")
    | dict.fromkeys(_EMPTY_LETTERS, "")
)
"""A part of Unicode's confusables (UTS 39): what could pass for the letters and brackets of labels."""

_INVISIBLE = {"Cf", "Cc", "Mn", "Me"}
_KEPT = "\n\t"
_ODD = re.compile(r"[^\n\t -~]")


class Folded(NamedTuple):
    """A text as it looks; `origins[i]` is the index of the character that `text[i]` came from."""

    text: str
    origins: Sequence[int]


def fold(text: str) -> Folded:
    """The text without what is invisible, accents taken off, look-alikes as the plain characters they look like."""
    if not _ODD.search(text):
        return Folded(text, range(len(text)))
    pieces = [_looks(character) for character in text]
    return Folded("".join(pieces), [index for index, piece in enumerate(pieces) for _ in piece])


@lru_cache(maxsize=4096)
def _looks(character: str) -> str:
    plain = unicodedata.normalize("NFKD", character.translate(_LOOKALIKES)).translate(_LOOKALIKES)
    return "".join(c for c in plain if c in _KEPT or unicodedata.category(c) not in _INVISIBLE)
