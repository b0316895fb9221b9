"""Prompts to answers by transformers' `generate`: each row draws from its own random stream, or is searched by beams.

Nothing but the arguments decides: the model's own generation settings are left out. This file knows tokens and models,
no text.
"""

import copy
import inspect
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import groupby
from typing import Any, cast, final

import torch
from torch import Tensor
from transformers import DynamicCache, GenerationConfig, LogitsProcessor, LogitsProcessorList, PreTrainedModel
from transformers.cache_utils import DynamicLayer

from cst.errors import ModelError
from cst.models.onednn_linears import multiplying_by_onednn
from cst.records import Sampling
from cst.store import fingerprint

Check = Callable[[Tensor, list[int], int], None]
"""(logits [R, V] float32, which prompt each row answers, step); raises where a model gives no numbers."""

FILLER = 0
"""Left of prompts, where it is masked, and right of answers that ended, where it isn't read: any token will do."""


@dataclass(frozen=True)
class Answer:
    """Generated tokens, the end token included where there is one; `ended` says so."""

    tokens: tuple[int, ...]
    ended: bool


@torch.inference_mode()
def decode(
    model: PreTrainedModel,
    prompts: Sequence[Sequence[int]],
    *,
    limits: Sequence[int],
    end_token_ids: frozenset[int],
    sampling: Sampling | None = None,
    seeds: Sequence[int] = (),
    check: Check = lambda logits, rows, step: None,
) -> list[Answer]:
    """One answer a prompt, of at most `limits[i]` >= 1 tokens, up to its first end token.

    Without `sampling`, or at temperature 0, the most probable tokens; above, row i draws from the stream of `seeds[i]`,
    whatever its neighbours are. With beams the answer is the one of highest mean log-prob that the search finds; beams
    at a temperature are drawn from one stream for the batch.

    Raises:
        ModelError: The model keeps no key-value cache; or what `check` raises.
    """
    _require_cache(model)
    sampling = sampling or Sampling()
    found: dict[int, Answer] = {}
    # Rows of one limit together: past its limit a row would leave the model's positions, and a beam search's scores
    # depend on how long it may become.
    for limit, group in groupby(sorted(range(len(prompts)), key=lambda i: limits[i]), key=lambda i: limits[i]):
        rows = list(group)
        if sampling.num_beams == 1 and sampling.temperature > 0:
            look: _Look = _Draw(check, rows, sampling, torch.stack([uniform_stream(seeds[i], limit) for i in rows]))
        else:
            look = _Look(check, rows)
        settings = _settings(sampling, limit, end_token_ids)
        with multiplying_by_onednn(model), _drawing_from(seeds, model.device):
            answers = _generated(model, [prompts[i] for i in rows], settings, look)
        found.update(zip(rows, (_cut(answer, end_token_ids) for answer in answers), strict=True))
    return [found[i] for i in range(len(prompts))]


def uniform_stream(seed: int, length: int) -> Tensor:
    """`length` uniform numbers in [0, 1), float64, decided by the seed alone; a longer stream begins with them."""
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(length, dtype=torch.float64, generator=generator)


def drawn(logits: Tensor, quantiles: Tensor, sampling: Sampling) -> Tensor:
    """The tokens [R] that rows draw by inverse CDF; of logits [R, V] and uniform numbers in [0, 1), [R] float64."""
    heights = chances(logits, sampling).cumsum(-1)
    total = heights[:, -1:]
    quantile = quantiles.to(logits.device)[:, None] * total
    below = torch.minimum(quantile, torch.nextafter(total, torch.zeros_like(total)))
    return torch.searchsorted(heights, below, right=True)[:, 0]


def chances(logits: Tensor, sampling: Sampling) -> Tensor:
    """The weights [R, V] float64 by which tokens are drawn, up to a factor a row; of logits [R, V].

    First the temperature, then the `top_k` most probable tokens (and what equals the last of them; 0 keeps all), then
    the nucleus of what is left: the order of transformers' `generate`.
    """
    scaled = logits / sampling.temperature
    if 0 < sampling.top_k < scaled.shape[-1]:
        scaled = scaled.where(scaled >= scaled.topk(sampling.top_k).values[:, -1:], -torch.inf)
    probabilities = scaled.softmax(-1).double()
    return _nucleus(probabilities, sampling.top_p) if sampling.top_p < 1 else probabilities


def _nucleus(probabilities: Tensor, top_p: float) -> Tensor:
    """Zero outside the smallest set of tokens that holds `top_p` of the mass (Holtzman et al. 2020)."""
    ordered, order = probabilities.sort(dim=-1, descending=True, stable=True)
    before = ordered.cumsum(-1) - ordered
    return torch.zeros_like(probabilities).scatter(-1, order, ordered.where(before < top_p, 0.0))


class _Look(LogitsProcessor):
    """Checks the logits of each step and changes none; each of `rows` has as many beams as there are logits for."""

    def __init__(self, check: Check, rows: Sequence[int]) -> None:
        self._check, self._rows = check, rows
        self._step = 0

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        beams = len(scores) // len(self._rows)
        self._check(scores, [row for row in self._rows for _ in range(beams)], self._step)
        self._step += 1
        return scores


