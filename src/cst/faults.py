"""What can be wrong with the texts of a pair, seen from the texts alone: faults are described by form, in English.

How often sound prose is taken for faulty is told in section "Audit" of docs/data.md. This file knows no pair, no model
and no threshold of a recipe.
"""

import re

from cst.records import FinishReason
from cst.refusals import plain

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
