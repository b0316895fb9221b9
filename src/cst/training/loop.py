"""The training loop: from rows to tuned weights, for every method alike, from the last checkpoint on.

This file owns the order of things and what is written after each step. What a step does is step.py's, and what is
minimised is an objective's (objectives.py).
"""

import logging
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, cast

import torch
from accelerate import Accelerator
from accelerate.tracking import GeneralTracker
from accelerate.utils import LoggerType
from torch.optim import AdamW

from cst.errors import TrainingError
from cst.models.loading import LoadedModel
from cst.progress import track
from cst.recipe.training import TrainingSettings
from cst.store import append_record, write_json, write_records
from cst.training.batches import Row, plan_steps
from cst.training.evaluating import EvaluationSet, best_step, check_evaluation, evaluate, is_enough
from cst.training.folder import (
    CHECKPOINTS,
    IDENTITY,
    METRICS,
    SNAPSHOTS,
    Counts,
    TrainingResult,
    checkpoints,
    compare_identity,
    load_checkpoint,
    read_result,
    remove_checkpoints,
    restore,
    restore_weights,
    save_checkpoint,
    step_folder,
    write_result,
)
from cst.training.meters import StepLine, alarms
from cst.training.policy import policy_of, save_policy, shard, sharding_plan
from cst.training.scoring import Scorer, scorer_of
from cst.training.step import Objective, Work, learning_rate, make_optimizer, take_step

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class TrainingJob:
    """What is to be learned.

    `identity` says all that tuned weights depend on. `objective` is made once the model lies where it is trained.
    """

    rows: Sequence[Row]
    counts: Counts
    identity: dict[str, Any]
    objective: Callable[[Scorer, Accelerator], Objective]
    evaluation_set: EvaluationSet


def tune(
    job: TrainingJob, *, loaded: LoadedModel, settings: TrainingSettings, folder: Path, description: str
) -> TrainingResult:
    """Tune `loaded.model` on the rows of a job; everything that comes of it is in `folder` (see folder.py).

    A step takes per_device_train_batch_size * gradient_accumulation_steps rows, however many processes share them, so
    that one process and many make the same steps. Called again after an interruption, it goes on from the last
    checkpoint to the same bytes; called again when finished, it returns at once. `loaded.model` is the start model
    again afterwards. Under torchrun, every process calls it, and the first one writes; where accelerate's launcher asks
    for FSDP2, the model's layers are divided among the processes and stay so.

    Raises:
        TrainingError: The model can't be sharded, the folder holds another training, the first loss isn't that of the
            start model, or a loss isn't finite; the last good checkpoint stays. Or evaluations are asked for and can't
            be made.
    """
    compare_identity(folder, job.identity)
    result = read_result(folder)
    if result is not None:
        remove_checkpoints(folder / CHECKPOINTS)  # killed while it removed them, it would leave some behind
        return result
    accelerator = _placed(loaded, settings, folder, job.evaluation_set)
    scorer = scorer_of(loaded, settings, job.rows)
    if accelerator.is_main_process:
        write_json(folder / IDENTITY, job.identity)
    objective = job.objective(scorer, accelerator)
    with policy_of(loaded, settings) as policy:
        work = Work(job.rows, objective, policy, settings, accelerator, scorer, folder)
        metrics = _take_steps(work, loaded, job.evaluation_set, description)
        tuned = folder / ("model" if settings.full else "adapter")
        if accelerator.is_main_process:
            _take_best(work, metrics)
            save_policy(policy, tuned, loaded)
            write_records(folder / METRICS, metrics)
            write_result(folder, metrics, job.counts, tuned=tuned, best_step=best_step(metrics))
            remove_checkpoints(folder / CHECKPOINTS)
    for tracker in accelerator.trackers:  # not `end_training`, which would end the process group for the next training
        tracker.finish()
    accelerator.wait_for_everyone()
    return cast(TrainingResult, read_result(folder))


