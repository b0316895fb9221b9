"""Responses to tokens and back, in the place where they stand.

Tokenizers write the first word of a text and a word inside of it differently, so a response is tokenized behind the
header that precedes it, given as a template of its own. A response that begins with blanks can merge with the header,
which would change the prompt: then it is tokenized behind a neutral text. This file knows no conversation.
"""

from collections.abc import Sequence
from typing import final

from cst.errors import RenderingError
from cst.models.guarded_tokenizer import GuardedTokenizer
from cst.models.instruction_templates import jinja_literal
from cst.models.template_probe import RESPONSE


@final
class ResponseCodec:
    """Encodes and decodes responses that follow `header`, the text between the user's last word and the response."""

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
