"""Log-probs of continuations, of which several follow the same prompt, as the choices of a question do.

A prompt is read once, and what prompts begin with alike too (`DecodedRows`). This file knows no question.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence
from transformers import PreTrainedModel

from cst.errors import ModelError
from cst.models.decoded_rows import DecodedRows, arguments_of
from cst.models.kv_cache import make_cache
from cst.models.onednn_linears import multiplying_by_onednn

Pair: TypeAlias = tuple[Sequence[int], Sequence[int]]
"""Tokens of a prompt and of what follows it, each at least one."""


@dataclass(frozen=True)
class Continued:
    """Summed log-prob of a continuation in nats, and whether each of its tokens is the most probable one."""

    logp: float
    is_greedy: bool


def can_branch(model: PreTrainedModel) -> bool:
    """Whether several continuations can follow one reading of a prompt: not where a recurrent state stands for it."""
    try:
        arguments_of(model)
    except ModelError:
        return False
    return make_cache(model.config)[1]


@torch.inference_mode()
def continuations(model: PreTrainedModel, pairs: Sequence[Pair], *, batch_size: int) -> list[Continued]:
    """In order of the pairs; `batch_size` are computed at once, those of a prompt together, the longest prompts first.

    Log-softmax in float32, sums in float64. Only for models of which `can_branch` is true.
    """
    order = sorted(range(len(pairs)), key=lambda i: (-len(pairs[i][0]), tuple(pairs[i][0])))
    found: dict[int, Continued] = {}
    with multiplying_by_onednn(model):
        for start in range(0, len(order), batch_size):
            batch = order[start : start + batch_size]
            found.update(zip(batch, _continued(model, [pairs[i] for i in batch]), strict=True))
    return [found[i] for i in range(len(pairs))]


def _continued(model: PreTrainedModel, pairs: Sequence[Pair]) -> list[Continued]:
    endings = pad_sequence([torch.tensor(ending) for _, ending in pairs], batch_first=True).to(model.device)
    lengths = torch.tensor([len(ending) for _, ending in pairs], device=model.device)
    logits = _logits(model, [tuple(prompt) for prompt, _ in pairs], endings)
    logps = logits.log_softmax(-1).gather(-1, endings[..., None])[..., 0]
    is_padding = torch.arange(endings.shape[1], device=model.device) >= lengths[:, None]
    sums = logps.double().masked_fill(is_padding, 0).sum(-1)
    greedy = ((logits.argmax(-1) == endings) | is_padding).all(-1)
    return [Continued(logp, is_greedy) for logp, is_greedy in zip(sums.tolist(), greedy.tolist(), strict=True)]


def _logits(model: PreTrainedModel, prompts: Sequence[tuple[int, ...]], endings: Tensor) -> Tensor:
    """What each token of the endings [R, T], padded on the right, is foretold by: [R, T, V] float32."""
    places = {prompt: place for place, prompt in enumerate(dict.fromkeys(prompts))}
    owners = [places[prompt] for prompt in prompts]
    rows = DecodedRows(model, list(places), endings.shape[1])
    first = rows.next_logits()[owners, None]
    if endings.shape[1] == 1:
        return first
    rows.keep(owners)
    return torch.cat([first, rows.logits_behind(endings[:, :-1])], dim=1)
