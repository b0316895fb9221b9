"""How the rows of a training are scored: in packs where the model can be packed, padded where it can't.

Both ways give the same numbers but for their low bits, so the choice is made once a training and needs no setting. The
start model scores all rows once, before anything is trained, and its log-probs are kept in a file: it says of which
weights, template, tokens and types it speaks, and nothing of the machine that made it, so that another training may
take it; a stale or damaged one is rejected. This file knows neither loss nor plan.
"""

import logging
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias, cast, final

import torch
from accelerate import Accelerator
from torch import Tensor, nn

from cst.errors import TrainingError
from cst.models.loading import LoadedModel
from cst.models.logps import ResponseLogps, response_logps
from cst.models.tensors import load_tensors, read_note, save_tensors
from cst.progress import track
from cst.recipe.training import TrainingSettings
from cst.store import fingerprint
from cst.training.batches import Row, micro_batches, sequences_of
from cst.training.folder import short
from cst.training.packing.attention import attending_in_trees
from cst.training.packing.logps import TOKEN_BUDGET, language_model, packed_response_logps, why_not_packed
from cst.training.packing.packs import check_rows, micro_packs
from cst.training.policy import is_sharded

logger = logging.getLogger(__name__)


@final
@dataclass(frozen=True)
class Packed:
    """In trees of unique tokens, at most `token_budget` of them at once."""

    token_budget: int

    def shares(self, step: Sequence[int], rows: Sequence[Row], *, rank: int, world_size: int) -> list[list[int]]:
        """Positions in `step` that one process computes, those of one pack together; each is dealt once."""
        together = [rows[row].sequences for row in step]
        return micro_packs(together, token_budget=self.token_budget, rank=rank, world_size=world_size)

    def score(self, model: nn.Module, rows: Sequence[Row]) -> ResponseLogps:
        """Log-probs of the B rows of one share, [B, sequences of a row], in one forward pass."""
        return _by_row(packed_response_logps(model, sequences_of(rows)), len(rows))

    def ready(self, model: nn.Module) -> AbstractContextManager[None]:
        """Open while `model` is scored, and while gradients of that are computed."""
        return attending_in_trees(language_model(model))


@final
@dataclass(frozen=True)
class Padded:
    """In batches of at most `batch_size` rows, padded on the right."""

    pad_token_id: int
    batch_size: int

    def shares(self, step: Sequence[int], rows: Sequence[Row], *, rank: int, world_size: int) -> list[list[int]]:
        """Positions in `step` that one process computes, those of one batch together; each is dealt once."""
        return micro_batches(step, rows, size=self.batch_size, rank=rank, world_size=world_size)

    def score(self, model: nn.Module, rows: Sequence[Row]) -> ResponseLogps:
        """Log-probs of the B rows of one share, [B, sequences of a row], in as many passes as a row has sequences."""
        logps = response_logps(model, sequences_of(rows), pad_token_id=self.pad_token_id, batch_size=len(rows))
        return _by_row(logps, len(rows))

    def ready(self, model: nn.Module) -> AbstractContextManager[None]:
        """Nothing is to be made ready."""
        del model
        return nullcontext()


Scorer: TypeAlias = Packed | Padded
"""A way to score rows, and how the rows of a step are split for it."""


def _by_row(scored: ResponseLogps, rows: int) -> ResponseLogps:
    """Of so many rows, whose sequences stand as `sequences_of` puts them: [sequences of a row * B] -> [B, those]."""
    return ResponseLogps(scored.logps.view(-1, rows).T, scored.lengths.view(-1, rows).T)


@dataclass(frozen=True)
class Pass:
    """Rows that are computed together, by their positions; one that doesn't `count` is made to keep others company."""

    positions: list[int]
    counts: bool = True


def passes_of(
    step: Sequence[int], rows: Sequence[Row], *, model: nn.Module, scorer: Scorer, accelerator: Accelerator
) -> list[Pass]:
    """The passes that this process makes over the rows of a step, by their positions in it: one for each of its shares.

    Processes gather the weights of a sharded layer together, so that each has to make as many passes as the one with
    the most shares: passes with the shortest row alone are added, which are computed in vain.
    """
    shares = scorer.shares(step, rows, rank=accelerator.process_index, world_size=accelerator.num_processes)
    mine = [Pass(share) for share in shares]
    if is_sharded(language_model(model)):
        most = int(cast(Tensor, accelerator.gather(torch.tensor([len(mine)], device=accelerator.device))).max())
        shortest = min(range(len(step)), key=lambda position: rows[step[position]].longest)
        mine += [Pass([shortest], counts=False)] * (most - len(mine))
    return mine


def autocast(accelerator: Accelerator, settings: TrainingSettings) -> torch.autocast:
    """The forward pass in bfloat16, if asked for: not accelerate's, which fixes one type for the life of a process."""
    return torch.autocast(accelerator.device.type, torch.bfloat16, enabled=settings.mixed_precision == "bf16")


