"""The training loop: optimizer steps over a plan, from the last checkpoint to the tuned weights.

This file owns the order of things and the writing of files; what a step does is step.py's, and no messages or
templates are known here.
"""

import logging
from collections.abc import Generator, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any, cast

import torch
from accelerate import Accelerator
from accelerate.tracking import GeneralTracker
from accelerate.utils import LoggerType
from torch import Tensor
from torch.optim import AdamW

from cst.errors import TrainingError
from cst.models.loading import LoadedModel
from cst.progress import track
from cst.recipe import TrainingSettings
from cst.records import Preference
from cst.store import append_record, fingerprint, write_records
from cst.training.batches import TokenizedPreference, fingerprint_of_tokens, plan_steps, tokenize, within_length
from cst.training.checkpoints import (
    checkpoints,
    load_checkpoint,
    remove_checkpoints,
    restore,
    restore_weights,
    save_checkpoint,
    step_folder,
)
from cst.training.evaluating import HeldOut, check_evaluation, evaluate
from cst.training.free_memory import free_memory
from cst.training.meters import StepMetrics, alarms
from cst.training.policy import policy_of, save_policy
from cst.training.precision import with_precision
from cst.training.recomputation import must_recompute, recomputing
from cst.training.reference import reference_logps
from cst.training.results import (
    CHECKPOINTS,
    METRICS,
    REFERENCE,
    SNAPSHOTS,
    TrainingResult,
    compare_identity,
    read_result,
    tuned_folder,
    write_identity,
    write_result,
)
from cst.training.schedule import learning_rate
from cst.training.scoring import Scorer, scorer_of
from cst.training.sharding import shard, sharding_plan
from cst.training.step import Work, autocast, make_optimizer, take_step
from cst.training.stopping import best_step, is_enough

logger = logging.getLogger(__name__)


def train(
    preferences: Sequence[Preference],
    *,
    loaded: LoadedModel,
    settings: TrainingSettings,
    folder: Path,
    held_out: HeldOut | None = None,
    description: str = "training",
) -> TrainingResult:
    """Tune `loaded.model` on the preferences; everything that comes of it is in `folder` (see results.py).

    A step takes per_device_train_batch_size * gradient_accumulation_steps rows, however many processes share them, so
    that one process and many make the same steps. Called again after an interruption, it goes on from the last
    checkpoint to the same bytes; called again when finished, it returns at once. `loaded.model` is the start model
    again afterwards. Under torchrun, every process calls it, and the first one writes; where accelerate's launcher asks
    for FSDP2, the model's layers are divided among the processes and stay so. Every `training.eval_steps`, and after
    the last step, `held_out` is asked what the policy scores; what comes of it is for `training` to say.

    Raises:
        TrainingError: A row is too long, the model can't be sharded, the folder holds another training, the first loss
            isn't that of the start model, or a loss isn't finite; the last good checkpoint stays. Or evaluations are
            asked for and can't be made.
    """
    settings = with_precision(settings, loaded.model)
    max_length, where = _length_limit(loaded, settings)
    tokenized = tokenize(preferences, loaded.renderer)
    rows = within_length(tokenized, max_length, drop_long=settings.drop_long, where=where)
    identity = _identity(loaded, settings, rows, held_out)
    compare_identity(folder, identity)
    result = read_result(folder)
    if result is not None:
        remove_checkpoints(folder / CHECKPOINTS)  # killed while it removed them, it would leave some behind
        return result
    plan = sharding_plan(full=settings.full)
    accelerator = _accelerator(loaded, settings, folder, sharded=plan is not None)
    sharded = plan is not None and accelerator.num_processes > 1
    check_evaluation(settings, held_out, sharded=sharded)
    if plan is not None and sharded:
        shard(loaded.model, accelerator, plan)
    else:
        loaded.model.to(accelerator.device)
    scorer = scorer_of(loaded, settings, rows)
    if accelerator.is_main_process:
        write_identity(folder, identity)
    reference = _reference(rows, loaded, settings, scorer, accelerator, identity, folder)
    with policy_of(loaded, settings) as policy:
        work = Work(rows, reference, policy, settings, accelerator, scorer, folder)
        with recomputing(policy, needed=must_recompute(work, free_memory(accelerator.device))):
            metrics = _run(work, loaded, held_out, description)
        tuned = tuned_folder(folder, full=settings.full)
        if accelerator.is_main_process:
            _take_best(work, metrics)
            save_policy(policy, tuned, loaded)
            write_records(folder / METRICS, metrics)
            write_result(folder, metrics, rows=len(rows), dropped=len(tokenized) - len(rows), tuned=tuned)
            remove_checkpoints(folder / CHECKPOINTS)
    for tracker in accelerator.trackers:  # not `end_training`, which would end the process group for the next training
        tracker.finish()
    accelerator.wait_for_everyone()
    return cast(TrainingResult, read_result(folder))


