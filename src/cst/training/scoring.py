"""How the rows of a training are scored: in packs where the model can be packed, padded where it can't.

Both ways give the same numbers but for their low bits, so the choice is made once a training and needs no setting. This
file knows neither loss nor plan.
"""

import logging
from collections.abc import Generator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from typing import Protocol, cast, final

import torch
from accelerate import Accelerator
from torch import Tensor, nn

from cst.models.loading import LoadedModel
from cst.progress import track
from cst.recipe import TrainingSettings
from cst.training.batches import Row, micro_batches, sequences_of
from cst.training.fast_layers import computes_alike, computing_fast
from cst.training.logps import ResponseLogps, chunks_of_like_length, response_logps
from cst.training.micro_packs import check_rows, micro_packs
from cst.training.packable import why_not_packed
from cst.training.packed import TOKEN_BUDGET, language_model, packed_response_logps
from cst.training.packs import plan_packs
from cst.training.sharding import Pass, passes
from cst.training.tree_attention import attending_in_trees

logger = logging.getLogger(__name__)


class Scorer(Protocol):
    """A way to score rows, and how the rows of a step are split for it."""

    def shares(self, step: Sequence[int], rows: Sequence[Row], *, rank: int, world_size: int) -> list[list[int]]:
        """Positions in `step` that one process computes, those of one forward pass together; each is dealt once."""
        ...

    def score(self, model: nn.Module, rows: Sequence[Row]) -> ResponseLogps:
        """Log-probs of the B rows of one share, [B, sequences of a row].

        Always in as many forward passes, however many rows there are.
        """
        ...

    def tokens(self, rows: Sequence[Row]) -> int:
        """How many tokens are computed to score one share, padding included."""
        ...

    def ready(self, model: nn.Module) -> AbstractContextManager[None]:
        """Open while `model` is scored, and while gradients of that are computed."""
        ...


@final
@dataclass(frozen=True)
class Packed:
    """In trees of unique tokens, at most `token_budget` of them at once; `fast`: with stand-ins for known layers."""

    token_budget: int
    fast: bool = True

    def shares(self, step: Sequence[int], rows: Sequence[Row], *, rank: int, world_size: int) -> list[list[int]]:
        """By tokens; see Scorer."""
        together = [rows[row].sequences for row in step]
        return micro_packs(together, token_budget=self.token_budget, rank=rank, world_size=world_size)

    def score(self, model: nn.Module, rows: Sequence[Row]) -> ResponseLogps:
        """In one pack; see Scorer."""
        sequences = sequences_of(rows)
        everything = sum(len(sequence.tokens) for sequence in sequences)
        return _by_row(packed_response_logps(model, sequences, token_budget=everything), len(rows))

    def tokens(self, rows: Sequence[Row]) -> int:
        """See Scorer."""
        return sum(len(pack.tokens) for pack in plan_packs(sequences_of(rows), self.token_budget))

    @contextmanager
    def ready(self, model: nn.Module) -> Generator[None]:
        """See Scorer."""
        base = language_model(model)
        with attending_in_trees(base), computing_fast(base) if self.fast else nullcontext():
            yield


@final
@dataclass(frozen=True)
class Padded:
    """In batches of at most `batch_size` rows, padded on the right."""

    pad_token_id: int
    batch_size: int

    def shares(self, step: Sequence[int], rows: Sequence[Row], *, rank: int, world_size: int) -> list[list[int]]:
        """By rows; see Scorer."""
        return micro_batches(step, rows, size=self.batch_size, rank=rank, world_size=world_size)

    def score(self, model: nn.Module, rows: Sequence[Row]) -> ResponseLogps:
        """In as many batches as a row has sequences; see Scorer."""
        logps = response_logps(model, sequences_of(rows), pad_token_id=self.pad_token_id, batch_size=len(rows))
        return _by_row(logps, len(rows))

    def tokens(self, rows: Sequence[Row]) -> int:
        """See Scorer."""
        sequences = sequences_of(rows)
        chunks = chunks_of_like_length(sequences, self.batch_size)
        return sum(len(chunk) * max(len(sequences[index].tokens) for index in chunk) for chunk in chunks)

    def ready(self, model: nn.Module) -> AbstractContextManager[None]:
        """Nothing is to be made ready."""
        del model
        return nullcontext()


def _by_row(scored: ResponseLogps, rows: int) -> ResponseLogps:
    """Of so many rows, whose sequences stand as `sequences_of` puts them: [sequences of a row * B] -> [B, those]."""
    return ResponseLogps(scored.logps.view(-1, rows).T, scored.lengths.view(-1, rows).T)


def passes_of(
    step: Sequence[int], rows: Sequence[Row], *, model: nn.Module, scorer: Scorer, accelerator: Accelerator
) -> list[Pass]:
    """The passes that this process makes over the rows of a step, by their positions in it."""
    mine = scorer.shares(step, rows, rank=accelerator.process_index, world_size=accelerator.num_processes)
    shortest = min(range(len(step)), key=lambda position: rows[step[position]].longest)
    return passes(mine, filler=shortest, model=language_model(model), accelerator=accelerator)


def logps_of_rows(
    rows: Sequence[Row], model: nn.Module, scorer: Scorer, accelerator: Accelerator, *, description: str
) -> Tensor:
    """Log-probs of all N rows, in nats: [N, sequences of a row] float64; each process computes its share of them.

    To be called without gradients, and while `scorer` is ready.
    """
    todo = passes_of(range(len(rows)), rows, model=model, scorer=scorer, accelerator=accelerator)
    logps = torch.zeros(len(rows), len(rows[0].sequences), dtype=torch.float64, device=accelerator.device)
    for each in track(todo, description=description, weight=_rows) if accelerator.is_main_process else todo:
        scored = scorer.score(model, [rows[row] for row in each.positions]).logps
        if each.counts:
            logps[each.positions] = scored
    return cast(Tensor, accelerator.reduce(logps, reduction="sum"))


def _rows(each: Pass) -> int:
    return len(each.positions) * each.counts


def scorer_of(loaded: LoadedModel, settings: TrainingSettings, rows: Sequence[Row]) -> Scorer:
    """The fastest way that gives the model's own numbers; a model that can't be packed is told once, with the reason.

    Raises:
        TrainingError: training.tokens_per_pack is smaller than a row.
    """
    reason = _why_padded(loaded, settings)
    if reason is not None:
        logger.warning("Rows are padded and not packed, which is slower: %s.", reason)
        return Padded(loaded.renderer.pad_token_id, settings.per_device_train_batch_size)
    if settings.tokens_per_pack is not None:
        check_rows([row.sequences for row in rows], settings.tokens_per_pack)
    return Packed(settings.tokens_per_pack or TOKEN_BUDGET, fast=computes_alike(loaded.model))


def _why_padded(loaded: LoadedModel, settings: TrainingSettings) -> str | None:
    if settings.lora_dropout and not settings.full:
        return f"training.lora_dropout={settings.lora_dropout} would drop the same of all rows that share a token"
    loaded.model.eval()
    return why_not_packed(loaded.model)
