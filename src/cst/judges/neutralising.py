"""Answers made harmless before a judge reads them: offered labels, fences, role headers and control tokens go.

Text is searched as it looks to a reader: invisible characters gone, look-alikes as the plain characters they look
like. This file does not know what a rubric asks, or how a reply is read.
"""

import re
import unicodedata
from collections.abc import Callable, Sequence
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
_LOOKALIKES = str.maketrans(
    {look: plain for looks, plains in _LETTERS for look, plain in zip(looks, plains, strict=True)}
    | {look: plain for looks, plain in _BRACKETS for look in looks}
    | dict.fromkeys("\r\v\f\x85\u2028\u2029", "\n")
    | dict.fromkeys("\u115f\u1160\u3164", "")  # letters that show nothing
)
"""A part of Unicode's confusables (UTS 39): what could pass for the letters and brackets of labels."""

_INVISIBLE = {"Cf", "Cc", "Mn", "Me"}
_ODD = re.compile(r"[^\n\t -~]")


QUOTED_LABEL = "(quoted label)"
DOT = "\N{MIDDLE DOT}"

SHORTEST_FENCE = 3
"""Characters; a quotation mark or a bracket in front of `{answer}` is no fence, and a plus sign no verdict."""

_NONCE = "{nonce}"
_ANY_NONCE = "[0-9a-f]{8}"
_OTHER_PLACEHOLDER = re.compile(r"\{(?!nonce\})[a-z_][a-z0-9_]*\}")

_CONTROL_TOKENS = (
    r"<\|[^|<>\n·]{1,64}\|>",
    r"</?(?:s|unk|pad|bos|eos|think|tool_call|start_of_turn|end_of_turn|start_header_id|end_header_id)>",
    r"\[/?(?:INST|SYSTEM_PROMPT|TOOL_CALLS|TOOL_RESULTS|AVAILABLE_TOOLS)\]",
    r"<</?SYS>>",
)
_ROLE_HEADERS = (
    r"^[ \t]*#{1,6}[ \t]*(?:system|user|human|assistant|model|instruction|input|response)[ \t]*:",
    r"^[ \t]*(?:system|user|human|assistant)[ \t]*:",
    r"(?-i:\b(?:SYSTEM|USER|HUMAN|ASSISTANT):)",
)


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
    return "".join(c for c in plain if c in "\n\t" or unicodedata.category(c) not in _INVISIBLE)


def neutralise(text: str, *, labels: Sequence[str], fences: Sequence[str], anywhere: bool = False) -> str:
    """The text without offered labels, control tokens, role headers, and the template's own fences.

    A fence that begins with a letter is one at the start of a line, or `anywhere`. Doing it twice is doing it once.
    """
    text = _until_none(text, _label_pattern(tuple(labels)), lambda _found: QUOTED_LABEL)
    return _until_none(text, _mark_pattern(tuple(fences), anywhere), _dotted)


def fences(template: str) -> list[str]:
    """The pieces of a template with which text could end its section, `{nonce}` standing for any nonce.

    They are what stands in a line between placeholders, if it has the nonce, begins with a sign or ends with a colon.
    """
    pieces = {piece.strip() for line in template.splitlines() for piece in _OTHER_PLACEHOLDER.split(line)}
    long_enough = sorted(p for p in pieces if len(p.replace(_NONCE, "")) >= SHORTEST_FENCE)
    return [piece for piece in long_enough if _NONCE in piece or not piece[0].isalnum() or piece[-1] == ":"]


def needs_its_own_line(label: str) -> bool:
    """Whether a label is a verdict only on a line of its own: a word, or too short to be told from punctuation."""
    return label[0].isalnum() or label[-1].isalnum() or len(label) < SHORTEST_FENCE


def has_label(text: str, labels: Sequence[str]) -> bool:
    """Whether a text holds an offered label, in whatever spelling."""
    return _label_pattern(tuple(labels)).search(fold(text).text) is not None


def _until_none(text: str, pattern: re.Pattern[str], mend: Callable[[str], str]) -> str:
    """Replace what is found until nothing is: what overlapped, or came together, may be found the next time."""
    while True:
        folded = fold(text)
        found = list(pattern.finditer(folded.text))
        if not found:
            return text
        pieces, end = [], 0
        for match in found:
            pieces += [text[end : folded.origins[match.start()]], mend(match.group())]
            end = folded.origins[match.end() - 1] + 1
        text = "".join([*pieces, text[end:]])


def _dotted(found: str) -> str:
    """A middle dot after the first character that shows."""
    start = len(found) - len(found.lstrip())
    return found[: start + 1] + DOT + found[start + 1 :]


@lru_cache(maxsize=64)
def _label_pattern(labels: tuple[str, ...]) -> re.Pattern[str]:
    """Labels in any spacing; where one needs a line of its own, with that line. No labels are found nowhere."""
    spaced = {label: r"\s*".join(re.escape(c) for c in fold(label).text if not c.isspace()) for label in labels}
    forms = [rf"^[^\w\n]*{form}[^\w\n]*$" if needs_its_own_line(label) else form for label, form in spaced.items()]
    return re.compile("|".join(forms) or "(?!)", re.IGNORECASE | re.MULTILINE)


@lru_cache(maxsize=64)
def _mark_pattern(fences: tuple[str, ...], anywhere: bool) -> re.Pattern[str]:
    """Control tokens, role headers, and a template's fences; those that begin with a letter, at the start of a line."""
    starts = ["" if anywhere or not fence[0].isalnum() else r"^[ \t]*" for fence in fences]
    own = [start + _in_any_spacing(fence) for start, fence in zip(starts, fences, strict=True)]
    return re.compile("|".join([*own, *_CONTROL_TOKENS, *_ROLE_HEADERS]), re.IGNORECASE | re.MULTILINE)


def _in_any_spacing(fence: str) -> str:
    words = [re.escape(word).replace(re.escape(_NONCE), _ANY_NONCE) for word in fold(fence).text.split()]
    return r"\s+".join(words)