@torch.no_grad()
def logps_of_rows(
    rows: Sequence[Row],
    model: nn.Module,
    scorer: Scorer,
    accelerator: Accelerator,
    settings: TrainingSettings,
    *,
    description: str,
) -> Tensor:
    """Log-probs of all N rows, in nats: [N, sequences of a row] float64; each process computes its share of them."""
    todo = passes_of(range(len(rows)), rows, model=model, scorer=scorer, accelerator=accelerator)
    logps = torch.zeros(len(rows), len(rows[0].sequences), dtype=torch.float64, device=accelerator.device)
    with autocast(accelerator, settings), scorer.ready(model):
        for each in track(todo, description=description, weight=lambda each: len(each.positions) * each.counts):
            scored = scorer.score(model, [rows[row] for row in each.positions]).logps
            if each.counts:
                logps[each.positions] = scored
    return cast(Tensor, accelerator.reduce(logps, reduction="sum"))


def not_finite(logps: Tensor) -> list[int]:
    """The numbers of the rows that have a log-prob which isn't finite: of [N, sequences of a row]."""
    return (~logps.isfinite().all(dim=1)).nonzero().flatten().tolist()


def scorer_of(loaded: LoadedModel, settings: TrainingSettings, rows: Sequence[Row]) -> Scorer:
    """The fastest way that gives the model's own numbers; a model that can't be packed is told once, with the reason.

    Raises:
        TrainingError: training.tokens_per_pack is smaller than a row.
    """
    if settings.lora_dropout and not settings.full:
        reason = f"training.lora_dropout={settings.lora_dropout} would drop the same of all rows that share a token"
    else:
        reason = why_not_packed(loaded.model.eval())
    if reason is not None:
        logger.warning("Rows are padded and not packed, which is slower: %s.", reason)
        return Padded(loaded.renderer.pad_token_id, settings.per_device_train_batch_size)
    if settings.tokens_per_pack is not None:
        check_rows([row.sequences for row in rows], settings.tokens_per_pack)
    return Packed(settings.tokens_per_pack or TOKEN_BUDGET)


_LOGPS, _CHECKSUM = "logps", "sha256"

_ANEW = "Remove the file, or its name from training.reference, to compute it again."


def reference_logps(
    rows: Sequence[Row],
    *,
    model: nn.Module,
    scorer: Scorer,
    accelerator: Accelerator,
    settings: TrainingSettings,
    file: Path,
    identity: Mapping[str, str],
) -> Tensor:
    """Log-probs of chosen and rejected responses under `model`: [N, 2] float64 on the CPU, in nats.

    `model` must be the start model itself, without adapter or dropout. Read from `file` if it is there; else read from
    `training.reference`, the file of another training, or computed, and kept in `file`. `identity` is what the numbers
    depend on, by name. How rows are packed, threads and processor move their low bits, and aren't part of it.

    Raises:
        TrainingError: The file speaks of something else or is damaged, or a log-prob isn't finite.
        ModelError: The file can't be read.
        DataError: `file` can't be written.
    """
    source = file if file.exists() else settings.reference
    accelerator.wait_for_everyone()
    if source is not None:
        logps = _read(source, identity, len(rows))
    else:
        logps = logps_of_rows(rows, model, scorer, accelerator, settings, description="reference log-probs").cpu()
        bad = not_finite(logps)
        if bad:
            raise TrainingError(
                f"The start model's log-probs of {len(bad)} of {len(rows)} rows aren't finite (row "
                f"{rows[bad[0]].id!r}: {logps[bad[0]].tolist()}). Look at the model's weights, or set "
                "model.dtype=float32."
            )
    if source != file and accelerator.is_main_process:
        save_tensors(file, {_LOGPS: logps}, note={**identity, _CHECKSUM: fingerprint(logps.tolist())})
    accelerator.wait_for_everyone()
    return logps


def _read(file: Path, identity: Mapping[str, str], n_rows: int) -> Tensor:
    if not file.is_file():
        raise TrainingError(
            f"There is no reference {file}. Name a run's folder or a reference.safetensors in training.reference, or "
            "leave it out."
        )
    stored: dict[str, str] = read_note(file) or {}
    changed = [name for name in identity if stored.get(name) != identity[name]]
    if changed:
        told = ", ".join(f"{name} was {short(stored.get(name))} and is {short(identity[name])}" for name in changed)
        raise TrainingError(f"{file} was computed for other {', '.join(changed)}: {told}. {_ANEW}")
    logps = load_tensors(file).get(_LOGPS, torch.empty(0))
    found, checksum = fingerprint(logps.tolist()) if logps.isfinite().all() else None, stored.get(_CHECKSUM)
    if logps.shape != (n_rows, 2) or logps.dtype != torch.float64:
        fault = f"it holds {logps.dtype} of the shape {list(logps.shape)}, and torch.float64 of [{n_rows}, 2] is needed"
    elif found is None:
        fault = f"{int((~logps.isfinite()).sum())} of its {logps.numel()} log-probs aren't finite"
    elif found != checksum:
        fault = f"its log-probs hash to {short(found)} and were {short(checksum)}"
    else:
        return logps
    raise TrainingError(f"{file} is damaged: {fault}. {_ANEW}")
