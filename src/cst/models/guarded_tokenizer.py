"""A tokenizer with its chat template, in which no text becomes a control token unless the template wrote it.

Transformers' `sanitize_control_tokens` does the guarding; this file says which tokens to guard. By default it guards
special tokens and tokens in the template's source, and misses added tokens that the template builds from pieces, and
markers of its tool or thinking branches. It drops U+F0000 and U+F0001 from all text (its own marks). `rendering` finds
and rejects what it can't guard. This file knows only the role, content and input of a message.
"""

import copy
from collections.abc import Sequence
from typing import Any, cast, final

from jinja2 import TemplateError
from transformers import PreTrainedTokenizerBase

from cst.errors import RenderingError
from cst.models.template_probe import INPUT, RESPONSE, USER, Turn

TEMPLATE_VARIABLES: dict[str, str | bool] = {"enable_thinking": False, "date_string": "26 Jul 2024"}
"""Handed to every template. Preference data holds answers, not thoughts (Qwen 3 and its like); and a rendering must
not depend on the day it is made (the date is Llama 3.1's own default)."""

_MARKER_BRACKETS = (("<", ">"), ("[", "]"), ("{", "}"))


def template_of(tokenizer: PreTrainedTokenizerBase) -> str:
    """The tokenizer's chat template.

    Raises:
        RenderingError: it has none.
    """
    try:
        return tokenizer.get_chat_template()
    except ValueError as error:
        raise RenderingError(
            f"The tokenizer {_name(tokenizer)} has no chat template, so messages have no known form. "
            "Pass the template file that the model was tuned with (model.chat_template in a recipe, "
            "--prompt_template_path of `cst generate`), or choose a chat model."
        ) from error


@final
class GuardedTokenizer:
    """Holds a copy of a tokenizer, so that nothing done to the original changes what is rendered.

    `controls` maps control tokens, as text, to their ids: special and bracketed ones, and whatever else the template
    writes as an added token. `control_ids` are the ids.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase, template: str) -> None:
        self._tokenizer = copy.deepcopy(tokenizer)
        self._tokenizer.chat_template = template
        self._tokenizer.model_max_length = 10**9  # its warning about long texts knows nothing of the model's limit
        self.template = template
        self.name = _name(tokenizer)
        self.controls = self._find_controls()
        self.control_ids = frozenset(self.controls.values())
        self._tokenizer.chat_control_tokens = list(self.controls)

    @property
    def bos(self) -> str | None:
        """The token that begins a text, if the tokenizer names one."""
        return cast("str | None", self._tokenizer.bos_token)

    @property
    def eos(self) -> str | None:
        """The token that ends a text, if the tokenizer names one."""
        return cast("str | None", self._tokenizer.eos_token)

    @property
    def pad_id(self) -> int | None:
        """The id of the filler, if the tokenizer names one."""
        return cast("int | None", self._tokenizer.pad_token_id)

    @property
    def writes_bos(self) -> bool:
        """Whether the tokenizer, left to itself, begins a text with BOS."""
        bos = self.bos
        return bos is not None and self._tokenizer.encode("qz")[:1] == [self.id_of(bos)]

    def id_of(self, token: str) -> int:
        """The id of one token."""
        return cast(int, self._tokenizer.convert_tokens_to_ids(token))

    def names_of(self, ids: Sequence[int]) -> list[str]:
        """Tokens as the vocabulary spells them, for messages."""
        return cast(list[str], self._tokenizer.convert_ids_to_tokens(list(ids)))

    def text(self, turns: Sequence[Turn], *, opens_answer: bool) -> str:
        """What the template writes.

        Raises:
            RenderingError: the template rejects the turns; the cause holds its words.
        """
        return cast(str, self._apply(turns, tokenize=False, add_generation_prompt=opens_answer))

    def tokens(self, turns: Sequence[Turn], *, opens_answer: bool, template: str | None = None) -> list[int]:
        """What the template writes, as tokens, with the turns' contents kept from becoming control tokens.

        Raises:
            RenderingError: the template rejects the turns, or the tokenizer makes a control token from plain text.
        """
        result = self._apply(
            turns,
            chat_template=template,
            add_generation_prompt=opens_answer,
            sanitize_control_tokens=True,
            return_dict=False,
        )
        return cast(list[int], result)

    def trusted_tokens(self, text: str) -> list[int]:
        """Tokens of text that a template wrote: control tokens in it count."""
        return self._tokenizer.encode(text, add_special_tokens=False) if text else []

    def controls_in(self, tokens: Sequence[int]) -> tuple[int, ...]:
        """The control tokens among these, in order."""
        return tuple(token for token in tokens if token in self.control_ids)

    def decode(self, tokens: Sequence[int]) -> str:
        """The text of tokens, control tokens spelled out."""
        text = self._tokenizer.decode(list(tokens), skip_special_tokens=False, clean_up_tokenization_spaces=False)
        return cast(str, text)

    def _apply(self, turns: Sequence[Turn], **settings: Any) -> object:  # noqa: ANN401 - transformers' own settings
        roles = [turn["role"] for turn in turns]
        settings = {**TEMPLATE_VARIABLES, **settings}
        try:
            return self._tokenizer.apply_chat_template(list(turns), **settings)
        except (TemplateError, ValueError, TypeError) as error:
            raise RenderingError(
                f"The chat template of {self.name} can't render a conversation with the roles {roles}: {error}. "
                "Change the conversation, or pass a template that takes it."
            ) from error

    def _find_controls(self) -> dict[str, int]:
        controls = _bracketed_or_special(self._tokenizer)
        user, response = {"role": "user", "content": USER}, {"role": "assistant", "content": RESPONSE}
        with_input = {**user, "input": INPUT}
        texts = (
            self.text([user], opens_answer=True),
            self.text([user, response], opens_answer=False),
            self.text([with_input], opens_answer=True),
        )
        written = {token for text in texts for token in self.trusted_tokens(text)}
        for token_id, token in self._tokenizer.added_tokens_decoder.items():
            if token_id in written and not token.content.isspace():
                controls[token.content] = token_id
        return controls


def _bracketed_or_special(tokenizer: PreTrainedTokenizerBase) -> dict[str, int]:
    """Tokens that no text may become: special ones, and added ones in brackets (`<think>`, `[INST]`).

    An added token without brackets (a word that someone added to the vocabulary) is ordinary text.
    """
    return {
        token.content: token_id
        for token_id, token in tokenizer.added_tokens_decoder.items()
        if token.special or (token.content.strip()[:1], token.content.strip()[-1:]) in _MARKER_BRACKETS
    }


def _name(tokenizer: PreTrainedTokenizerBase) -> str:
    return repr(str(tokenizer.name_or_path)) if tokenizer.name_or_path else "the tokenizer"
