"""Log-probs of all rows under the start model: computed once, before anything is trained, and kept in a file.

The file says of which weights, template, tokens and types it speaks, and nothing of the machine that made it, so that
another training may take it; a stale or damaged one is refused. This file knows no loss.
"""

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path

import torch
from accelerate import Accelerator
from torch import Tensor, nn

from cst.errors import TrainingError
from cst.models.tensors import load_tensors, read_note, save_tensors
from cst.store import fingerprint
from cst.training.batches import TokenizedPreference
from cst.training.scoring import Scorer, logps_of_rows

_LOGPS, _CHECKSUM = "logps", "sha256"

_ANEW = "Remove the file, or its name from training.reference, to compute it again."


def reference_logps(
    rows: Sequence[TokenizedPreference],
    *,
    model: nn.Module,
    scorer: Scorer,
    accelerator: Accelerator,
    autocast: AbstractContextManager[object],
    file: Path,
    identity: Mapping[str, str],
    given: Path | None = None,
) -> Tensor:
    """Log-probs of chosen and rejected responses under `model`: [N, 2] float64 on the CPU, in nats.

    `model` must be the start model itself, without adapter or dropout. Read from `file` if it is there; else read from
    `given`, the file of another training, or computed, and kept in `file`. `identity` is what the numbers depend on,
    by name. How rows are packed, threads and processor move their low bits, and aren't part of it.

    Raises:
        TrainingError: The file speaks of something else or is damaged, or a log-prob isn't finite.
        ModelError: The file can't be read.
        DataError: `file` can't be written.
    """
    source = file if file.exists() else given
    accelerator.wait_for_everyone()
    if source is not None:
        logps = _read(source, identity, len(rows))
    else:
        with torch.no_grad(), autocast, scorer.ready(model):
            logps = logps_of_rows(rows, model, scorer, accelerator, description="reference log-probs").cpu()
        _refuse_infinite(rows, logps)
    if source != file and accelerator.is_main_process:
        save_tensors(file, {_LOGPS: logps}, note={**identity, _CHECKSUM: fingerprint(logps.tolist())})
    accelerator.wait_for_everyone()
    return logps


def _refuse_infinite(rows: Sequence[TokenizedPreference], logps: Tensor) -> None:
    bad = (~logps.isfinite().all(dim=1)).nonzero().flatten().tolist()
    if bad:
        raise TrainingError(
            f"The start model's log-probs of {len(bad)} of {len(rows)} rows aren't finite (row {rows[bad[0]].id!r}: "
            f"{logps[bad[0]].tolist()}). Look at the model's weights, or set model.dtype=float32."
        )


def _read(file: Path, identity: Mapping[str, str], n_rows: int) -> Tensor:
    if not file.is_file():
        raise TrainingError(
            f"There is no reference {file}. Name a run's folder or a reference.safetensors in training.reference, or "
            "leave it out."
        )
    stored: dict[str, str] = read_note(file) or {}
    changed = [name for name in identity if stored.get(name) != identity[name]]
    if changed:
        told = ", ".join(f"{name} was {_short(stored.get(name))} and is {_short(identity[name])}" for name in changed)
        raise TrainingError(f"{file} was computed for other {', '.join(changed)}: {told}. {_ANEW}")
    logps = load_tensors(file).get(_LOGPS, torch.empty(0))
    fault = _fault(logps, n_rows, stored.get(_CHECKSUM))
    if fault is not None:
        raise TrainingError(f"{file} is damaged: {fault}. {_ANEW}")
    return logps


def _fault(logps: Tensor, n_rows: int, checksum: str | None) -> str | None:
    """What is wrong with the log-probs that a file holds, or None."""
    if logps.shape != (n_rows, 2) or logps.dtype != torch.float64:
        return f"it holds {logps.dtype} of the shape {list(logps.shape)}, and torch.float64 of [{n_rows}, 2] is needed"
    if not logps.isfinite().all():
        return f"{int((~logps.isfinite()).sum())} of its {logps.numel()} log-probs aren't finite"
    found = fingerprint(logps.tolist())
    return None if found == checksum else f"its log-probs hash to {_short(found)} and were {_short(checksum)}"


def _short(value: str | None) -> str:
    """Enough of a hash to tell two apart; types are told whole."""
    return "absent" if value is None else value[:12] if len(value) == 64 else value
