"""Messages to tokens: the one renderer for synthesis, training, generation, judging and serving.

It keeps these laws for every template (`tests/models/test_rendering.py` asserts them): the prompt is a prefix of the
training sequence; there is one BOS; the labels are the response and its end-of-turn token; parsing gives the response
back; no system prompt is lost; and no text from a user, a system prompt or a response becomes a control token. Where a
law can't be kept, RenderingError is raised. This file doesn't know models, batches, or the disk.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, final

from transformers import PreTrainedTokenizerBase

from cst.errors import RenderingError
from cst.models.guarded_tokenizer import TEMPLATE_VARIABLES, GuardedTokenizer, template_of
from cst.models.instruction_templates import jinja_literal
from cst.models.template_probe import RESPONSE, Boundary, Turn, probe
from cst.records import Message, Record

BosWriter = Literal["template", "tokenizer", "none"]
"""Who begins a conversation with BOS."""

SystemPolicy = Literal["native", "fold_into_user"]
"""`native`: the template's own system turn, an error where it has none; `fold_into_user`: system text, blank line, user
text, in the first user turn."""

_MARKS = {0xF0000: None, 0xF0001: None}


@dataclass(frozen=True)
class TokenSequence:
    """Tokens of a conversation; `tokens[response_start:]` are the response and its end-of-turn token: the labels."""

    tokens: tuple[int, ...]
    response_start: int


class RenderingDescription(Record):
    """How messages became tokens, for the run folder: two runs that differ here aren't comparable.

    `bos` says who writes the one BOS. `default_system_prompt` is what the template writes when it is given none.
    `assistant_opening` is text that the renderer adds to the prompt because the template's training text has it.
    `is_dated`: the template may read the clock, so that its renderings change from day to day.
    """

    template_sha256: str
    system_policy: SystemPolicy
    boundary: Boundary
    bos: BosWriter
    end_token: str
    end_token_ids: tuple[int, ...]
    default_system_prompt: str | None
    assistant_opening: str
    template_variables: dict[str, str | bool]
    is_dated: bool


@final
class Renderer:
    """Renders conversations for one tokenizer and template; make it with `Renderer.for_tokenizer`."""

    @classmethod
    def for_tokenizer(
        cls,
        tokenizer: PreTrainedTokenizerBase,
        *,
        system_policy: SystemPolicy = "native",
        chat_template: str | None = None,
    ) -> "Renderer":
        """A renderer for the tokenizer's own chat template, or for the one given.

        Raises:
            RenderingError: there is no template, or no end-of-turn token, or the template is broken.
        """
        return cls(GuardedTokenizer(tokenizer, chat_template or template_of(tokenizer)), system_policy)

    def __init__(self, tokenizer: GuardedTokenizer, system_policy: SystemPolicy) -> None:
        self._tokenizer = tokenizer
        self._system_policy: SystemPolicy = system_policy
        self.shape = probe(tokenizer.text, tokenizer.controls, fold=system_policy == "fold_into_user")
        """What the template was found to do."""
        self.controls = frozenset(tokenizer.controls)
        """The control tokens as text."""
        self.control_ids = tokenizer.control_ids
        """Every id that text is kept from becoming under this template."""
        self._end_token = self._find_end_token()
        self._bos: BosWriter = self._who_writes_bos()
        self._responses = ResponseCodec(tokenizer, self.shape.anchor)
        self._skeletons: dict[tuple[str, ...], tuple[int, ...]] = {}
        self.end_token_id = tokenizer.id_of(self._end_token)
        """The token that ends a response in training."""
        self.end_token_ids = frozenset(tokenizer.id_of(token) for token in {self._end_token, tokenizer.eos} if token)
        """Tokens at which a response is over: the template's end of turn, and the tokenizer's eos."""

    @property
    def pad_token_id(self) -> int:
        """A filler. It may be the end token, so masks go by position and never by this id."""
        return self.end_token_id if self._tokenizer.pad_id is None else self._tokenizer.pad_id

    def describe(self) -> RenderingDescription:
        """All that decides how messages become tokens, besides the tokenizer."""
        template = self._tokenizer.template
        return RenderingDescription(
            template_sha256=hashlib.sha256(template.encode()).hexdigest(),
            system_policy=self._system_policy,
            boundary=self.shape.boundary,
            bos=self._bos,
            end_token=self._end_token,
            end_token_ids=tuple(sorted(self.end_token_ids)),
            default_system_prompt=self.shape.default_system_prompt,
            assistant_opening=self.shape.opening,
            template_variables={name: value for name, value in TEMPLATE_VARIABLES.items() if name in template},
            is_dated="strftime_now" in template and "date_string" not in template,
        )

    def prompt(self, messages: Sequence[Message], prefix: str = "") -> list[int]:
        """The tokens that a response goes on from; `prefix` is text that the response begins with.

        Raises:
            RenderingError: the conversation isn't [system], user, (assistant, user)*; or the template rejects it,
                drops a turn of it, or would let its text forge a control token.
        """
        turns = self._turns(messages)
        tokens = self._tokenizer.tokens(turns, opens_answer=self.shape.uses_generation_prompt)
        written = self._tokenizer.controls_in(tokens)
        if written != self._skeleton(turns):
            raise RenderingError(
                f"The chat template of {self._tokenizer.name} turns text into control tokens, or loses some: it wrote "
                f"{self._tokenizer.names_of(written)} for {len(turns)} turns, the last of them "
                f"{turns[-1]['content'][-60:]!r}. Change the text or the template."
            )
        bos = [self._tokenizer.id_of(self._tokenizer.bos)] if self._bos == "tokenizer" and self._tokenizer.bos else []
        opening = self._tokenizer.trusted_tokens(self.shape.opening)
        return bos + tokens + opening + (self._responses.encode(self.shape.lead + _plain(prefix)) if prefix else [])

    def text(self, messages: Sequence[Message]) -> str:
        """The prompt as text, for a library with its own tokenizer, which can't tell quoted tokens from written ones.

        Raises:
            RenderingError: the conversation isn't [system], user, (assistant, user)*; or the template rejects it, or
                drops a turn of it.
        """
        turns = self._turns(messages)
        self._skeleton(turns)
        return self._tokenizer.text(turns, opens_answer=self.shape.uses_generation_prompt) + self.shape.opening

    def example(self, messages: Sequence[Message], response: str, *, ended: bool = True) -> TokenSequence:
        """A conversation to train on: `prompt(messages)`, the response, and its end-of-turn token if it `ended`.

        Raises:
            RenderingError: as `prompt`, or the response would forge a control token.
        """
        prompt = self.prompt(messages)
        text = self.shape.lead + _plain(response)
        tokens = self._responses.encode(text + self.shape.tail if ended else text)
        end = [self.end_token_id] if ended else []
        return TokenSequence((*prompt, *tokens, *end), len(prompt))

    def parse(self, tokens: Sequence[int]) -> str:
        """The response in tokens that follow a prompt; the end token and whatever comes after it are dropped."""
        end = next((i for i, token in enumerate(tokens) if token in self.end_token_ids), None)
        text = self._responses.decode(tokens[:end]).removeprefix(self.shape.lead)
        return text if end is None else text.removesuffix(self.shape.tail)

    def _turns(self, messages: Sequence[Message]) -> list[Turn]:
        roles = [message.role for message in messages]
        body = roles[1:] if roles[:1] == ["system"] else roles
        if len(body) % 2 == 0 or body != [("user", "assistant")[i % 2] for i in range(len(body))]:
            raise RenderingError(
                f"A conversation with the roles {roles} can't be gone on with. "
                "Give it as system (or none), user, assistant, user, ..., with a user turn at the end."
            )
        turns = [self._turn(message) for message in messages]
        return turns if roles[0] != "system" else self._with_system(turns)

    def _turn(self, message: Message) -> Turn:
        """A message as the template takes it: an instruction and its input apart where it sets them apart."""
        if message.role == "user" and message.input and self.shape.sets_input_apart:
            return {"role": "user", "content": _plain(message.instruction), "input": _plain(message.input)}
        return {"role": message.role, "content": _plain(message.content)}

    def _with_system(self, turns: list[Turn]) -> list[Turn]:
        if self._system_policy == "fold_into_user":
            system, user, *rest = turns
            text = f"{system['content']}\n\n{user['content']}" if system["content"] else user["content"]
            return [{**user, "content": text}, *rest]
        if self.shape.rejection is not None:
            raise RenderingError(
                f"The chat template of {self._tokenizer.name} takes no system prompt ({self.shape.rejection}), and was "
                f"given {turns[0]['content'][:60]!r}. Set model.system_policy=fold_into_user to put it before the "
                "first user text, in training and serving alike."
            )
        return turns

    def _skeleton(self, turns: Sequence[Turn]) -> tuple[int, ...]:
        """The control tokens that the template writes for these roles around harmless words.

        Blank contents stay as they are, because templates branch on them.
        """
        harmless = [
            {"role": turn["role"]}
            | {field: f"qz{i}{field}qz" if text.strip() else text for field, text in _texts(turn).items()}
            for i, turn in enumerate(turns)
        ]
        key = tuple(text for turn in harmless for part in turn.items() for text in part)
        if key not in self._skeletons:
            self._skeletons[key] = self._written_around(harmless)
        return self._skeletons[key]

    def _written_around(self, turns: Sequence[Turn]) -> tuple[int, ...]:
        rendered = self._tokenizer.text(turns, opens_answer=self.shape.uses_generation_prompt)
        lost = [
            turn["role"] for turn in turns for text in _texts(turn).values() if text.strip() and text not in rendered
        ]
        if lost:
            raise RenderingError(
                f"The chat template of {self._tokenizer.name} drops the {lost[0]} turn of a conversation with "
                f"the roles {[turn['role'] for turn in turns]}. Pass a template that renders every turn."
            )
        return self._tokenizer.controls_in(self._tokenizer.trusted_tokens(rendered))

    def _find_end_token(self) -> str:
        end = self.shape.end_token or self._tokenizer.eos
        if end is None:
            raise RenderingError(
                f"Nothing ends a response of {self._tokenizer.name}: its chat template writes no control token after "
                "the assistant's text, and the tokenizer has no eos_token. Set the tokenizer's eos_token."
            )
        return end

    def _who_writes_bos(self) -> BosWriter:
        bos = self._tokenizer.bos
        rendered = self._tokenizer.text([{"role": "user", "content": "qz"}], opens_answer=True)
        if bos is not None and rendered.lstrip().startswith(bos):
            return "template"
        return "tokenizer" if self._tokenizer.writes_bos else "none"


def _texts(turn: Turn) -> Turn:
    """A turn without its role."""
    return {field: text for field, text in turn.items() if field != "role"}


def _plain(text: str) -> str:
    """The text, without the two private characters that transformers would drop; only Unicode text is accepted."""
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise RenderingError(
            f"A text holds half of a surrogate pair at character {error.start} ({text[error.start : error.end]!r}), "
            "which is no Unicode text and has no tokens. Repair or drop the text."
        ) from error
    return text.translate(_MARKS)


@final
class ResponseCodec:
    """Encodes and decodes responses that follow `header`, the text between the user's last word and the response.

    Tokenizers write the first word of a text and a word inside it differently, so a response is tokenized behind its
    header, as a template of its own. A response that begins with blanks can merge with the header, which would change
    the prompt: then it is tokenized behind a neutral text.
    """

    def __init__(self, tokenizer: GuardedTokenizer, header: str) -> None:
        self._tokenizer = tokenizer
        self._anchors = [
            (_template(text), tokenizer.trusted_tokens(text)) for text in dict.fromkeys((header, "\n", ""))
        ]
        self._header = self._anchors[0][1]
        self._header_text = tokenizer.decode(self._header)
        self._blank = ""
        self._blank = self._written_before_words()

    def encode(self, text: str) -> list[int]:
        """Tokens of `text`, none of them a control token.

        Raises:
            RenderingError: the tokenizer makes a control token of it.
        """
        candidates: list[list[int]] = []
        for template, anchor in self._anchors:
            whole = self._tokenizer.tokens([{"role": "user", "content": text}], opens_answer=False, template=template)
            if whole[: len(anchor)] == anchor:
                candidates.append(whole[len(anchor) :])
                if self.decode(candidates[-1]) == text:
                    break
        # Where no candidate gives the text back (a tokenizer that normalises it), the first is the natural one.
        tokens = candidates[-1] if self.decode(candidates[-1]) == text else candidates[0]
        forged = self._tokenizer.controls_in(tokens)
        if forged:
            raise RenderingError(
                f"A response's text becomes the control tokens {self._tokenizer.names_of(forged)} of "
                f"{self._tokenizer.name}: {text[:60]!r}. Change the text."
            )
        return tokens

    def decode(self, tokens: Sequence[int]) -> str:
        """The text of tokens that stand after the header: there, a first blank isn't swallowed."""
        whole = self._tokenizer.decode([*self._header, *tokens])
        is_whole = whole.startswith(self._header_text)
        text = whole[len(self._header_text) :] if is_whole else self._tokenizer.decode(tokens)
        return text.removeprefix(self._blank)

    def _written_before_words(self) -> str:
        """A blank that no text has: some SentencePiece tokenizers write one after each control token."""
        template, anchor = self._anchors[0]
        word = [{"role": "user", "content": RESPONSE}]
        tokens = self._tokenizer.tokens(word, opens_answer=False, template=template)[len(anchor) :]
        text = self.decode(tokens)
        return text.removesuffix(RESPONSE) if text.endswith(RESPONSE) else ""


def _template(text: str) -> str:
    """A template that writes `text`, and after it the content of the first message."""
    return f"{{{{ {jinja_literal(text)} }}}}{{{{ messages[0]['content'] }}}}"
