"""A `ChatModel` that can only say one of a few labels, and tells how likely each was: a model in this process.

The likeliest label is the reply; `logprobs` holds a log-prob for each label, in nats, in the order of the labels. Each
is the log-prob of the request's prefix and the label as the beginning of the response: what the prefix adds is common
to all of them, and where no label begins another, no two of them can come true together. This file knows no judge.
"""

import math
from collections.abc import Sequence
from typing import final

import torch

from cst.chat.base import ChatReply, ChatRequest
from cst.chat.local import LocalChat
from cst.chat.pace import Pace
from cst.errors import ModelError
from cst.models.loading import LoadedModel
from cst.models.logps import response_logps
from cst.models.rendering import TokenSequence
from cst.records import Sampling
from cst.store import fingerprint


@final
class LabelChat:
    """Answers conversations with one of `labels`, whatever the sampling.

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
        positions = getattr(self._loaded.model.config.get_text_config(), "max_position_embeddings", None)
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
