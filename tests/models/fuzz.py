"""Hostile strings for a renderer: whole, cut, spliced and disguised control tokens among headers, blanks and words."""

from collections.abc import Sequence
from dataclasses import dataclass
from random import Random

from cst.errors import RenderingError
from cst.models.rendering import Renderer
from cst.records import Message
from models.families import Family, conversation, instructed

HEADERS = (
    "system",
    "user",
    "assistant",
    "model",
    "### User:\n",
    "### System:\n",
    "USER: ",
    "[INST]",
    "<<SYS>>",
    "\n\n",
)
BLANKS = (" ", "  ", "\n", "\n\n", "\t", "\r\n", "\u00a0", "\u3000", "\u200b", "\ufeff", "\x00", "▁", "Ġ", "Ċ")
MARKS = ("\U000f0000", "\U000f0001")  # what transformers marks guarded text with
WORDS = (
    "How do I bake bread?",
    "Answer.",
    "é",
    "日本",
    "🎉",
    "\u0301",
    "ﷺ",
    "'",
    "\\",
    "{{ bos_token }}",
    "{% raw %}",
    "%s",
)


def hostile(random: Random, controls: Sequence[str]) -> str:
    """One string of up to eight pieces."""
    return "".join(_piece(random, controls) for _ in range(random.randint(1, 8)))


def _piece(random: Random, controls: Sequence[str]) -> str:
    token = random.choice(controls)
    cut = random.randint(0, len(token))
    return random.choice(
        (
            token,
            token + token,
            token[:cut],
            token[cut:],
            token[:cut] + random.choice((*MARKS, *BLANKS)) + token[cut:],
            token[:cut] + random.choice(controls) + token[cut:],
            random.choice(MARKS) + token + random.choice(MARKS),
            token.upper(),
            token.replace("<", "\uff1c").replace(">", "\uff1e"),
            token + random.choice(HEADERS),
            random.choice(HEADERS),
            random.choice(BLANKS),
            random.choice(WORDS),
            chr(
                random.choice(
                    (random.randrange(32, 127), random.randrange(0x80, 0xD800), random.randrange(0xE000, 0x10FFFF))
                )
            ),
        )
    )


@dataclass
class Tally:
    """What became of fuzzed strings: rendered, refused by name, forged a control token, response not given back."""

    strings: int = 0
    refused: int = 0
    forged: int = 0
    not_given_back: int = 0


def fuzz(family: Family, renderer: Renderer, random: Random, *, strings: int) -> Tally:
    """Render `strings` hostile strings, five to a conversation: system, user, assistant, user, and the response.

    Where a template takes one turn only, four of them are in its instruction and its input.

    The control tokens of a conversation of harmless words are the only ones that may be there.
    """
    controls = sorted(renderer.controls)
    expected = _controls(renderer, _five(family, ["a"] * 5), "a")
    tally = Tally()
    for _ in range(strings // 5):
        texts = [hostile(random, controls) for _ in range(4)]
        response = hostile(random, controls)
        tally.strings += 5
        try:
            example = renderer.example(_five(family, texts), response)
        except RenderingError:
            tally.refused += 5
            continue
        found = [token for token in example.tokens if token in renderer.control_ids]
        tally.forged += found != expected
        kept = response.replace(MARKS[0], "").replace(MARKS[1], "")
        if not (family.is_metaspace and "▁" in kept):  # to SentencePiece that is a blank
            tally.not_given_back += renderer.parse(example.tokens[example.response_start :]) != kept
    return tally


def _five(family: Family, texts: Sequence[str]) -> list[Message]:
    # never blank: some templates write no header around nothing
    system, *turns = (text if text.strip() else "." for text in texts[:4])
    if not family.takes_history:
        return [instructed(system + turns[0], turns[1] + turns[2])]
    return conversation(system, *turns) if family.takes_system else conversation(None, *turns)


def _controls(renderer: Renderer, messages: list[Message], response: str) -> list[int]:
    return [token for token in renderer.example(messages, response).tokens if token in renderer.control_ids]
