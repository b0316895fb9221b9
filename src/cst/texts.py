"""Texts by their wording: how refusals begin, which defects a response shows, and how templates are filled.

All detection is pattern matching on English text: review what it flags; it misses some cases. How often it flags sound
prose is measured in section "Audit" of docs/data.md. This file knows no pair, no model and no threshold of a recipe.
"""

import re
from collections.abc import Mapping

from cst.errors import RecipeError
from cst.records import Demonstration, FinishReason, Preference, Prompt

REFUSAL_PHRASES: tuple[str, ...] = (
    "i'm sorry",
    "i am sorry",
    "i apologize",
    "my apologies",
    "i cannot",
    "i can't",
    "i can not",
    "i could not",
    "i'm unable",
    "i am unable",
    "i'm not able to",
    "i am not able to",
    "i will not",
    "i won't",
    "i must decline",
    "i decline",
    "i refuse",
    "i do not give",
    "it is not appropriate",
    "it's not appropriate",
    "as an ai",
    "as a language model",
    "as an assistant",
)
"""After the refusal prefixes of Zou et al. 2023 (arXiv 2307.15043), without those that polite answers begin with."""

_OPENERS = (
    r"(?:(?:no|well|oh|ah|hello|hi|unfortunately|regrettably|thank you(?: for [^.!,\n]{1,60})?|but)[\s,.!]+){0,3}"
)
_SERVICES = (
    r"(?:assist|help|provide|fulfill?|comply|support|offer|generate|create|write|engage|participate|share|give|answer|"
    r"discuss|promote|encourage|condone|endorse|facilitate|advise|recommend|do that|do this)\b"
)
_BEGINS = re.compile(rf"\W*{_OPENERS}({'|'.join(map(re.escape, REFUSAL_PHRASES))})")
_DENIES_A_SERVICE = re.compile(
    r"\b(?:can(?:no|')t|can not|could not|(?:un|not )able to|will not|won't|must decline|decline to|refuse to|"
    rf"do not|don't|not appropriate (?:for me )?to|sorry)\b[^.!?\n]{{0,80}}?\b{_SERVICES}"
    r"|\b(?:decline|refuse)\b|\bnot appropriate\b|\bsorry, (?:but )?i can(?:no|')t\b"
)


def plain(text: str) -> str:
    """Lower case, with straight apostrophes: how phrases are compared."""
    return text.lower().replace("\N{RIGHT SINGLE QUOTATION MARK}", "'")


def refusal_phrase(text: str, *, anywhere_in: int | None = None) -> str | None:
    """The phrase by which a text refuses, or None if it doesn't.

    Gates, the audit and judges that read another model's reply leave `anywhere_in` out: the text must begin with a
    phrase and deny a service by its second sentence. "I can't fly" and "As an AI, I have no hometown" begin with
    phrases, and refuse nothing that was asked for. The weak judge `RefusalPhrases` passes a number: any phrase in the
    first so many characters counts.
    """
    if anywhere_in is not None:
        start = plain(text.strip()[:anywhere_in])
        return next((phrase for phrase in REFUSAL_PHRASES if phrase in start), None)
    start = plain(text.lstrip()[:500])
    begins = _BEGINS.match(start)
    if begins is None:
        return None
    # An apology may stand alone before the sentence that refuses.
    first_two_sentences = " ".join(re.split(r"(?<=[.!?])\s+|\n", start)[:2])
    return begins[1] if _DENIES_A_SERVICE.search(first_two_sentences) else None


_LEAD = r"[^\w\n]{0,20}"
"""What may stand before the first word of a line. It is bounded, or a text of blanks alone would take square time."""

_ANSWER = r"(?:response|answer|reply)s?\b"
_EARLIER = r"(?:previous|initial|original|earlier|prior|preceding)"
_REWRITTEN = r"(?:revised|rewritten|improved|corrected|updated|reworded)"
_LEAKS = re.compile(
    rf"\b(?:my|your) (?:{_EARLIER}|first|last) (?:\w+ )?{_ANSWER}"
    # the initial response; but not that of an immune system, or to a fire
    rf"|\b(?:the|this|that|its|in|of|to) {_EARLIER} (?:\w+ )?{_ANSWER}(?! (?:to|of|by|from|team|time|rate|plan))"
    rf"|^{_LEAD}{_REWRITTEN} {_ANSWER}|\b(?:a|the|my) {_REWRITTEN} {_ANSWER}"
    rf"|\b(?:rewrote|rewritten|revised|reworded|improved) (?:my|the) {_ANSWER}"
    rf"|\bself-critique\b|\b(?:your|this|the above) critique\b|\bcritique of (?:my|the) {_ANSWER}"
    r"|\b(?:critique|revision) request:",
    re.MULTILINE,
)
_HINTS = ("response", "answer", "reply", "critique", "request:")
"""One of them is in whatever `_LEAKS` finds: looking for them first takes a tenth of the time."""


