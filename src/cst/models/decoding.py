"""Prompts to answers, token by token, with a key-value cache: a batch at a time, rows leaving as they end.

`generate` of transformers carries every row to the end of the longest and mixes the model's own generation settings
into those it is given; here nothing but the arguments decides, and finished rows are taken out of the cache, which
halves the time where answers differ in length. This file knows tokens and models, no text.
"""

import hashlib
import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor
from transformers import PreTrainedModel

from cst.errors import ModelError
from cst.models.kv_cache import make_cache

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


def sampler(streams: Tensor, *, temperature: float, top_p: float) -> Choose:
    """Draws by inverse CDF: row r at step t takes the token at quantile `streams[r, t]`, a uniform number in [0, 1).

    Quantiles are decided before any logits are known, so what a row draws depends neither on its neighbours nor on a
    global generator. `streams` is [B, T] float64 on the CPU.
    """

    def choose(logits: Tensor, rows: list[int], step: int) -> Tensor:
        probabilities = (logits / temperature).softmax(-1).double()
        if top_p < 1:
            probabilities = _nucleus(probabilities, top_p)
        heights = probabilities.cumsum(-1)
        total = heights[:, -1:]
        quantile = streams[rows, step].to(logits.device)[:, None] * total
        below = torch.minimum(quantile, torch.nextafter(total, torch.zeros_like(total)))
        return torch.searchsorted(heights, below, right=True)[:, 0]

    return choose


def uniform_stream(seed: int, name: str, length: int) -> Tensor:
    """`length` uniform numbers in [0, 1), float64, decided by seed and name alone; a longer stream begins with them."""
    digest = hashlib.sha256(f"{seed}\0{name}".encode()).digest()
    generator = torch.Generator().manual_seed(int.from_bytes(digest[:8], "little", signed=True))
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
    rows = _Rows.of(model, prompts, max(limits))
    answers: list[list[int]] = [[] for _ in prompts]
    open_rows = set(range(len(prompts)))
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


class _Rows:
    """The rows being decoded: their cache, their next tokens [R, T], mask [R, all steps] and positions [R, T]."""

    def __init__(self, model: PreTrainedModel, tokens: Tensor, mask: Tensor) -> None:
        self._model = cast(Callable[..., Any], model)
        self._cache, self.can_leave = make_cache(model.config)
        self._tokens, self._mask = tokens, mask
        self._seen = tokens.shape[1]
        self._positions = (mask[:, : self._seen].cumsum(-1) - 1).clamp(min=0)
        self._takes = _arguments(model)
        if "past_key_values" not in self._takes:
            raise ModelError(
                f"{type(model).__name__} keeps no key-value cache, so cst can't decode with it. Choose a model with "
                "attention, or serve this one with an engine of its own and name its endpoint."
            )
        self.names = list(range(len(tokens)))

    @classmethod
    def of(cls, model: PreTrainedModel, prompts: Sequence[Sequence[int]], steps: int) -> "_Rows":
        """Left padded: the last column is each prompt's last token. The filler is masked, so any id will do."""
        width = max(len(prompt) for prompt in prompts)
        tokens = torch.tensor([[0] * (width - len(prompt)) + list(prompt) for prompt in prompts])
        mask = torch.tensor([[0] * (width - len(prompt)) + [1] * (len(prompt) + steps) for prompt in prompts])
        device = model.device
        return cls(model, tokens.to(device), mask.to(device))

    def next_logits(self) -> Tensor:
        """Log-odds [R, V] of each row's next token, float32."""
        optional = {"position_ids": self._positions, "logits_to_keep": 1}
        output = self._model(
            input_ids=self._tokens,
            attention_mask=self._mask[:, : self._seen],
            past_key_values=self._cache,
            use_cache=True,
            **{name: value for name, value in optional.items() if name in self._takes},
        )
        return cast(Tensor, output.logits)[:, -1].float()

    def take(self, tokens: Tensor) -> None:
        """Go on with these tokens [R]."""
        self._tokens = tokens[:, None]
        self._positions = self._positions[:, -1:] + 1
        self._seen += 1

    def keep(self, indices: list[int]) -> None:
        """Drop all rows but these."""
        chosen = torch.tensor(indices, device=self._tokens.device)
        self._cache.batch_select_indices(chosen)
        self._tokens, self._mask, self._positions = (
            self._tokens[chosen],
            self._mask[chosen],
            self._positions[chosen],
        )
        self.names = [self.names[i] for i in indices]


def _arguments(model: PreTrainedModel) -> frozenset[str]:
    """What the model's forward takes; an adapter's wrapper takes what its base takes."""
    base = cast(Any, model).get_base_model() if hasattr(model, "get_base_model") else model
    return frozenset(inspect.signature(cast(Any, base).forward).parameters)


def _nucleus(probabilities: Tensor, top_p: float) -> Tensor:
    """Zero outside the smallest set of tokens that holds `top_p` of the mass (Holtzman et al. 2020)."""
    ordered, order = probabilities.sort(dim=-1, descending=True, stable=True)
    before = ordered.cumsum(-1) - ordered
    return torch.zeros_like(probabilities).scatter(-1, order, ordered.where(before < top_p, 0.0))
