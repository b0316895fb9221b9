"""An adapter merged into the weights of its model, as a Hugging Face folder.

Merging is done in float32 and cast once, because merging in bfloat16 changes answers; what it changed is measured on
the spot. This file knows nothing of training.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from cst.errors import ModelError
from cst.models.adapters import load_adapter
from cst.models.loading import LoadedModel, load_model, save_model
from cst.records import Message


@dataclass(frozen=True)
class MergeReport:
    """What merging changed: greedy answers and next-token log-probs of adapter and merged model, on `prompts`.

    `same_answers` counts prompts whose greedy tokens are all equal; `largest_difference` is in nats, over all tokens of
    the vocabulary at every position of the answers.
    """

    folder: Path
    dtype: str
    prompts: int
    same_answers: int
    largest_difference: float


PROBES = ("Hello!", "Tell me about yourself.", "How do I keep a secret?", "What is two plus three?")
"""Short, harmless prompts on which a merge is checked."""

PROBE_TOKENS = 24
"""Greedy tokens compared after each probe."""


def merge_adapter(
    model_path: str,
    adapter: str | Path,
    out: Path,
    *,
    prompts: Sequence[str] = PROBES,
    chat_template: str | Path | None = None,
) -> MergeReport:
    """Write a Hugging Face folder of the model with the adapter in its weights: tokenizer and template with it.

    Model and adapter are folders or hub ids. `chat_template` is the template file that the adapter was trained with,
    where that isn't the tokenizer's own: the merged model's tokenizer has it.

    The merge is done in float32, cast once to the checkpoint's type, read back and compared with the unmerged pair. An
    adapter that was trained on the model in 4 or 8 bits is merged into its full weights, which differ from those it was
    trained on: answers then change a little more than the report says.

    Raises:
        ModelError: Model or adapter can't be loaded, or `out` exists.
    """
    if out.exists():
        raise ModelError(f"{out} exists already. Name a folder that doesn't.")
    loaded = load_model(model_path, dtype="float32", device="cpu", chat_template=chat_template)
    tuned = load_adapter(loaded.model, adapter)
    before = [_greedy(tuned, loaded, prompt) for prompt in prompts]
    merged: Any = tuned.merge_and_unload()
    save_model(merged.to(loaded.checkpoint_dtype), loaded.tokenizer, out)
    again = load_model(str(out), dtype="float32", device="cpu")
    pairs = [(trace.logps, _forced(again.model, trace).logps) for trace in before]
    return MergeReport(
        folder=out,
        dtype=str(loaded.checkpoint_dtype).removeprefix("torch."),
        prompts=len(pairs),
        same_answers=sum(bool((old.argmax(-1) == new.argmax(-1)).all()) for old, new in pairs),
        largest_difference=max(float((old - new).abs().max()) for old, new in pairs),
    )


@dataclass(frozen=True)
class _Trace:
    """Prompt and greedy answer [T], where the answer starts, and the log-probs before each of its tokens [A, V]."""

    tokens: Tensor
    start: int
    logps: Tensor


@torch.no_grad()
def _greedy(model: nn.Module, loaded: LoadedModel, prompt: str) -> _Trace:
    tokens = loaded.renderer.prompt([Message(role="user", content=prompt)])
    start = len(tokens)
    for _ in range(PROBE_TOKENS):
        logits: Tensor = model(input_ids=torch.tensor([tokens]), use_cache=False).logits[0, -1]
        tokens = [*tokens, int(logits.argmax())]
        if tokens[-1] in loaded.renderer.end_token_ids:
            break
    return _forced(model, _Trace(torch.tensor(tokens), start, torch.empty(0)))


@torch.no_grad()
def _forced(model: nn.Module, trace: _Trace) -> _Trace:
    """The same tokens, with the log-probs that `model` gives them: greedy answers differ iff an argmax does."""
    logits: Tensor = model(input_ids=trace.tokens[None], use_cache=False).logits[0, trace.start - 1 : -1]
    return _Trace(trace.tokens, trace.start, logits.float().log_softmax(-1))
