"""What a chat template does, found out by rendering it with sentinel words and reading where they come out.

A template is an undocumented program. Seven questions decide whether a model can be tuned and
served with it: does it take a system prompt, does it invent one, does it set a turn's input apart, where does a
response begin, what ends it, do training and generation see the same header, and can plain text forge a header. This
file answers them from text; the `controls` that it is given are all it knows of tokens.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from cst.errors import RenderingError

Turn = dict[str, str]
"""A message as templates take it: `role`, `content`, and `input` where the template sets it apart."""

Boundary = Literal["strong", "weak"]
"""Whether a control token stands between each two turns (strong), or plain text that a user can write too (weak)."""

SYSTEM, USER, INPUT, RESPONSE = "qzsystemqz", "qzuserqz", "qzinputqz", "qzresponseqz"


class RenderText(Protocol):
    """A template as a function to text; raises RenderingError where it rejects the turns; the cause has its words."""

    def __call__(self, turns: Sequence[Turn], *, opens_answer: bool) -> str:
        """The text of the turns, and of the header of an answer if it `opens_answer`."""
        ...


@dataclass(frozen=True)
class TemplateShape:
    """What one template does around the assistant's response and the system prompt.

    `opening` is text that belongs to the prompt after what the template renders (empty unless training and generation
    headers differ); `uses_generation_prompt` is False where the template's generation prompt is no prefix of its own
    training text. `lead` is the blank between prompt and response, `tail` the text between response and end token;
    both are part of the response's tokens. `anchor` is the text from the user's last word to the response.
    `rejection` says in the template's words why it takes no system prompt; None where it takes one. `sets_input_apart`:
    it writes a user turn's `input` beside its `content`, as Alpaca's does.
    """

    opening: str
    uses_generation_prompt: bool
    anchor: str
    lead: str
    tail: str
    end_token: str | None
    rejection: str | None
    sets_input_apart: bool
    default_system_prompt: str | None
    boundary: Boundary


def probe(render: RenderText, controls: Iterable[str], *, fold: bool) -> TemplateShape:
    """The shape of a template; `controls` are its control tokens as text, `fold` whether system text joins the user's.

    Raises:
        RenderingError: the template loses the user's text, or the response's, or writes a different conversation for
            training than for generation.
    """
    known = tuple(controls)
    user: Turn = {"role": "user", "content": USER}
    closed = render([user], opens_answer=False)
    prompted = render([user], opens_answer=True)
    answered = render([user, {"role": "assistant", "content": RESPONSE}], opens_answer=False)
    before, after = _around(answered, RESPONSE)
    _around(prompted, USER)
    uses_prompt, opening, lead = _opening(before, prompted, closed)
    tail, end_token = _tail(after, known)
    with_system, rejection = _with_system(render)
    head = (prompted if uses_prompt else closed) + opening
    anchor = head[head.rindex(USER) + len(USER) :]
    return TemplateShape(
        opening=opening,
        uses_generation_prompt=uses_prompt,
        anchor=anchor,
        lead=lead,
        tail=tail,
        end_token=end_token,
        rejection=rejection,
        sets_input_apart=INPUT in render([{**user, "input": INPUT}], opens_answer=True),
        default_system_prompt=_default_system_prompt(with_system, prompted),
        boundary=_boundary(with_system, anchor, known, fold=fold),
    )


def first_control(text: str, controls: Iterable[str]) -> tuple[int, str] | None:
    """Position and text of the first control token in `text`; of two at one place the longer, as tokenizers match."""
    found = [(text.index(control), -len(control), control) for control in controls if control and control in text]
    if not found:
        return None
    position, _, control = min(found)
    return position, control


def _around(text: str, sentinel: str) -> tuple[str, str]:
    before, found, after = text.partition(sentinel)
    if not found:
        raise RenderingError(
            f"The chat template loses a turn: it was given {sentinel!r} and rendered {_shown(text)}. "
            "Pass a template that renders every user and assistant turn."
        )
    return before, after


def _opening(before: str, prompted: str, closed: str) -> tuple[bool, str, str]:
    """(is the generation prompt usable, text to add to it, blank before the response).

    Where the training text has more than blanks between header and response (Qwen 3 writes an empty thinking block),
    that text is no part of the response: it joins the prompt, in training and in generation alike.
    """
    for uses_prompt, head in ((True, prompted), (False, closed)):
        if before.startswith(head):
            gap = before[len(head) :]
            if uses_prompt and not gap.strip():
                return True, "", gap
            return uses_prompt, gap, ""
    raise RenderingError(
        f"The chat template renders a conversation differently once it is answered: {_shown(prompted)} became "
        f"{_shown(before)}. Pass a template whose answered conversation begins with the unanswered one."
    )


def _tail(after: str, controls: Sequence[str]) -> tuple[str, str | None]:
    found = first_control(after, controls)
    return ("", None) if found is None else (after[: found[0]], found[1])


def _with_system(render: RenderText) -> tuple[str | None, str | None]:
    """(rendering with a system prompt, None), or (None, why there is none)."""
    turns: list[Turn] = [{"role": "system", "content": SYSTEM}, {"role": "user", "content": USER}]
    try:
        text = render(turns, opens_answer=True)
    except RenderingError as rejected:
        return None, f"it raises: {rejected.__cause__}"
    if SYSTEM not in text or USER not in text:
        return None, "it drops the text without a word"
    return text, None


def _default_system_prompt(with_system: str | None, prompted: str) -> str | None:
    """The system prompt that the template writes when it is given none, or None."""
    if with_system is None or with_system.index(SYSTEM) > with_system.index(USER):
        return None
    before, rest = with_system.split(SYSTEM, 1)
    between, header = rest.split(USER, 1)[0], prompted.split(USER, 1)[0]
    fits = between and header.startswith(before) and header.endswith(between)
    return header[len(before) : len(header) - len(between)] or None if fits else None


def _boundary(with_system: str | None, anchor: str, controls: Sequence[str], *, fold: bool) -> Boundary:
    """Weak if a user could write what separates the turns; a folded system prompt has nothing but a blank line."""
    gaps = [anchor]
    if with_system is not None:
        first, last = sorted((with_system.index(SYSTEM), with_system.index(USER)))
        gaps.append(with_system[first:last])
    is_strong = not fold and all(first_control(gap, controls) for gap in gaps)
    return "strong" if is_strong else "weak"


def _shown(text: str) -> str:
    return repr(text if len(text) <= 160 else text[:80] + " ... " + text[-80:])
