"""Attention of one new token a row to its cached keys, for bfloat16 on a CPU.

There torch's fused attention packs all keys anew for their one query: 64 rows of 6 heads of 64 with 184 keys take it
7.8 ms of CPU time, the products below 2.6 (12 heads 16.5 and 8.5; torch 2.13, avx512_bf16). In float32 both take the
same, so there, and on other devices, models keep their own.
"""

from collections.abc import Generator
from contextlib import contextmanager
from typing import Any, cast

import torch
from torch import Tensor, nn
from transformers import AttentionInterface, AttentionMaskInterface, PreTrainedModel
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

NAME = "cst_one_query"
"""Under which transformers finds it."""


def one_query_attention(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    scaling: float | None = None,
    **rest: Any,  # noqa: ANN401 - what transformers passes on
) -> tuple[Tensor, None]:
    """As transformers' interface has it: query [R, H, T, D], key and value [R, h, S, D] -> [R, T, H, D].

    The mask is bool, [R or 1, 1, T, S]. More queries than one a row, and scores with a bias, go to torch's own.
    """
    if query.shape[2] > 1 or rest.get("position_bias") is not None:
        return sdpa_attention_forward(module, query, key, value, attention_mask, scaling=scaling, **rest)
    grouped = query.view(
        len(query), key.shape[1], -1, query.shape[-1]
    )  # heads that share keys are each other's queries
    scores = (key @ grouped.mT).mT.float() * (scaling or query.shape[-1] ** -0.5)
    if attention_mask is not None:
        scores = scores.masked_fill(~attention_mask, -torch.inf)
    seen = scores.softmax(-1).to(value.dtype) @ value
    return seen.reshape(len(query), 1, query.shape[1], value.shape[-1]), None


@contextmanager
def attending_by_one_query(model: PreTrainedModel) -> Generator[None]:
    """While the context is open `model` attends so, if that pays; after it, as before."""
    before = cast(str | None, cast(Any, model.config)._attn_implementation)
    if not (before == "sdpa" and model.dtype == torch.bfloat16 and model.device.type == "cpu" and _can_change(model)):
        yield
        return
    AttentionInterface.register(NAME, one_query_attention)
    AttentionMaskInterface.register(NAME, sdpa_mask)
    model.set_attn_implementation(NAME)
    try:
        yield
    finally:
        model.set_attn_implementation(before)


def _can_change(model: PreTrainedModel) -> bool:
    """Whether the model bears transformers' own mark of those that call attention through its interface."""
    return bool(getattr(model, "_supports_attention_backend", False))
