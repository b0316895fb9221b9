"""The course of a training: optimizer steps over a plan, from the last checkpoint on, and what is written after each.

What a step does is step.py's; no messages or templates are known here.
"""

import logging
from collections.abc import Generator, Sequence

from torch.optim import AdamW

from cst.models.loading import LoadedModel
from cst.progress import track
from cst.recipe import TrainingSettings
from cst.store import append_record, write_records
from cst.training.batches import plan_steps
from cst.training.checkpoints import (
    checkpoints,
    load_checkpoint,
    restore,
    restore_weights,
    save_checkpoint,
    step_folder,
)
from cst.training.evaluating import EvaluationSet, evaluate
from cst.training.meters import StepLine, alarms
from cst.training.policy import save_policy
from cst.training.results import CHECKPOINTS, METRICS, SNAPSHOTS
from cst.training.schedule import learning_rate
from cst.training.step import Work, make_optimizer, take_step
from cst.training.stopping import best_step, is_enough

logger = logging.getLogger(__name__)


def run_course(work: Work, loaded: LoadedModel, evaluation_set: EvaluationSet, description: str) -> list[StepLine]:
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
        if evaluation_set.is_due(line.step, every=settings.eval_steps, last=last):
            line = line.model_copy(update={"evaluation": evaluate(evaluation_set, loaded, work)})
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


def _write(work: Work, loaded: LoadedModel, optimizer: AdamW, metrics: Sequence[StepLine], *, last: bool) -> None:
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


def take_best(work: Work, metrics: Sequence[StepLine]) -> None:
    """Put the weights of the best evaluation into the policy, if that is asked for and they aren't there already."""
    if not work.settings.load_best_model_at_end:
        return
    best = best_step(metrics)
    if best is None:
        logger.warning("No evaluation of %s has a known metric: the last weights are handed on.", work.folder)
    elif best != metrics[-1].step:
        restore_weights(load_checkpoint(step_folder(work.folder / CHECKPOINTS, best)), work.policy)
