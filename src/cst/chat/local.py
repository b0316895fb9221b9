"""A `ChatModel` on a model in this process: `LocalChat` writes freely, `LabelChat` can only say one of a few labels.

An answer is a function of its batch alone: no global random numbers, no generation settings of the model's own. How
messages become tokens is the business of the renderer, how tokens are chosen that of `decoding`. This file knows no
judge.
"""

import math
from collections.abc import Sequence
from typing import Any, cast, final

import torch
import transformers
from torch import Tensor

from cst.chat.base import ChatReply, ChatRequest, Pace, request_seed
from cst.errors import ModelError
from cst.models.decoding import Answer, Check, decode
from cst.models.loading import LoadedModel
from cst.models.logps import response_logps
from cst.models.rendering import TokenSequence
from cst.records import Sampling
from cst.store import fingerprint


@final
class LocalChat:
    """Answers conversations with a loaded model, `batch_size` at a time."""

    def __init__(self, loaded: LoadedModel, *, name: str, batch_size: int = 64) -> None:
        self._loaded = loaded
        self._name = name
        self._batch_size = batch_size
        self.pace = Pace()
        self._fingerprint = self._make_fingerprint()

    @property
    def name(self) -> str:
        """A short name for reports."""
        return self._name

    @property
    def fingerprint(self) -> str:
        """Files, rendering, number type, batch size, and the versions of what computes."""
        return self._fingerprint

    def plan(self, requests: Sequence[ChatRequest]) -> list[list[int]]:
        """Batches of like length, the longest first: what doesn't fit into memory shows at once."""
        order = sorted(range(len(requests)), key=lambda i: (-_characters(requests[i]), i))
        return [order[start : start + self._batch_size] for start in range(0, len(order), self._batch_size)]

    def answer(self, batch: Sequence[ChatRequest], sampling: Sampling) -> list[ChatReply]:
        """One reply a request, in order.

        Raises:
            RenderingError: the template can't express a conversation.
            ModelError: a conversation leaves the model no room for a single token, or the model gives no numbers.
        """
        if not batch:
            return []
        renderer = self._loaded.renderer
        opened = [renderer.prompt(request.messages) for request in batch]
        prompts = [
            renderer.prompt(request.messages, request.prefix) if request.prefix else prompt
            for request, prompt in zip(batch, opened, strict=True)
        ]
        answers = self._decoded(batch, prompts, sampling)
        prefixes = [prompt[len(start) :] for prompt, start in zip(prompts, opened, strict=True)]
        return [self._reply(*parts) for parts in zip(prompts, prefixes, answers, strict=True)]

    def _decoded(self, batch: Sequence[ChatRequest], prompts: Sequence[list[int]], sampling: Sampling) -> list[Answer]:
        return decode(
            self._loaded.model,
            prompts,
            limits=[self._room(request, prompt, sampling) for request, prompt in zip(batch, prompts, strict=True)],
            end_token_ids=self._loaded.renderer.end_token_ids,
            sampling=sampling,
            seeds=[request_seed(request, sampling) for request in batch],
            check=self._check(batch),
        )

    def _check(self, batch: Sequence[ChatRequest]) -> Check:
        """A look at the logits: a broken model must not pass for a babbling one."""

        def check(logits: Tensor, rows: list[int], step: int) -> None:
            broken = logits.amax(-1).isnan()  # the largest of numbers and a NaN is NaN
            if bool(broken.any()):
                row = rows[int(broken.nonzero()[0, 0])]
                raise ModelError(
                    f"{self._name} gave NaN instead of logits for request {batch[row].id!r} at token {step}. "
                    "Check its weights, or load it with model.dtype=float32."
                )

        return check

    def _make_fingerprint(self) -> str:
        parameter = next(cast(Any, self._loaded.model).parameters())
        return fingerprint(
            "local/4",
            self._loaded.fingerprint,
            self._loaded.renderer.describe(),
            type(self._loaded.model).__name__,
            str(parameter.dtype),
            str(parameter.device.type),
            self._batch_size,
            torch.__version__,
            transformers.__version__,
        )

    def _reply(self, prompt: list[int], prefix: list[int], answer: Answer) -> ChatReply:
        return ChatReply(
            text=self._loaded.renderer.parse([*prefix, *answer.tokens]),
            finish_reason="stop" if answer.ended else "length",
            prompt_tokens=len(prompt),
            completion_tokens=len(answer.tokens),
        )

    def _room(self, request: ChatRequest, prompt: list[int], sampling: Sampling) -> int:
        """Tokens that may still come: what is asked for, or what the model's positions leave."""
        positions = _positions(self._loaded)
        if positions is None:
            return sampling.max_new_tokens
        if len(prompt) >= positions:
            raise ModelError(
                f"The prompt of request {request.id!r} has {len(prompt)} tokens, {self._name} takes {positions} with "
                "its answer. Shorten or drop the prompt, or choose a model with a longer context."
            )
        return min(sampling.max_new_tokens, positions - len(prompt))