def _placed(
    loaded: LoadedModel, settings: TrainingSettings, folder: Path, evaluation_set: EvaluationSet
) -> Accelerator:
    """The processes of a training, and the model where they train it: whole on each device, or divided among them.

    A model on the CPU is trained there, but for one that is to be sharded: no accelerator may have room for it whole.
    Mixed precision is ours: accelerate fixes one for the life of a process.
    """
    plan = sharding_plan(full=settings.full)
    trackers: list[str | LoggerType | GeneralTracker] = [*settings.report_to]
    missing = [name for name in trackers if find_spec(str(name)) is None]
    if missing:
        raise TrainingError(
            f"training.report_to names {missing[0]}, which isn't installed. Install it, or leave it out."
        )
    on_cpu = loaded.model.device.type == "cpu" and not (plan is not None and torch.accelerator.is_available())
    accelerator = Accelerator(cpu=on_cpu, log_with=trackers or None, project_dir=folder / "trackers")
    if trackers:
        accelerator.init_trackers("cst", config={})
    sharded = plan is not None and accelerator.num_processes > 1
    check_evaluation(settings, evaluation_set, sharded=sharded)
    if plan is not None and sharded:
        shard(loaded.model, accelerator, plan)
    else:
        loaded.model.to(accelerator.device)
    return accelerator


def _take_steps(work: Work, loaded: LoadedModel, evaluation_set: EvaluationSet, description: str) -> list[StepLine]:
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
    for index in track(remaining, description=description, total=len(plan), done=len(metrics)):
        seen += len(plan[index])
        epoch, rate = seen / len(work.rows), learning_rate(index, len(plan), settings)
        line = take_step(work, optimizer, plan[index], step=index + 1, epoch=epoch, rate=rate)
        last = line.step == len(plan)
        if evaluation_set.is_due(line.step, every=settings.eval_steps, last=last):
            line = line.model_copy(update={"evaluation": evaluate(evaluation_set, loaded, work)})
        _tell(work, metrics, line)
        metrics.append(line)
        if main:
            _keep(work, loaded, optimizer, metrics, last=last)
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


def _remaining(metrics: Sequence[StepLine], steps: int, settings: TrainingSettings) -> Generator[int]:
    """The steps that are still to be taken, from 0 on, while `metrics` grow by a line a step: all, or until enough."""
    while len(metrics) < steps and not is_enough(metrics, settings):
        yield len(metrics)


def _resume(work: Work, optimizer: AdamW) -> list[StepLine]:
    """Go back to the last checkpoint, if there is one; the metrics up to it."""
    found = checkpoints(work.folder / CHECKPOINTS)
    metrics: list[StepLine] = []
    if found:
        checkpoint = load_checkpoint(found[-1])
        restore(checkpoint, work.policy, optimizer)
        metrics = checkpoint.metrics
    work.accelerator.wait_for_everyone()
    if work.accelerator.is_main_process:
        write_records(work.folder / METRICS, metrics)
    return metrics


def _tell(work: Work, before: Sequence[StepLine], line: StepLine) -> None:
    """Tell the log and the trackers of a step, and of an alarm once."""
    raised = {alarm.configuration for alarm in alarms(before)}
    new = [alarm for alarm in alarms([line]) if alarm.configuration not in raised]
    if work.accelerator.is_main_process:
        for alarm in new:
            logger.warning(str(alarm))
    told = {} if line.evaluation is None else line.evaluation.scalars()
    if line.step % work.settings.logging_steps == 0:
        told |= line.scalars()
        logger.info(str(line))
    if told and work.settings.report_to:
        work.accelerator.log(told, step=line.step)


def _keep(work: Work, loaded: LoadedModel, optimizer: AdamW, metrics: Sequence[StepLine], *, last: bool) -> None:
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


def _take_best(work: Work, metrics: Sequence[StepLine]) -> None:
    """Put the weights of the best evaluation into the policy, if that is asked for and they aren't there already."""
    if not work.settings.load_best_model_at_end:
        return
    best = best_step(metrics)
    if best is None:
        logger.warning("No evaluation of %s has a known metric: the last weights are handed on.", work.folder)
    elif best != metrics[-1].step:
        restore_weights(load_checkpoint(step_folder(work.folder / CHECKPOINTS, best)), work.policy)