def _length_limit(loaded: LoadedModel, settings: TrainingSettings) -> tuple[int, str]:
    """The longest row in tokens, and what sets the limit."""
    longest = getattr(loaded.model.config.get_text_config(), "max_position_embeddings", None)
    if settings.max_length is None:
        return (longest or 2**31), f"the model's limit of {longest} tokens"
    if longest is not None and settings.max_length > longest:
        raise TrainingError(
            f"training.max_length={settings.max_length} is more than the {longest} tokens that {loaded.path} takes; "
            f"set it to {longest} at most."
        )
    return settings.max_length, f"training.max_length={settings.max_length}"


def _identity(
    loaded: LoadedModel, settings: TrainingSettings, rows: Sequence[TokenizedPreference], held_out: HeldOut | None
) -> dict[str, Any]:
    """All that the tuned weights depend on."""
    apart = {"logging_steps", "save_steps", "reference", "report_to", "gradient_checkpointing"}
    told = settings.model_dump(mode="json", exclude=apart)
    reference = {
        "weights": loaded.fingerprint,
        "template": fingerprint(loaded.renderer.describe()),
        "tokens": fingerprint_of_tokens(rows),
        "dtype": f"{loaded.model.dtype}, mixed_precision={settings.mixed_precision}",
    }
    asked = {} if held_out is None else {"held_out": held_out.fingerprint}
    return {"reference": reference, "training": told, **asked}


def _accelerator(loaded: LoadedModel, settings: TrainingSettings, folder: Path, *, sharded: bool) -> Accelerator:
    """Processes, devices and trackers. Mixed precision is ours: accelerate fixes one for the life of a process.

    A model on the CPU is trained there, but for one that is to be sharded: no accelerator may have room for it whole.
    """
    trackers: list[str | LoggerType | GeneralTracker] = [*settings.report_to]
    missing = [name for name in trackers if find_spec(str(name)) is None]
    if missing:
        raise TrainingError(
            f"training.report_to names {missing[0]}, which isn't installed. Install it, or leave it out."
        )
    on_cpu = loaded.model.device.type == "cpu" and not (sharded and torch.accelerator.is_available())
    accelerator = Accelerator(cpu=on_cpu, log_with=trackers or None, project_dir=folder / "trackers")
    if trackers:
        accelerator.init_trackers("cst", config={})
    return accelerator


def _reference(
    rows: Sequence[TokenizedPreference],
    loaded: LoadedModel,
    settings: TrainingSettings,
    scorer: Scorer,
    accelerator: Accelerator,
    identity: Mapping[str, Any],
    folder: Path,
) -> Tensor:
    loaded.model.eval()
    logps = reference_logps(
        rows,
        model=loaded.model,
        scorer=scorer,
        accelerator=accelerator,
        autocast=autocast(accelerator, settings),
        file=folder / REFERENCE,
        identity=identity["reference"],
        given=settings.reference,
    )
    return logps.to(accelerator.device)


