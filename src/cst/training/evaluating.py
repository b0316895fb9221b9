"""Evaluation in the midst of a training: held-out prompts are answered by the policy as it stands.

What the prompts are, how they are put to a model and who judges comes from outside, as a `HeldOut`. Nothing of the
training moves: neither weights nor modes nor random numbers, so that it ends in the same bits without evaluations.
"""

from collections.abc import Generator, Sequence
from contextlib import contextmanager
from typing import Protocol, cast

from accelerate.utils import broadcast_object_list, gather_object
from torch import nn

from cst.errors import TrainingError
from cst.models.loading import LoadedModel
from cst.recipe import TrainingSettings
from cst.records import Completion, Score
from cst.training.meters import Evaluation
from cst.training.step import Work
from cst.training.stopping import metric_of


class HeldOut(Protocol):
    """Held-out prompts, a way to have them answered, and a judge."""

    @property
    def fingerprint(self) -> str:
        """A hash of what is asked and how."""
        ...

    @property
    def decisive(self) -> frozenset[str]:
        """The configurations whose rates make the metric."""
        ...

    def answer(self, loaded: LoadedModel, *, rank: int, world_size: int) -> list[Completion]:
        """One process's share of the answers of `loaded.model` as it stands; each is dealt to one process.

        Draws no number from a generator that it shares, and keeps no answer for another time: the weights change.
        """
        ...

    def score(self, completions: Sequence[Completion]) -> list[Score]:
        """The scores of all answers; asked of one process alone."""
        ...


def check_evaluation(settings: TrainingSettings, held_out: HeldOut | None, *, sharded: bool) -> None:
    """Make sure that what is to be evaluated can be.

    Raises:
        TrainingError: `training.eval_steps` is set without held-out prompts or they are there without it, or the
            model's layers are divided among processes.
    """
    every = settings.eval_steps
    if (every is None) != (held_out is None):
        there = "no held-out prompts were" if held_out is None else "held-out prompts were"
        raise TrainingError(f"training.eval_steps is {every}, and {there} given to train(). Give both, or neither.")
    if every is not None and sharded:
        raise TrainingError(
            f"training.eval_steps={every} asks for answers of a model whose layers FSDP divides among processes. Those "
            "would have to agree on every token, which isn't supported. Launch without --use_fsdp, or leave "
            "eval_steps out and score snapshots (training.snapshot_steps, generation.curve_prompts)."
        )


def evaluate(held_out: HeldOut, loaded: LoadedModel, work: Work) -> Evaluation:
    """What held-out prompts score with the policy as it is: the same in every process.

    Processes share out the answers. The first one judges them while the others wait, so that a judge is paid once.
    """
    accelerator = work.accelerator
    with _answering(work.policy):
        share = held_out.answer(loaded, rank=accelerator.process_index, world_size=accelerator.num_processes)
    completions = cast(list[Completion], gather_object(share))
    told = [held_out.score(completions) if accelerator.is_main_process else []]
    scores = broadcast_object_list(told)[0]
    metric = metric_of(scores, held_out.decisive, work.settings.metric_for_best_model)
    return Evaluation(metric=metric, scores=tuple(scores))


@contextmanager
def _answering(policy: nn.Module) -> Generator[None]:
    """All modules in evaluation mode while it is open: no dropout, no recomputation; then each in its own again."""
    modes = {module: module.training for module in policy.modules()}
    policy.eval()
    try:
        yield
    finally:
        for module, mode in modes.items():
            module.training = mode