@final
class _Draw(_Look):
    """Leaves each row the one token that it draws, for `generate` to take: row r at step t has quantile [r, t].

    `generate`'s own draws come from one generator for the batch, so that a row's would depend on its neighbours.
    """

    def __init__(self, check: Check, rows: Sequence[int], sampling: Sampling, streams: Tensor) -> None:
        super().__init__(check, rows)
        self._sampling, self._streams = sampling, streams

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        step = min(self._step, self._streams.shape[1] - 1)  # on some devices `generate` computes a step too many
        tokens = drawn(super().__call__(input_ids, scores), self._streams[:, step], self._sampling)
        return torch.full_like(scores, -torch.inf).scatter_(1, tokens[:, None], 0.0)


def _settings(sampling: Sampling, limit: int, end_token_ids: frozenset[int]) -> GenerationConfig:
    """Transformers' settings; those that aren't named keep its defaults, none of which changes a score."""
    searched = sampling.num_beams > 1
    draws = {"temperature": sampling.temperature, "top_k": sampling.top_k, "top_p": sampling.top_p}
    return GenerationConfig(
        num_beams=sampling.num_beams,
        max_new_tokens=limit,
        eos_token_id=sorted(end_token_ids) or None,
        pad_token_id=FILLER,
        disable_compile=True,
        do_sample=searched and sampling.temperature > 0,
        **({"early_stopping": False, "length_penalty": 1.0} if searched else {}),
        **(draws if searched and sampling.temperature > 0 else {}),
    )


def _generated(
    model: PreTrainedModel, prompts: Sequence[Sequence[int]], settings: GenerationConfig, look: _Look
) -> list[list[int]]:
    """What follows each prompt, filled up at its end to the length of the longest answer."""
    width = max(map(len, prompts))
    padding = [width - len(prompt) for prompt in prompts]
    tokens = [[FILLER] * pad + list(prompt) for pad, prompt in zip(padding, prompts, strict=True)]
    bare = _without_settings(model)
    found = bare.generate(
        input_ids=torch.tensor(tokens, device=model.device),
        attention_mask=torch.tensor([[0] * pad + [1] * (width - pad) for pad in padding], device=model.device),
        generation_config=settings,
        logits_processor=LogitsProcessorList([look]),
        **_cache(bare, settings, width + cast(int, settings.max_new_tokens)),
    )
    return cast(list[list[int]], found[:, width:].tolist())


def _without_settings(model: PreTrainedModel) -> Any:  # noqa: ANN401 - transformers' own types don't know `generate`
    """The same weights and layers without generation settings, which `generate` would fill in for what isn't given.

    A shallow copy: the model itself isn't touched. An adapter's wrapper is left out; its layers stay.
    """
    bare = copy.copy(cast(Any, model).get_base_model() if hasattr(model, "get_base_model") else model)
    bare.generation_config = GenerationConfig()
    return bare


def _require_cache(model: PreTrainedModel) -> None:
    base = cast(Any, model).get_base_model() if hasattr(model, "get_base_model") else model
    if "past_key_values" not in inspect.signature(base.forward).parameters:
        raise ModelError(
            f"{type(model).__name__} keeps no key-value cache, so cst can't decode with it. Choose a model with "
            "attention, or serve this one with an engine of its own and name its endpoint."
        )


def _cache(model: PreTrainedModel, settings: GenerationConfig, length: int) -> dict[str, DynamicCache]:
    """For rows on a CPU, a cache with room for `length` tokens in the layers that attend to everything.

    Transformers' own copies all keys and values for every token: on two CPU threads more than half of the time of 64
    rows. Beams are reordered by copies anyway.
    """
    if model.device.type != "cpu" or settings.num_beams != 1:
        return {}
    cache = DynamicCache(config=model.config.get_text_config(decoder=True))
    cache.layers = [_RoomyLayer(length) if type(layer) is DynamicLayer else layer for layer in cache.layers]
    return {"past_key_values": cache}


@final
class _RoomyLayer(DynamicLayer):
    """One layer's keys and values [R, H, T, D]: views of tensors that have room for `length` tokens."""

    def __init__(self, length: int) -> None:
        super().__init__()
        self._length, self._rooms = length, list[Tensor]()

    def update(
        self, key_states: Tensor, value_states: Tensor, *_args: object, **_named: object
    ) -> tuple[Tensor, Tensor]:
        """Take in keys and values [R, H, t, D] of t new tokens; give those of all tokens."""
        states = (key_states, value_states)
        if not self.is_initialized:
            self.lazy_initialization(*states)
            self._rooms = [s.new_empty((*s.shape[:2], self._length, s.shape[3])) for s in states]
        start = self.get_seq_length()
        end = start + key_states.shape[2]
        for room, new in zip(self._rooms, states, strict=True):
            room[:, :, start:end] = new
        self.keys, self.values = (room[:, :, :end] for room in self._rooms)
        return self.keys, self.values


def _cut(tokens: Sequence[int], end_token_ids: frozenset[int]) -> Answer:
    """The answer up to its first end token: what comes after it is filler."""
    end = next((i for i, token in enumerate(tokens) if token in end_token_ids), None)
    return Answer(tuple(tokens if end is None else tokens[: end + 1]), end is not None)


@contextmanager
def _drawing_from(seeds: Sequence[int], place: torch.device) -> Generator[None]:
    """The global generators, from which `generate` draws beams, begin at what the seeds decide and end as they were."""
    devices = [] if place.type == "cpu" else [place.index or 0]
    with torch.random.fork_rng(devices, device_type=place.type):
        torch.manual_seed(int(fingerprint(*seeds)[:15], 16))
        yield
