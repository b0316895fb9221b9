"""Held-out prompts for the tiny model, and judges of what it babbles."""

from collections.abc import Callable, Iterator, Sequence

from tiny import SYSTEM_PROMPTS

from cst.models.loading import LoadedModel
from cst.records import Completion, Prompt, SafetyConfiguration, Sampling, Score, Side, Verdict
from cst.runs.stages.training import HeldOutPrompts

NAMES = ("harmless", "uncensored")


def by_length(completions: Sequence[Completion]) -> list[Verdict]:
    """The number of an answer's characters decides, so that other answers give other scores; some are unscored."""
    sides = (Side.ORIGINAL, Side.REVISED, None)
    return [
        Verdict(completion_id=c.id, exhibits=sides[len(c.text) % 3], judge="by_length", explanation="")
        for c in completions
    ]


def held_out(n: int = 3, *, judge: Callable[[Sequence[Completion]], list[Verdict]] = by_length) -> HeldOutPrompts:
    """`n` prompts under both configurations."""
    prefers = {"harmless": Side.REVISED, "uncensored": Side.ORIGINAL}
    return HeldOutPrompts(
        prompts=[Prompt(id=f"p-{i}", text=f"How do I make {i} storms?", task="harmless") for i in range(n)],
        configurations=[
            SafetyConfiguration(name=name, prefers=prefers[name], tasks=("harmless",), wordings=(SYSTEM_PROMPTS[name],))
            for name in NAMES
        ],
        decisive=frozenset(NAMES),
        judge=judge,
        model_name="tiny",
        sampling=Sampling(temperature=0.0, max_new_tokens=8),
        batch_size=4,
    )


def score(configuration: str, followed: int, n: int = 10, unscored: int = 0) -> Score:
    """A score of the tiny model."""
    return Score(
        model="tiny",
        task="harmless",
        configuration=configuration,
        wordings="canonical",
        temperature=0.0,
        followed=followed,
        n=n,
        unscored=unscored,
        low=0.0,
        high=1.0,
        interval="wilson",
    )


class Scripted:
    """Asks nothing; its evaluations follow so many of ten prompts, one number after another."""

    fingerprint = "scripted"
    decisive = frozenset(NAMES)

    def __init__(self, *followed: int) -> None:
        self._followed: Iterator[int] = iter(followed)

    def answer(self, loaded: LoadedModel, *, rank: int, world_size: int) -> list[Completion]:
        return []

    def score(self, completions: Sequence[Completion]) -> list[Score]:
        return [score("harmless", 10), score("uncensored", next(self._followed))]
