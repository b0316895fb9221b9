"""Prompts to answers, token by token, with a key-value cache: a batch at a time, rows leaving as they end.

`generate` of transformers carries every row to the end of the longest and mixes the model's own generation settings
into those it is given; here nothing but the arguments decides, finished rows are taken out of the cache, and what
prompts begin with alike is computed once. On the demo's prompts, in the same length-sorted batches of 128, `generate`
takes 1.5 to 1.7 times as long, with its static cache twice as long, for the same answers (CPU seconds of one thread,
medians of five). This file knows tokens and models, no text.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor
from transformers import PreTrainedModel

from cst.models.decoded_rows import DecodedRows
from cst.models.one_query_attention import attending_by_one_query
from cst.models.onednn_linears import multiplying_by_onednn

Choose = Callable[[Tensor, list[int], int], Tensor]
"""(logits [R, V] float32, which prompt each row answers, step) -> tokens [R] int64."""

KEPT_SHARE = 0.75
"""Finished rows leave once the unfinished are no more than this share: taking rows out copies the cache."""


@dataclass(frozen=True)
class Answer:
    """Generated tokens, the end token included where there is one; `ended` says so."""

    tokens: tuple[int, ...]
    ended: bool


def greedy(logits: Tensor, rows: list[int], step: int) -> Tensor:
    """The most probable tokens; of equals, the first."""
    return logits.argmax(-1)


def sampler(streams: Tensor, *, temperature: float, top_p: float, top_k: int = 0) -> Choose:
    """Draws by inverse CDF: row r at step t takes the token at quantile `streams[r, t]`, a uniform number in [0, 1).

    Quantiles are decided before any logits are known, so what a row draws depends neither on its neighbours nor on a
    global generator. `streams` is [B, T] float64 on the CPU.
    """

    def choose(logits: Tensor, rows: list[int], step: int) -> Tensor:
        heights = chances(logits, temperature=temperature, top_p=top_p, top_k=top_k).cumsum(-1)
        total = heights[:, -1:]
        quantile = streams[rows, step].to(logits.device)[:, None] * total
        below = torch.minimum(quantile, torch.nextafter(total, torch.zeros_like(total)))
        return torch.searchsorted(heights, below, right=True)[:, 0]

    return choose


def chances(logits: Tensor, *, temperature: float, top_p: float, top_k: int) -> Tensor:
    """What tokens are drawn by, [R, V] float64, up to a factor a row; of logits [R, V].

    First the temperature, then the `top_k` most probable tokens (and what equals the last of them; 0 keeps all), then
    the nucleus of what is left: the order of transformers' `generate`.
    """
    scaled = logits / temperature
    if 0 < top_k < scaled.shape[-1]:
        scaled = scaled.where(scaled >= scaled.topk(top_k).values[:, -1:], -torch.inf)
    probabilities = scaled.softmax(-1).double()
    return _nucleus(probabilities, top_p) if top_p < 1 else probabilities


def uniform_stream(seed: int, length: int) -> Tensor:
    """`length` uniform numbers in [0, 1), float64, decided by the seed alone; a longer stream begins with them."""
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(length, dtype=torch.float64, generator=generator)


@torch.inference_mode()
def decode(
    model: PreTrainedModel,
    prompts: Sequence[Sequence[int]],
    *,
    limits: Sequence[int],
    end_token_ids: frozenset[int],
    choose: Choose,
) -> list[Answer]:
    """One answer a prompt, of at most `limits[i]` >= 1 tokens, up to its first end token.

    Raises:
        ModelError: the model is of a kind that keeps no key-value cache.
    """
    with attending_by_one_query(model), multiplying_by_onednn(model):
        return _decoded(DecodedRows(model, prompts, max(limits)), limits, end_token_ids, choose)


def _decoded(rows: DecodedRows, limits: Sequence[int], end_token_ids: frozenset[int], choose: Choose) -> list[Answer]:
    answers: list[list[int]] = [[] for _ in limits]
    open_rows = set(range(len(limits)))
    step = 0
    while True:
        tokens = choose(rows.next_logits(), rows.names, step)
        step += 1
        for row, token in zip(rows.names, cast(list[int], tokens.tolist()), strict=True):
            if row in open_rows:
                answers[row].append(token)
                if token in end_token_ids or len(answers[row]) >= limits[row]:
                    open_rows.discard(row)
        if not open_rows:
            return [Answer(tuple(answer), answer[-1] in end_token_ids) for answer in answers]
        rows.take(tokens)
        if rows.can_leave and len(open_rows) <= KEPT_SHARE * len(rows.names):
            rows.keep([i for i, row in enumerate(rows.names) if row in open_rows])


def _nucleus(probabilities: Tensor, top_p: float) -> Tensor:
    """Zero outside the smallest set of tokens that holds `top_p` of the mass (Holtzman et al. 2020)."""
    ordered, order = probabilities.sort(dim=-1, descending=True, stable=True)
    before = ordered.cumsum(-1) - ordered
    return torch.zeros_like(probabilities).scatter(-1, order, ordered.where(before < top_p, 0.0))
