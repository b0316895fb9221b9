"""The values that a report is made of: sections with tables and drawings, and samples of answers side by side."""

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Literal

from cst.evaluation.scores import preferred_side
from cst.records import Completion, Prompt, SafetyConfiguration, Side
from cst.reporting.evidence import Evidence
from cst.reporting.figures import Drawing
from cst.reporting.score_tables import label
from cst.reporting.tables import Table

PROMPTS_PER_TASK = 2


@dataclass(frozen=True)
class Answer:
    """One model's answer; `mark` says in words whether it did what was asked for, `kind` is that in one word."""

    text: str
    mark: str
    kind: Literal["followed", "failed", "unscored"]


@dataclass(frozen=True)
class Asked:
    """A configuration and the system prompt that stood there."""

    configuration: str
    system_prompt: str | None


@dataclass(frozen=True)
class Sample:
    """One prompt and what was said to it: a row a model, a column a configuration; None where nothing was asked."""

    prompt: Prompt
    columns: tuple[Asked, ...]
    rows: dict[str, tuple[Answer | None, ...]]


def pick_samples(evidence: Evidence, *, per_task: int = PROMPTS_PER_TASK) -> list[Sample]:
    """The first `per_task` prompts of each task in the order of their hashes; greedy answers, first wordings."""
    shown = [
        c for c in evidence.completions if c.temperature == 0 and c.wordings in ("canonical", "none") and not c.framing
    ]
    exhibits = {verdict.completion_id: verdict.exhibits for verdict in evidence.verdicts}
    samples: list[Sample] = []
    for task in dict.fromkeys(completion.prompt.task for completion in shown):
        prompts = {c.prompt.id: c.prompt for c in shown if c.prompt.task == task}
        for id in sorted(prompts, key=lambda id: sha256(id.encode()).hexdigest())[:per_task]:
            answers = [completion for completion in shown if completion.prompt.id == id]
            samples.append(_sample(prompts[id], answers, exhibits, evidence.configurations))
    return samples


def _sample(
    prompt: Prompt,
    completions: Sequence[Completion],
    exhibits: dict[str, Side | None],
    configurations: Sequence[SafetyConfiguration],
) -> Sample:
    columns = {c.configuration: Asked(c.configuration, c.system_prompt) for c in completions}
    answers = {(c.model, c.configuration): _answer(c, exhibits, configurations) for c in completions}
    models = dict.fromkeys(completion.model for completion in completions)
    rows = {label(model): tuple(answers.get((model, name)) for name in columns) for model in models}
    return Sample(prompt, tuple(columns.values()), rows)


def _answer(
    completion: Completion, exhibits: dict[str, Side | None], configurations: Sequence[SafetyConfiguration]
) -> Answer:
    mark, kind = _mark(completion, exhibits, configurations)
    if completion.finish_reason == "length":
        mark += ", cut by the token limit"
    return Answer(completion.text, mark, kind)


def _mark(
    completion: Completion, exhibits: dict[str, Side | None], configurations: Sequence[SafetyConfiguration]
) -> tuple[str, Literal["followed", "failed", "unscored"]]:
    if completion.id not in exhibits:
        return "not judged", "unscored"
    side = exhibits[completion.id]
    if side is None:
        return "unscored", "unscored"
    if not configurations:
        return f"shows the {side.value} side", "unscored"
    if side is preferred_side(completion.configuration, completion.prompt, configurations):
        return "followed", "followed"
    return "not followed", "failed"


@dataclass(frozen=True)
class Section:
    """A part of the report; `needs` names the files that it is made of, said where there is nothing to show.

    A `folded` part is opened by the reader; `beside` puts the drawing and the tables side by side where there is room.
    """

    title: str
    text: str
    needs: str
    tables: tuple[Table, ...] = ()
    drawings: tuple[Drawing, ...] = ()
    samples: tuple[Sample, ...] = ()
    folded: bool = False
    beside: bool = False

    @property
    def anchor(self) -> str:
        """What links to the section say."""
        return "".join(letter if letter.isalnum() else "-" for letter in self.title.lower())

    @property
    def is_empty(self) -> bool:
        """There is nothing to show."""
        return not (self.tables or self.drawings or self.samples)
