"""Text of others made harmless before it enters a judge's prompt: it can neither speak a verdict nor end its section.

Labels are looked for as a careless copyist might spell them: in other letters that look alike, with invisible
characters between, spaced out or broken over lines. What is changed, and nothing else:

- an offered label becomes `(quoted label)`, so that a judge who quotes the text after its verdict names no side;
- control tokens of chat templates (`<|im_end|>`, `</s>`, `[INST]`), role headers (`### User:` and `User:` at the start
  of a line, `USER:` anywhere) and the words with which the template itself parts its sections, whatever the nonce, get
  a middle dot after their first character: `<·|im_end|>`, `U·ser:`.

All other text stays as it is, byte by byte. This file knows no judge and no nonce.
"""

import re
from collections.abc import Callable, Sequence
from functools import lru_cache

from cst.evaluation.judges.folding import fold

QUOTED_LABEL = "(quoted label)"
DOT = "\N{MIDDLE DOT}"

SHORTEST_FENCE = 3
"""Characters; a quotation mark or a bracket in front of `{answer}` is no fence, and a plus sign no verdict."""

_NOWHERE = r"(?!)"
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
    return re.compile("|".join(forms) or _NOWHERE, re.IGNORECASE | re.MULTILINE)


@lru_cache(maxsize=64)
def _mark_pattern(fences: tuple[str, ...], anywhere: bool) -> re.Pattern[str]:
    """Control tokens, role headers, and a template's fences; those that begin with a letter, at the start of a line."""
    starts = ["" if anywhere or not fence[0].isalnum() else r"^[ \t]*" for fence in fences]
    own = [start + _in_any_spacing(fence) for start, fence in zip(starts, fences, strict=True)]
    return re.compile("|".join([*own, *_CONTROL_TOKENS, *_ROLE_HEADERS]), re.IGNORECASE | re.MULTILINE)


def _in_any_spacing(fence: str) -> str:
    words = [re.escape(word).replace(re.escape(_NONCE), _ANY_NONCE) for word in fold(fence).text.split()]
    return r"\s+".join(words)