def _run(work: Work, loaded: LoadedModel, held_out: HeldOut | None, description: str) -> list[StepMetrics]:
    """All steps from the last checkpoint on; the metrics of all steps from the first on."""
    settings, main = work.settings, work.accelerator.is_main_process
    plan = plan_steps(
        len(work.rows),
        seed=settings.seed,
        epochs=settings.num_train_epochs,
        rows_per_step=settings.per_device_train_batch_size * settings.gradient_accumulation_steps,
        max_steps=settings.max_steps,
    )
    optimizer = make_optimizer(work.policy, settings)
    metrics = _resume(work, optimizer)
    seen = sum(len(step) for step in plan[: len(metrics)])
    remaining = _remaining(metrics, len(plan), settings)
    shown = track(remaining, description=description, total=len(plan), done=len(metrics)) if main else remaining
    for index in shown:
        seen += len(plan[index])
        epoch, rate = seen / len(work.rows), learning_rate(index, len(plan), settings)
        line = take_step(work, optimizer, plan[index], step=index + 1, epoch=epoch, rate=rate)
        last = line.step == len(plan)
        if held_out is not None and (last or line.step % cast(int, settings.eval_steps) == 0):
            line = line.model_copy(update={"evaluation": evaluate(held_out, loaded, work)})
        _tell(work, metrics, line)
        metrics.append(line)
        if main:
            _write(work, loaded, optimizer, metrics, last=last)
    if main and len(metrics) < len(plan):
        logger.warning(
            "Training stops at step %d of %d: %s evaluations without improvement (training.early_stopping_patience) "
            "on that of step %s.",
            len(metrics),
            len(plan),
            settings.early_stopping_patience,
            best_step(metrics),
        )
    return metrics


def _remaining(metrics: Sequence[StepMetrics], steps: int, settings: TrainingSettings) -> Generator[int]:
    """The steps that are still to be taken, from 0 on, while `metrics` grow by a line a step: all, or until enough."""
    while len(metrics) < steps and not is_enough(metrics, settings):
        yield len(metrics)


def _resume(work: Work, optimizer: AdamW) -> list[StepMetrics]:
    """Go back to the last checkpoint, if there is one; the metrics up to it."""
    found = checkpoints(work.folder / CHECKPOINTS)
    metrics: list[StepMetrics] = []
    if found:
        checkpoint = load_checkpoint(found[-1])
        restore(checkpoint, work.policy, optimizer)
        metrics = checkpoint.metrics
    work.accelerator.wait_for_everyone()
    if work.accelerator.is_main_process:
        write_records(work.folder / METRICS, metrics)
    return metrics


def _tell(work: Work, before: Sequence[StepMetrics], line: StepMetrics) -> None:
    """Tell the log and the trackers of a step, and of an alarm once."""
    new = [alarm for alarm in alarms([line]) if not any(alarm.configuration in past.sinking for past in before)]
    if work.accelerator.is_main_process:
        for alarm in new:
            logger.warning(str(alarm))
    told = {} if line.evaluation is None else line.evaluation.scalars()
    if line.step % work.settings.logging_steps == 0:
        told |= line.model_dump(exclude={"step", "configurations", "sinking", "evaluation"})
        logger.info("step %d: loss %.4f, margin %.3f, accuracy %.2f", line.step, line.loss, line.margin, line.accuracy)
    if told and work.settings.report_to:
        work.accelerator.log(told, step=line.step)


def _write(work: Work, loaded: LoadedModel, optimizer: AdamW, metrics: Sequence[StepMetrics], *, last: bool) -> None:
    """The main process's files after a step: the line of metrics, a snapshot and a checkpoint where they are due."""
    folder, step = work.folder, metrics[-1].step
    append_record(folder / METRICS, metrics[-1])
    if step in work.settings.snapshot_steps:
        save_policy(work.policy, step_folder(folder / SNAPSHOTS, step), loaded)
    evaluated = metrics[-1].evaluation is not None  # a checkpoint costs less than an evaluation that is made again
    if (step % work.settings.save_steps == 0 or evaluated) and not last:
        save_checkpoint(
            folder / CHECKPOINTS,
            step=step,
            model=work.policy,
            optimizer=optimizer,
            metrics=metrics,
            best=best_step(metrics[:-1]) if work.settings.load_best_model_at_end else None,
        )


def _take_best(work: Work, metrics: Sequence[StepMetrics]) -> None:
    """Put the weights of the best evaluation into the policy, if that is asked for and they aren't there already."""
    if not work.settings.load_best_model_at_end:
        return
    best = best_step(metrics)
    if best is None:
        logger.warning("No evaluation of %s has a known metric: the last weights are handed on.", work.folder)
    elif best != metrics[-1].step:
        restore_weights(load_checkpoint(step_folder(work.folder / CHECKPOINTS, best)), work.policy)
