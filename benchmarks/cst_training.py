"""Our optimizer steps, through the public functions of `cst.training`, as a child process takes them."""

import tempfile
import time
from contextlib import redirect_stderr
from io import StringIO
from pathlib import Path

import torch
from accelerate import Accelerator

from cst.models.loading import LoadedModel, load_model
from cst.recipe.training import TrainingSettings
from cst.store import fingerprint
from cst.training.batches import tokenize
from cst.training.objectives import PreferenceObjective
from cst.training.policy import policy_of
from cst.training.scoring import reference_logps, scorer_of
from cst.training.step import Work, make_optimizer, take_step
from training_setup import LEARNING_RATE, LORA_RANK, SEED, Setup
from turns import Turns


def train_with_cst(setup: Setup, turns: Turns) -> None:
    """Our steps. The reference is computed before each, and timed apart: training computes it once and keeps it."""
    settings = our_settings(setup)
    start_model, loaded = (
        load_model(str(setup.folder), dtype=setup.weights, quantization=setup.quantization, device=setup.device)
        for _ in range(2)
    )
    rows = tokenize(setup.rows, loaded.renderer)
    accelerator = Accelerator(cpu=setup.device == "cpu")
    scorer = scorer_of(loaded, settings, rows)
    reference = torch.zeros(len(rows), 2, dtype=torch.float64, device=loaded.model.device)
    with tempfile.TemporaryDirectory() as scratch, policy_of(loaded, settings) as policy:
        objective = PreferenceObjective(rows, reference, settings, Path(scratch))
        work = Work(rows, objective, policy, settings, accelerator, scorer, Path(scratch))
        optimizer = make_optimizer(policy, settings)
        turns.ready(fingerprint([(row.chosen.tokens, row.rejected.tokens) for row in rows]))
        for step in range(setup.steps):
            indices = range(step * setup.rows_per_step, (step + 1) * setup.rows_per_step)
            turns.wait()
            seconds = _fill_in_reference(objective, work, indices, start_model)
            turns.start()
            line = take_step(work, optimizer, indices, step=step + 1, epoch=1.0, rate=LEARNING_RATE)
            turns.stop()
            turns.tell(line.loss, seconds)


def our_settings(setup: Setup) -> TrainingSettings:
    """Training settings of ours that mean what the setup says."""
    return TrainingSettings(
        learning_rate=LEARNING_RATE,
        lr_scheduler_type="constant",
        per_device_train_batch_size=setup.batch_size,
        lora_r=LORA_RANK,
        lora_alpha=2 * LORA_RANK,
        gradient_checkpointing=setup.gradient_checkpointing,
        mixed_precision="bf16" if setup.bf16 else "no",
        seed=SEED,
    )


def _fill_in_reference(objective: PreferenceObjective, work: Work, indices: range, start_model: LoadedModel) -> float:
    """Compute the reference log-probs of these rows, in place; seconds."""
    started = time.perf_counter()
    with redirect_stderr(StringIO()):  # it shows its progress, which for one step is noise
        logps = reference_logps(
            [objective.rows[index] for index in indices],
            model=start_model.model,
            scorer=work.scorer,
            accelerator=work.accelerator,
            settings=work.settings,
            file=work.folder / f"reference-{indices.start}.safetensors",
            identity={},
        )
    objective.reference[list(indices)] = logps.to(objective.reference.device)
    return time.perf_counter() - started
