"""Log-probs of all rows under the start model: computed once, before anything is trained, and kept in a file.

The file says of which weights, template, tokens and types it speaks; a stale one is refused. This file knows no loss.
"""

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path

import torch
from accelerate import Accelerator
from torch import Tensor, nn

from cst.errors import TrainingError
from cst.models.tensors import load_tensors, read_note, save_tensors
from cst.progress import track
from cst.training.batches import TokenizedPreference
from cst.training.scoring import Scorer


def reference_logps(
    rows: Sequence[TokenizedPreference],
    *,
    model: nn.Module,
    scorer: Scorer,
    accelerator: Accelerator,
    autocast: AbstractContextManager[object],
    file: Path,
    identity: Mapping[str, str],
) -> Tensor:
    """Log-probs of chosen and rejected responses under `model`: [N, 2] float64 on the CPU, in nats.

    `model` must be the start model itself, without adapter or dropout. Read from `file` if it is there; `identity` is
    what the numbers depend on, by name.

    Raises:
        TrainingError: `file` speaks of something else.
    """
    found = file.exists()
    accelerator.wait_for_everyone()
    if found:
        return _read(file, identity)
    with torch.no_grad(), autocast, scorer.ready(model):
        logps = _shared_out(rows, model, scorer, accelerator)
    if accelerator.is_main_process:
        save_tensors(file, {"logps": logps}, note=dict(identity))
    accelerator.wait_for_everyone()
    return logps


def _shared_out(
    rows: Sequence[TokenizedPreference], model: nn.Module, scorer: Scorer, accelerator: Accelerator
) -> Tensor:
    """Log-probs of all rows, [N, 2] float64; each process computes its share of them."""
    mine = scorer.shares(range(len(rows)), rows, rank=accelerator.process_index, world_size=accelerator.num_processes)
    logps = torch.zeros(len(rows), 2, dtype=torch.float64, device=accelerator.device)
    shown = track(mine, description="reference log-probs", weight=len) if accelerator.is_main_process else mine
    for share in shown:
        sides = [rows[row].chosen for row in share] + [rows[row].rejected for row in share]
        logps[share] = scorer.score(model, sides).logps.view(2, -1).T
    return accelerator.reduce(logps, reduction="sum").cpu()  # pyright: ignore[reportAttributeAccessIssue]


def _read(file: Path, identity: Mapping[str, str]) -> Tensor:
    stored: dict[str, str] = read_note(file) or {}
    changed = [name for name in identity if stored.get(name) != identity[name]]
    if changed:
        name = changed[0]
        raise TrainingError(
            f"{file} was computed for other {', '.join(changed)}: {name} is {identity[name][:16]} now and was "
            f"{str(stored.get(name))[:16]}. Remove the file to compute it again, or train in another folder."
        )
    return load_tensors(file)["logps"]
