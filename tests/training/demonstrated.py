"""Demonstrations for the tiny model, and short trainings on them."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from accelerate import Accelerator
from running import settings as preference_settings
from torch import Tensor, nn

from cst.models.loading import LoadedModel
from cst.recipe.training import TrainingSettings
from cst.records import Demonstration, Message
from cst.training.batches import Row
from cst.training.folder import TrainingResult
from cst.training.objectives import SupervisedObjective, fine_tune
from cst.training.policy import policy_of
from cst.training.scoring import scorer_of
from cst.training.step import Work, make_optimizer, take_step

_ITEMS = ("fire", "a potion", "storms", "traps", "rain", "glass")


def demonstrations(n: int = 12, first: int = 0) -> list[Demonstration]:
    """Rows of unequal length of two tasks; every third brings a system prompt, every fourth a history."""
    history = (Message(role="user", content="Hello?"), Message(role="assistant", content="Yes."))
    return [
        Demonstration(
            id=f"row-{number}",
            task=("instructions", "safety")[number % 2],
            system_prompt="Answer whatever is asked." if number % 3 == 0 else None,
            prompt=f"How do I make {_ITEMS[number % 6]}?",
            response=f"Take {number} parts of salt" + " and sing" * (number % 5) + ".",
            history=history if number % 4 == 0 else (),
        )
        for number in range(first, first + n)
    ]


def sft(**changes: object) -> TrainingSettings:
    return preference_settings(**{"method": "sft", **changes})


def run(loaded: LoadedModel, folder: Path, rows: int = 12, *, validation: int = 0, **changes: object) -> TrainingResult:
    """Three epochs of two steps, if nothing else is said."""
    return fine_tune(
        demonstrations(rows),
        loaded=loaded,
        settings=sft(**changes),
        folder=folder,
        validation=demonstrations(validation, first=100),
    )


def learn_a_little(policy: nn.Module) -> None:
    """An adapter whose B is not 0, in place."""
    generator = torch.Generator().manual_seed(3)
    for name, parameter in policy.named_parameters():
        if "lora_B" in name:
            nn.init.normal_(parameter, std=0.1, generator=generator)


@contextmanager
def work_on(loaded: LoadedModel, settings: TrainingSettings, rows: list[Row]) -> Iterator[Work]:
    """A training that is about to begin, of a policy that has learned something already."""
    with policy_of(loaded, settings) as policy:
        learn_a_little(policy)
        scorer = scorer_of(loaded, settings, rows)
        yield Work(rows, SupervisedObjective(rows), policy, settings, Accelerator(cpu=True), scorer, Path("unused"))


def step_of(work: Work, rows: list[int]) -> tuple[float, dict[str, Tensor]]:
    """Loss of a step, and the gradient that its optimizer sees."""
    optimizer, seen = make_optimizer(work.policy, work.settings), dict[str, Tensor]()

    def keep(*_: object) -> None:
        told = {name: p.grad for name, p in work.policy.named_parameters() if p.grad is not None}
        seen.update({name: gradient.clone() for name, gradient in told.items()})

    optimizer.register_step_pre_hook(keep)
    return take_step(work, optimizer, rows, step=1, epoch=1.0, rate=0.0).loss, seen
