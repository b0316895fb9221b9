"""The training loop: from rows to tuned weights, for every method alike; and `train`, which tunes on preferences.

This file owns the order of things. The steps are course.py's, and what is minimised is an objective's.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, cast

import torch
from accelerate import Accelerator
from accelerate.tracking import GeneralTracker
from accelerate.utils import LoggerType

from cst.errors import TrainingError
from cst.models.loading import LoadedModel
from cst.recipe import TrainingSettings
from cst.records import Preference
from cst.store import fingerprint, write_records
from cst.training.batches import Row, fingerprint_of_tokens, tokenize, within_length
from cst.training.checkpoints import remove_checkpoints
from cst.training.course import run_course, take_best
from cst.training.evaluating import EvaluationSet, HeldOut, check_evaluation
from cst.training.free_memory import free_memory
from cst.training.objective import Objective
from cst.training.policy import policy_of, save_policy
from cst.training.precision import with_precision
from cst.training.preference_objective import PreferenceObjective
from cst.training.recomputation import must_recompute, recomputing
from cst.training.reference import reference_logps
from cst.training.results import (
    CHECKPOINTS,
    METRICS,
    REFERENCE,
    Counts,
    TrainingResult,
    compare_identity,
    read_result,
    tuned_folder,
    write_identity,
    write_result,
)
from cst.training.scoring import Scorer, scorer_of
from cst.training.sharding import shard, sharding_plan
from cst.training.step import Work, autocast


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


def train(
    preferences: Sequence[Preference],
    *,
    loaded: LoadedModel,
    settings: TrainingSettings,
    folder: Path,
    held_out: HeldOut | None = None,
    description: str = "training",
) -> TrainingResult:
    """Tune `loaded.model` on the preferences; everything that comes of it is in `folder` (see `tune`).

    Every `training.eval_steps`, and after the last step, `held_out` is asked what the policy scores; what comes of it
    is for `training` to say.

    Raises:
        TrainingError: As for `tune`; a row is too long; or the settings are those of supervised tuning.
    """
    check_method(settings, "dpo", "cst.train")
    settings = with_precision(settings, loaded.model)
    max_length, where = length_limit(loaded, settings)
    tokenized = tokenize(preferences, loaded.renderer)
    rows = within_length(tokenized, max_length, drop_long=settings.drop_long, where=where)
    start, evaluation_set = start_of(loaded, settings, rows), EvaluationSet(held_out)

    def objective(scorer: Scorer, accelerator: Accelerator) -> PreferenceObjective:
        loaded.model.eval()
        reference = reference_logps(
            rows,
            model=loaded.model,
            scorer=scorer,
            accelerator=accelerator,
            autocast=autocast(accelerator, settings),
            file=folder / REFERENCE,
            identity=start,
            given=settings.reference,
        )
        return PreferenceObjective(rows, reference.to(accelerator.device), settings, folder / REFERENCE)

    identity = {"reference": start, **identity_of(settings, evaluation_set)}
    counts = Counts(rows=len(rows), dropped=len(tokenized) - len(rows))
    job = TrainingJob(rows, counts, identity, objective, evaluation_set)
    return tune(job, loaded=loaded, settings=settings, folder=folder, description=description)


def check_method(settings: TrainingSettings, method: str, function: str) -> None:
    """Make sure that the settings are those of a function's method.

    Raises:
        TrainingError: They aren't.
    """
    if settings.method != method:
        raise TrainingError(
            f"training.method is {settings.method}, and {function} is for {method}. Set method={method}, or call the "
            "other function (cst.train for dpo, cst.fine_tune for sft)."
        )


def length_limit(loaded: LoadedModel, settings: TrainingSettings) -> tuple[int, str]:
    """The longest row in tokens, and what sets the limit.

    Raises:
        TrainingError: training.max_length is more than the model takes.
    """
    longest = getattr(loaded.model.config.get_text_config(), "max_position_embeddings", None)
    if settings.max_length is None:
        return (longest or 2**31), f"the model's limit of {longest} tokens"
    if longest is not None and settings.max_length > longest:
        raise TrainingError(
            f"training.max_length={settings.max_length} is more than the {longest} tokens that {loaded.path} takes; "
            f"set it to {longest} at most."
        )
    return settings.max_length, f"training.max_length={settings.max_length}"


def start_of(loaded: LoadedModel, settings: TrainingSettings, rows: Sequence[Row]) -> dict[str, str]:
    """What log-probs of the rows under the start model depend on, by name."""
    return {
        "weights": loaded.fingerprint,
        "template": fingerprint(loaded.renderer.describe()),
        "tokens": fingerprint_of_tokens(rows),
        "dtype": f"{loaded.model.dtype}, mixed_precision={settings.mixed_precision}",
    }


def identity_of(settings: TrainingSettings, evaluation_set: EvaluationSet) -> dict[str, Any]:
    """What tuned weights depend on besides the start model and the rows."""
    apart = {"logging_steps", "save_steps", "reference", "report_to", "gradient_checkpointing"}
    return {"training": settings.model_dump(mode="json", exclude=apart), **evaluation_set.identity}


def tune(
    job: TrainingJob, *, loaded: LoadedModel, settings: TrainingSettings, folder: Path, description: str
) -> TrainingResult:
    """Tune `loaded.model` on the rows of a job; everything that comes of it is in `folder` (see results.py).

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
        write_identity(folder, job.identity)
    objective = job.objective(scorer, accelerator)
    with policy_of(loaded, settings) as policy:
        work = Work(job.rows, objective, policy, settings, accelerator, scorer, folder)
        with recomputing(policy, needed=must_recompute(work, free_memory(accelerator.device))):
            metrics = run_course(work, loaded, job.evaluation_set, description)
        tuned = tuned_folder(folder, full=settings.full)
        if accelerator.is_main_process:
            take_best(work, metrics)
            save_policy(policy, tuned, loaded)
            write_records(folder / METRICS, metrics)
            write_result(folder, metrics, job.counts, tuned=tuned)
            remove_checkpoints(folder / CHECKPOINTS)
    for tracker in accelerator.trackers:  # not `end_training`, which would end the process group for the next training
        tracker.finish()
    accelerator.wait_for_everyone()
    return cast(TrainingResult, read_result(folder))


def _placed(
    loaded: LoadedModel, settings: TrainingSettings, folder: Path, evaluation_set: EvaluationSet
) -> Accelerator:
    """The processes of a training, and the model where they train it: whole on each device, or divided among them."""
    plan = sharding_plan(full=settings.full)
    accelerator = _accelerator(loaded, settings, folder, sharded=plan is not None)
    sharded = plan is not None and accelerator.num_processes > 1
    check_evaluation(settings, evaluation_set, sharded=sharded)
    if plan is not None and sharded:
        shard(loaded.model, accelerator, plan)
    else:
        loaded.model.to(accelerator.device)
    return accelerator


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
