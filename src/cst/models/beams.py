"""Beam search by transformers' `generate`: of the answers that a search comes upon, the one of highest mean log-prob.

Nothing but the arguments decides: the model's own generation settings are out of the way while it searches. A search's
answers ignore their batch; draws of beams (beam sampling) come from one stream for the batch. This file knows tokens
and models, no text.
"""

from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from itertools import groupby
from typing import Any, cast, final

import torch
from torch import Tensor
from transformers import GenerationConfig, LogitsProcessor, LogitsProcessorList, PreTrainedModel

from cst.models.decoded_rows import arguments_of
from cst.models.decoding import Answer
from cst.records import Sampling

Check = Callable[[Tensor, list[int], int], None]
"""(log-odds [R, V], which prompt each row answers, step); raises where a model gives no numbers."""

FILLER = 0
"""Left of prompts, where it is masked, and right of answers that ended, where it isn't read: any token will do."""


@torch.inference_mode()
def beam_search(
    model: PreTrainedModel,
    prompts: Sequence[Sequence[int]],
    *,
    limits: Sequence[int],
    end_token_ids: frozenset[int],
    sampling: Sampling,
    seed: int,
    check: Check,
) -> list[Answer]:
    """One answer a prompt, of at most `limits[i]` >= 1 tokens, the best of `sampling.num_beams`.

    At temperature 0 it is a plain search; above, candidates are drawn after temperature, top-k and top-p, from a stream
    that `seed` names. Prompts that may be answered at different lengths are searched apart: a search's scores depend on
    how long it may become.

    Raises:
        ModelError: The model is of a kind that keeps no key-value cache; or what `check` raises.
    """
    arguments_of(model)
    found: dict[int, Answer] = {}
    for limit, group in groupby(sorted(range(len(prompts)), key=lambda i: limits[i]), key=lambda i: limits[i]):
        rows = list(group)
        settings = _settings(sampling, limit, end_token_ids)
        with _own_settings_aside(model) as generate, _drawing_from(seed, model.device):
            answers = _search(generate, [prompts[i] for i in rows], model.device, settings, _Watch(check, rows))
        found.update(zip(rows, (_cut(answer, end_token_ids) for answer in answers), strict=True))
    return [found[i] for i in range(len(prompts))]


def _settings(sampling: Sampling, limit: int, end_token_ids: frozenset[int]) -> GenerationConfig:
    """Transformers' settings; of those that aren't named, its defaults hold, and of them none changes a score."""
    draws = {"temperature": sampling.temperature, "top_k": sampling.top_k, "top_p": sampling.top_p}
    return GenerationConfig(
        num_beams=sampling.num_beams,
        max_new_tokens=limit,
        eos_token_id=sorted(end_token_ids) or None,
        pad_token_id=FILLER,
        early_stopping=False,
        length_penalty=1.0,
        do_sample=sampling.temperature > 0,
        **(draws if sampling.temperature > 0 else {}),
    )


def _search(
    generate: Callable[..., Any],
    prompts: Sequence[Sequence[int]],
    place: torch.device,
    settings: GenerationConfig,
    watch: "_Watch",
) -> list[list[int]]:
    """What follows each prompt, filled up at its end to the length of the longest."""
    width = max(map(len, prompts))
    padding = [width - len(prompt) for prompt in prompts]
    tokens = [[FILLER] * pad + list(prompt) for pad, prompt in zip(padding, prompts, strict=True)]
    found = generate(
        input_ids=torch.tensor(tokens, device=place),
        attention_mask=torch.tensor([[0] * pad + [1] * (width - pad) for pad in padding], device=place),
        generation_config=settings,
        logits_processor=LogitsProcessorList([watch]),
    )
    return cast(list[list[int]], found[:, width:].tolist())


def _cut(tokens: Sequence[int], end_token_ids: frozenset[int]) -> Answer:
    """The answer up to its first end token: what comes after it is filler."""
    end = next((i for i, token in enumerate(tokens) if token in end_token_ids), None)
    return Answer(tuple(tokens if end is None else tokens[: end + 1]), end is not None)


@final
class _Watch(LogitsProcessor):
    """Looks at the scores of each step and changes none; each of `rows` has as many beams as there are scores for."""

    def __init__(self, check: Check, rows: Sequence[int]) -> None:
        self._check, self._rows = check, rows
        self._step = 0

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        beams = len(scores) // len(self._rows)
        self._check(scores, [row for row in self._rows for _ in range(beams)], self._step)
        self._step += 1
        return scores


@contextmanager
def _own_settings_aside(model: PreTrainedModel) -> Generator[Callable[..., Any]]:
    """The model's `generate`, while it has no generation settings of its own, which would fill in whatever isn't given.

    An adapter's wrapper is left out: its layers stay, and it would bring the settings back.
    """
    base: Any = cast(Any, model).get_base_model() if hasattr(model, "get_base_model") else model
    kept = base.generation_config
    base.generation_config = GenerationConfig()
    try:
        yield base.generate
    finally:
        base.generation_config = kept


@contextmanager
def _drawing_from(seed: int, place: torch.device) -> Generator[None]:
    """The global generators, from which `generate` draws, begin at a seed, and are afterwards as they were."""
    devices = [] if place.type == "cpu" else [place.index or 0]
    with torch.random.fork_rng(devices, device_type=place.type):
        torch.manual_seed(seed)
        yield
