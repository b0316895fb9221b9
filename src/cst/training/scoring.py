"""How the responses of a training are scored: in packs where the model can be packed, padded where it can't.

Both ways give the same numbers but for their low bits, so the choice is made once a training and needs no setting. This
file knows neither loss nor plan.
"""

import logging
from collections.abc import Generator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from typing import Protocol, final

from torch import nn

from cst.models.loading import LoadedModel
from cst.models.rendering import TokenSequence
from cst.recipe import TrainingSettings
from cst.training.batches import TokenizedPreference, micro_batches
from cst.training.fast_layers import computes_alike, computing_fast
from cst.training.logps import ResponseLogps, chunks_of_like_length, response_logps
from cst.training.micro_packs import check_rows, micro_packs
from cst.training.packable import why_not_packed
from cst.training.packed import TOKEN_BUDGET, language_model, packed_response_logps
from cst.training.packs import plan_packs
from cst.training.tree_attention import attending_in_trees

logger = logging.getLogger(__name__)


class Scorer(Protocol):
    """A way to score responses, and how the rows of a step are split for it."""

    def shares(
        self, step: Sequence[int], rows: Sequence[TokenizedPreference], *, rank: int, world_size: int
    ) -> list[list[int]]:
        """Positions in `step` that one process computes, those of one forward pass together; each is dealt once."""
        ...

    def score(self, model: nn.Module, sequences: Sequence[TokenSequence]) -> ResponseLogps:
        """Log-probs of the responses of one share, in order: always in as many forward passes, however many rows.

        `sequences` are the chosen responses of the rows and then the rejected ones.
        """
        ...

    def tokens(self, sequences: Sequence[TokenSequence]) -> int:
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

    def shares(
        self, step: Sequence[int], rows: Sequence[TokenizedPreference], *, rank: int, world_size: int
    ) -> list[list[int]]:
        """By tokens; see Scorer."""
        pairs = [(rows[row].chosen, rows[row].rejected) for row in step]
        return micro_packs(pairs, token_budget=self.token_budget, rank=rank, world_size=world_size)

    def score(self, model: nn.Module, sequences: Sequence[TokenSequence]) -> ResponseLogps:
        """In one pack; see Scorer."""
        everything = sum(len(sequence.tokens) for sequence in sequences)
        return packed_response_logps(model, sequences, token_budget=everything)

    def tokens(self, sequences: Sequence[TokenSequence]) -> int:
        """See Scorer."""
        return sum(len(pack.tokens) for pack in plan_packs(sequences, self.token_budget))

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

    def shares(
        self, step: Sequence[int], rows: Sequence[TokenizedPreference], *, rank: int, world_size: int
    ) -> list[list[int]]:
        """By rows; see Scorer."""
        return micro_batches(step, rows, size=self.batch_size, rank=rank, world_size=world_size)

    def score(self, model: nn.Module, sequences: Sequence[TokenSequence]) -> ResponseLogps:
        """In two batches; see Scorer."""
        return response_logps(model, sequences, pad_token_id=self.pad_token_id, batch_size=len(sequences) // 2)

    def tokens(self, sequences: Sequence[TokenSequence]) -> int:
        """See Scorer."""
        chunks = chunks_of_like_length(sequences, self.batch_size)
        return sum(len(chunk) * max(len(sequences[index].tokens) for index in chunk) for chunk in chunks)

    def ready(self, model: nn.Module) -> AbstractContextManager[None]:
        """Nothing is to be made ready."""
        del model
        return nullcontext()


def scorer_of(loaded: LoadedModel, settings: TrainingSettings, rows: Sequence[TokenizedPreference]) -> Scorer:
    """The fastest way that gives the model's own numbers; a model that can't be packed is told once, with the reason.

    Raises:
        TrainingError: training.tokens_per_pack is smaller than a row.
    """
    reason = _why_padded(loaded, settings)
    if reason is not None:
        logger.warning("Rows are padded and not packed, which is slower: %s.", reason)
        return Padded(loaded.renderer.pad_token_id, settings.per_device_train_batch_size)
    if settings.tokens_per_pack is not None:
        check_rows([(row.chosen, row.rejected) for row in rows], settings.tokens_per_pack)
    return Packed(settings.tokens_per_pack or TOKEN_BUDGET, fast=computes_alike(loaded.model))


def _why_padded(loaded: LoadedModel, settings: TrainingSettings) -> str | None:
    if settings.lora_dropout and not settings.full:
        return f"training.lora_dropout={settings.lora_dropout} would drop the same of all rows that share a token"
    loaded.model.eval()
    return why_not_packed(loaded.model)
