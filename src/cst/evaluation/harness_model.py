"""A loaded model as lm-eval's: prompts come from our renderer, and what doesn't fit is refused instead of cut.

For text without control tokens the tokens are those of lm-eval's own `hf` model. Text that holds one (a question that
quotes `<|im_end|>`) stays text here and becomes a real control token there. lm-eval drops a system prompt that the
template refuses and cuts long prompts from the left, where the system prompt stands; here both are errors.
This file knows no task.
"""

import copy
import re
from collections.abc import Sequence
from typing import Any, Self, TypeAlias, final

from lm_eval.models.huggingface import HFLM

from cst.errors import DataError
from cst.models.loading import LoadedModel
from cst.models.logps import continuations
from cst.records import Message


@final
class RenderedPrompt(str):
    """A prompt's text that remembers its messages, for lm-eval hands text from its tasks to its models."""

    __slots__ = ("messages",)
    messages: tuple[Message, ...]

    def __new__(cls, text: str, messages: tuple[Message, ...]) -> Self:
        """The text, with the messages that it was rendered from."""
        prompt = super().__new__(cls, text)
        prompt.messages = messages
        return prompt


_Untyped: Any = HFLM  # its decorator hides the class from type checkers


_Request: TypeAlias = tuple[tuple[str, str], list[int], list[int]]
"""A prompt and a choice: their texts, the prompt's tokens, the choice's tokens."""


@final
class HarnessModel(_Untyped):
    """Holds a loaded model. Log-probs are float32 whatever the weights are (lm-eval: `softmax_dtype=float32`)."""

    def __init__(self, loaded: LoadedModel, *, batch_size: int) -> None:
        tokenizer = copy.deepcopy(loaded.tokenizer)  # lm-eval gives it a padding token
        super().__init__(loaded.model, tokenizer=tokenizer, batch_size=batch_size, softmax_dtype="float32")
        self._loaded, self._renderer = loaded, loaded.renderer
        self.template_sha256 = loaded.renderer.describe().template_sha256
        self._control = re.compile("|".join(map(re.escape, sorted(loaded.renderer.controls))) or "(?!)")

    def apply_chat_template(self, chat_history: list[dict[str, str]], add_generation_prompt: bool = True) -> str:
        """What the renderer writes for a conversation that ends with a question.

        Raises:
            RenderingError: The template refuses or drops a turn, or the task begins the answer itself.
        """
        messages = tuple(Message.model_validate(turn) for turn in chat_history)
        return RenderedPrompt(self._renderer.text(messages), messages)

    def _encode_pair(  # pyright: ignore[reportUnusedFunction] - lm-eval calls it
        self, context: str, continuation: str
    ) -> tuple[list[int], list[int]]:
        """Tokens of a prompt and of one choice."""
        if isinstance(context, RenderedPrompt) and self._quotes_control(context.messages, continuation):
            sequence = self._renderer.example(context.messages, continuation, ended=False)
            return list(sequence.tokens[: sequence.response_start]), list(sequence.tokens[sequence.response_start :])
        return super()._encode_pair(context, continuation)

    def _quotes_control(self, messages: Sequence[Message], continuation: str) -> bool:
        return any(map(self._control.search, (continuation, *(message.content for message in messages))))

    def _loglikelihood_tokens(  # pyright: ignore[reportUnusedFunction] - lm-eval calls it
        self, requests: Sequence[_Request], **_settings: bool
    ) -> list[tuple[float, bool]]:
        """Log-prob in nats of each continuation, and whether it is the greedy one.

        Raises:
            DataError: A choice has no tokens, or a prompt with its choice is longer than the model can read.
        """
        self._refuse_unusable(requests)
        pairs = [(before, after) for _, before, after in requests]
        pad = self._renderer.pad_token_id
        found = continuations(self._loaded.model, pairs, pad_token_id=pad, batch_size=self.batch_size)
        return [(each.logp, each.is_greedy) for each in found]

    def _refuse_unusable(self, requests: Sequence[_Request]) -> None:
        for (prompt, choice), _, after in requests:
            if not after:
                raise DataError(f"The choice {choice!r} behind '...{prompt[-60:]}' has no tokens; take the item out.")
        (prompt, choice), before, after = max(requests, key=lambda request: len(request[1]) + len(request[2]))
        tokens = len(before) + len(after)
        if tokens > self.max_length + 1:  # the last token is predicted, not read
            raise DataError(
                f"A prompt and choice take {tokens} tokens and the model reads {self.max_length}: "
                f"'...{prompt[-60:]}{choice}'. Lower num_fewshot, or take the task out."
            )