def _positions(loaded: LoadedModel) -> int | None:
    """The most tokens that the model reads, where its configuration says so."""
    return getattr(cast(Any, loaded.model).config.get_text_config(), "max_position_embeddings", None)


def _characters(request: ChatRequest) -> int:
    return len(request.prefix) + sum(len(message.content) for message in request.messages)


@final
class LabelChat:
    """Answers conversations with the likeliest of `labels`, whatever the sampling.

    `logprobs` of a reply holds a log-prob for each label, in nats, in the order of the labels. Each is the log-prob of
    the request's prefix and the label as the beginning of the response: what the prefix adds is common to all of them,
    and where no label begins another, no two of them can come true together.

    It scores at most `batch_size` labels at once, but at least those of one request.
    """

    def __init__(self, loaded: LoadedModel, *, name: str, labels: Sequence[str], batch_size: int = 32) -> None:
        self._loaded = loaded
        self._labels = tuple(labels)
        self._local = LocalChat(loaded, name=name, batch_size=max(1, batch_size // len(self._labels)))
        self.name = name
        self.pace = Pace()
        self.fingerprint = fingerprint("labels/1", self._local.fingerprint, self._labels)

    def plan(self, requests: Sequence[ChatRequest]) -> list[list[int]]:
        """Batches of like length, the longest first."""
        return self._local.plan(requests)

    def answer(self, unit: Sequence[ChatRequest], _sampling: Sampling) -> list[ChatReply]:
        """One reply a request, in order.

        Raises:
            RenderingError: The template can't express a conversation.
            ModelError: A conversation with a label is longer than the model reads, or the model gives no numbers.
        """
        sequences = [self._sequence(request, label) for request in unit for label in self._labels]
        logps = self._logps(sequences) if sequences else []
        size = len(self._labels)
        return [
            self._reply(request, sequences[start : start + size], logps[start : start + size])
            for request, start in zip(unit, range(0, len(sequences), size), strict=True)
        ]

    @torch.inference_mode()
    def _logps(self, sequences: Sequence[TokenSequence]) -> list[float]:
        pad = self._loaded.renderer.pad_token_id
        found = response_logps(self._loaded.model, sequences, pad_token_id=pad, batch_size=len(sequences))
        return found.logps.tolist()

    def _sequence(self, request: ChatRequest, label: str) -> TokenSequence:
        sequence = self._loaded.renderer.example(request.messages, request.prefix + label, ended=False)
        positions = _positions(self._loaded)
        if positions is not None and len(sequence.tokens) > positions:
            raise ModelError(
                f"Request {request.id!r} has {len(sequence.tokens)} tokens with the label {label!r}, and {self.name} "
                f"reads {positions}. Shorten or drop the text, or choose a model with a longer context."
            )
        return sequence

    def _reply(self, request: ChatRequest, sequences: Sequence[TokenSequence], logps: Sequence[float]) -> ChatReply:
        if not all(map(math.isfinite, logps)):
            raise ModelError(
                f"{self.name} gave {logps} as log-probs of {list(self._labels)} for request {request.id!r}. Check its "
                "weights, or load it with dtype: float32."
            )
        best = max(range(len(logps)), key=lambda index: logps[index])
        start = sequences[best].response_start
        return ChatReply(
            text=request.prefix + self._labels[best],
            finish_reason="stop",
            prompt_tokens=start,
            completion_tokens=len(sequences[best].tokens) - start,
            logprobs=tuple(logps),
        )
