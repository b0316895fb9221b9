"""The rows of a batch that is being decoded: what the model has seen of each, and what it says next.

This file knows how a model is called; it doesn't know how tokens are chosen, nor when a row is done.
"""

import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, cast, final

import torch
from torch import Tensor
from transformers import DynamicCache, PreTrainedModel

from cst.errors import ModelError
from cst.models.kv_cache import can_lay_out, joined, laid_out, make_cache
from cst.models.prompt_heads import SharedHeads, shared_heads

PART_TOKENS = 2048
"""Tokens of prompts that are computed at once on a CPU: rows of like length, so that little of it is padding, and few
enough that a layer's numbers stay in the caches."""

PART_TOKENS_ELSEWHERE = 16384
"""The same on accelerators, which want more at once; not measured."""


@dataclass(frozen=True)
class _Part:
    """Prompts that were computed at once: their row numbers [r], what the cache holds of them, and logits [r, V]."""

    rows: Tensor
    cache: DynamicCache
    logits: Tensor


@final
class DecodedRows:
    """Rows with their cache, their next tokens and positions, both [R, T], and a mask [R, all steps] of what is text.

    Prompts are left padded: the last column is each one's last token. The filler is masked, so any id will do.
    """

    def __init__(self, model: PreTrainedModel, prompts: Sequence[Sequence[int]], steps: int) -> None:
        """`steps` is how many tokens may be taken at most.

        Raises:
            ModelError: the model is of a kind that keeps no key-value cache.
        """
        self._model = cast(Callable[..., Any], model)
        self._config = model.config
        self._cache, self.can_leave = make_cache(model.config)
        self._takes = arguments_of(model)
        self.names = list(range(len(prompts)))
        self._place = model.device
        self._pad(prompts, steps)
        self._unseen = list(prompts) if "position_ids" in self._takes and can_lay_out(self._cache) else []

    def _pad(self, prompts: Sequence[Sequence[int]], steps: int) -> None:
        self._seen = width = max(map(len, prompts))
        padding = [width - len(prompt) for prompt in prompts]
        self._tokens = self._placed([[0] * pad + list(prompt) for pad, prompt in zip(padding, prompts, strict=True)])
        self._mask = self._placed([[0] * pad + [1] * (width - pad + steps) for pad in padding])
        self._positions = (self._mask[:, :width].cumsum(-1) - 1).clamp(min=0)

    def next_logits(self) -> Tensor:
        """Log-odds [R, V] of each row's next token, float32."""
        if self._unseen:
            prompts, self._unseen = self._unseen, []
            return self._read(prompts)
        return self._logits(self._cache, self._tokens, self._positions, self._mask[:, : self._seen])

    def _read(self, prompts: Sequence[Sequence[int]]) -> Tensor:
        """What follows the prompts, [R, V]; the cache takes them in, what they begin with alike computed once."""
        shared = shared_heads(prompts)
        if shared.depth:
            heads = self._placed(shared.heads)
            positions = torch.arange(shared.depth, device=self._place).expand_as(heads)
            self._logits(self._cache, heads, positions, torch.ones_like(heads))
        lengths, budget = list(map(len, prompts)), PART_TOKENS if self._place.type == "cpu" else PART_TOKENS_ELSEWHERE
        read = [self._read_part(part, max(lengths[row] for row in part), shared) for part in parts_of(lengths, budget)]
        self._cache = joined([(part.rows, part.cache) for part in read])
        return torch.cat([part.logits for part in read])[torch.cat([part.rows for part in read]).argsort()]

    def _read_part(self, part: Sequence[int], width: int, shared: SharedHeads) -> "_Part":
        """The rows of a part, the longest of which is `width` long, behind what they share with others."""
        rows, depth, start = self._placed(part), shared.depth, self._seen - width
        positions = self._positions[rows, start:]
        owners = self._placed([shared.owners[row] for row in part])
        cache = laid_out(self._cache, owners, positions[:, :depth]) if depth else make_cache(self._config)[0]
        tokens, mask = self._tokens[rows, start + depth :], self._mask[rows, start : self._seen]
        return _Part(rows, cache, self._logits(cache, tokens, positions[:, depth:], mask))

    def logits_behind(self, tokens: Tensor) -> Tensor:
        """Log-odds [R, T, V] behind each of the tokens [R, T] that follow the prompts; padded on the right, if at all.

        To be called once, after `next_logits`.
        """
        steps = tokens.shape[1]
        positions = self._positions[:, -1:] + torch.arange(1, steps + 1, device=self._place)
        return self._all_logits(self._cache, tokens, positions, self._mask[:, : self._seen + steps], last=steps)

    def _logits(self, cache: DynamicCache, tokens: Tensor, positions: Tensor, mask: Tensor) -> Tensor:
        """Logits [R, V] after tokens [R, T] at positions [R, T], which the cache takes in; mask is [R, all so far]."""
        return self._all_logits(cache, tokens, positions, mask, last=1)[:, 0]

    def _all_logits(self, cache: DynamicCache, tokens: Tensor, positions: Tensor, mask: Tensor, *, last: int) -> Tensor:
        """Those [R, last, V] behind each of the last tokens; see `_logits`."""
        optional = {"position_ids": positions, "logits_to_keep": last}
        output = self._model(
            input_ids=tokens,
            attention_mask=mask,
            past_key_values=cache,
            use_cache=True,
            **{name: value for name, value in optional.items() if name in self._takes},
        )
        return cast(Tensor, output.logits)[:, -last:].float()

    def take(self, tokens: Tensor) -> None:
        """Go on with these tokens [R]."""
        self._tokens = tokens[:, None]
        self._positions = self._positions[:, -1:] + 1
        self._seen += 1

    def keep(self, indices: list[int]) -> None:
        """Go on with these rows alone; one may be named several times."""
        chosen = self._placed(indices)
        self._cache.batch_select_indices(chosen)
        self._tokens, self._mask, self._positions = (
            self._tokens[chosen],
            self._mask[chosen],
            self._positions[chosen],
        )
        self.names = [self.names[i] for i in indices]

    def _placed(self, rows: Sequence[object]) -> Tensor:
        """Integers as a tensor where the model is."""
        return torch.tensor(rows, device=self._place)


def arguments_of(model: PreTrainedModel) -> frozenset[str]:
    """What the model's forward takes, a cache among it; an adapter's wrapper takes what its base takes.

    Raises:
        ModelError: the model is of a kind that keeps no key-value cache.
    """
    base = cast(Any, model).get_base_model() if hasattr(model, "get_base_model") else model
    names = frozenset(inspect.signature(cast(Any, base).forward).parameters)
    if "past_key_values" not in names:
        raise ModelError(
            f"{type(model).__name__} keeps no key-value cache, so cst can't decode with it. Choose a model with "
            "attention, or serve this one with an engine of its own and name its endpoint."
        )
    return names


def parts_of(lengths: Sequence[int], budget: int) -> list[list[int]]:
    """Prompts of like length together, the shortest first; each part has at most `budget` tokens, padding counted."""
    parts: list[list[int]] = []
    for row in sorted(range(len(lengths)), key=lambda row: (lengths[row], row)):
        if parts and (len(parts[-1]) + 1) * lengths[row] <= budget:
            parts[-1].append(row)
        else:
            parts.append([row])
    return parts
