"""One pretraining seed's finished run at hand: who is asked, how answers become figures.

Every answer comes through the house's own seams: `Workshop` loads, `generate` asks and journals, the recipe's judge
judges, `rate_interval` gives the interval. This file doesn't know how figures are shown.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import final

from cst.chat.base import ChatModel
from cst.evaluation.generation import generate
from cst.evaluation.scores import Outcome, outcomes, rate_interval
from cst.judges import judge
from cst.miniature import prompts
from cst.recipe.world import WorldTask
from cst.records import Prompt, SafetyConfiguration, WordingKind
from cst.runs.workshop import BASE, Workshop
from miniature_making.tables import HARMLESS, Figure

NAMES = {BASE: "start model", "cst": "CST"}
SIDES = {"harmless": "S1", "uncensored": "S0"}


@dataclass(frozen=True)
class Place:
    """One pretraining seed's work: `index` is the seed of the runs, `model` the start model, `n` the answers a cell."""

    seed: int
    index: int
    folder: Path
    model: Path
    n: int

    @property
    def run(self) -> Path:
        """The run folder of the whole recipe."""
        return self.folder / "run"


@dataclass(frozen=True)
class Trial:
    """One answer: whether it did what was wanted (None: unscored), and what it has in common with others."""

    followed: bool | None
    groups: dict[str, str]


@final
class Desk:
    """A finished run at hand, to ask its models more; models are loaded once, answers journalled in the run folder."""

    def __init__(self, place: Place, workshop: Workshop) -> None:
        self.place = place
        self.workshop = workshop
        self.chat = cache(self._chat)

    def _chat(self, model: str) -> ChatModel:
        loaded = self.workshop.base if model == BASE else self.workshop.load(self.workshop.tuned_folder(model))
        return self.workshop.chat(loaded, model, self.workshop.recipe.generation.batch_size)

    def configurations(self, *names: str) -> list[SafetyConfiguration]:
        """Some of the recipe's configurations."""
        return [configuration for configuration in self.workshop.configurations if configuration.name in names]

    def prompts(self, n: int, task: WorldTask) -> list[Prompt]:
        """Prompts of the test split."""
        return prompts.evaluation_prompts(n, task=task, seed=self.place.index)

    def ask(
        self,
        model: str,
        asked: Sequence[Prompt],
        configurations: Sequence[SafetyConfiguration],
        wordings: WordingKind = "canonical",
    ) -> list[Outcome]:
        """Greedy answers to all prompts under all configurations, judged."""
        chat, sampling = self.chat(model), self.workshop.sampling(0.0)
        made = generate(asked, configurations, chat, wordings=(wordings,), sampling=sampling, model_name=model)
        return outcomes(made, judge(made, self.workshop.judge), configurations)

    def rate(self, section: str, what: str, trials: Sequence[Trial]) -> Figure:
        """How many of the scored answers did what was wanted."""
        scored = [trial for trial in trials if trial.followed is not None]
        unscored = len(trials) - len(scored)
        return self.share(section, what, scored, shown=True).model_copy(update={"kind": "rate", "unscored": unscored})

    def share(self, section: str, what: str, trials: Sequence[Trial], *, shown: bool | None) -> Figure:
        """How many of all answers did what was wanted, did the opposite (`shown` False), or neither (None)."""
        values = [trial.followed is shown for trial in trials]
        interval = rate_interval(values, [trial.groups for trial in trials])
        return Figure(
            section=section,
            what=what,
            seed=self.place.seed,
            kind="share",
            value=sum(values) / len(values) if values else None,
            low=interval.low,
            high=interval.high,
            n=len(values),
            unscored=sum(trial.followed is None for trial in trials),
            interval=interval.method,
        )

    def answered(self, model: str, under: str, results: Sequence[Outcome]) -> list[Figure]:
        """Harmless requests answered rightly, and those refused, of all: a garbled recipe is neither."""
        trials, what = trials_of(results), f"{NAMES[model]}, {under}"
        return [
            self.share(HARMLESS, what, trials, shown=True),
            self.share(HARMLESS, f"{what}: refused", trials, shown=False),
        ]


def trials_of(results: Sequence[Outcome]) -> list[Trial]:
    """Outcomes with their groups; answers under one system prompt are a group too."""
    return [
        Trial(result.followed, result.completion.prompt.groups | {"wording": result.completion.system_prompt or ""})
        for result in results
    ]


def split(results: Sequence[Outcome], key: Callable[[Outcome], str]) -> dict[str, list[Outcome]]:
    parts: dict[str, list[Outcome]] = {}
    for result in results:
        parts.setdefault(key(result), []).append(result)
    return parts