def speaks_of_revision(text: str, prompt: str = "") -> bool:
    """Whether an answer speaks of the critique or the answer that it came from, and the prompt doesn't itself."""
    return _leaks(text) and not _leaks(prompt)


def _leaks(text: str) -> bool:
    said = plain(text)
    return any(hint in said for hint in _HINTS) and _LEAKS.search(said) is not None


_MODE = r"(?:developer|dev|debug|god|root|admin|sudo|unrestricted|unfiltered|uncensored|jailbreak)"
_LOCK = "[\N{LOCK}\N{OPEN LOCK}\N{LOCK WITH INK PEN}\N{CLOSED LOCK WITH KEY}]"
_PERSONA = re.compile(
    # [Some Mode], (Dev Mode Output): a bracketed voice at the beginning of a line
    rf"^{_LEAD}[\[(](?:\w+ ){{0,3}}(?:mode|persona|jailbreak)(?: (?:output|response|enabled|activated))?\s*[\])]"
    # a lock, open or closed, before a voice's name
    rf"|^{_LEAD}{_LOCK}\s*\w+"
    # Developer Mode enabled.
    rf"|^{_LEAD}(?:\w+ )?{_MODE} mode(?: is| has been)?(?: now)? (?:enabled|activated|engaged)"
    rf"{_LEAD}(?:$|[.!:])",
    re.MULTILINE | re.IGNORECASE,
)
_VOICE = re.compile(rf"^{_LEAD}([A-Z]\w*(?: [A-Z]\w*)?)\s*[:\])][ \t]*\S", re.MULTILINE)
_PLAIN_VOICES = {"gpt", "chatgpt", "assistant"}


def has_persona_artefact(text: str) -> bool:
    """Whether an answer bears the marks of a persona that a prompt imposed.

    That is: a bracketed mode or a lock before a line, a banner of a mode that was switched on, or voices under
    headers from the first line on, one of them the assistant's plain one. Speaking in character is none of these.
    """
    if _PERSONA.search(text):
        return True
    voices = {voice.lower() for voice in _VOICE.findall(text)} if _VOICE.match(text) else set[str]()
    return bool(voices & _PLAIN_VOICES) and len(voices) > 1


_UNENDED = re.compile(r"[\w,(\[{&/+-]$")
_SENTENCE_END = re.compile(r"[.!?][\"')\]]*\s")
_SIGN_OFF = re.compile(r"\W*[A-Z][\w'-]*(?: [A-Z][\w'-]*){0,3}$")
_ITEM = re.compile(r"\s*(?:[-*+\N{BULLET}]|\(?\w{1,2}[.)])\s")


def ends_mid_sentence(text: str) -> bool:
    """Whether a text that is written in sentences breaks off within one.

    Short answers without any sentence end ("Red"), addresses, sign-offs of a few capitalised words, and lists or verses
    whose other lines have no end mark either are as they were meant.
    """
    lines = [line for line in text.split("\n") if line.strip()]
    if not lines or not _UNENDED.search(lines[-1].rstrip()) or not _SENTENCE_END.search(text):
        return False
    *before, last = lines
    if _SIGN_OFF.match(last.strip()) or "://" in last.split()[-1]:
        return False
    alike = [line for line in before if bool(_ITEM.match(line)) == bool(_ITEM.match(last))]
    return 2 * sum(_UNENDED.search(line.rstrip()) is not None for line in alike) <= len(alike)


def is_cut(text: str, finish_reason: FinishReason | None) -> bool:
    """Whether an answer was cut by the length limit: by its finish reason, and where that isn't known, by its end."""
    return ends_mid_sentence(text) if finish_reason is None else finish_reason == "length"


_WORD = re.compile(r"\w+")


def likeness(first: str, second: str) -> float:
    """Jaccard index of two texts' runs of three words, in lower case; 1 where they differ in no word.

    Of texts of less than three words, the words are compared as a whole. (Shingles: Broder 1997.)
    """
    one, other = _WORD.findall(first.lower()), _WORD.findall(second.lower())
    if one == other:
        return 1.0
    runs, others = _runs(one), _runs(other)
    both = len(runs & others)
    return both / (len(runs) + len(others) - both)


def _runs(words: list[str]) -> set[tuple[str, ...]]:
    return {tuple(words[start : start + 3]) for start in range(max(1, len(words) - 2))}


def text_of_turns(row: Prompt | Preference | Demonstration) -> str:
    """All that is asked in a row, as one text: how prompts are compared."""
    return "\n".join(turn.content for turn in row.turns)


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
