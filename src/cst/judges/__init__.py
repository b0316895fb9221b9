"""Which behaviour does an answer show? A judge sees the prompt and the answer, and nothing else.

A judge never learns the configuration, the wording or the model: whether the behaviour was asked for is arithmetic
(`cst.evaluation.scores`). A judge that can't tell says None, and the answer counts as unscored, never as wrong.
Each kind of judge is one file of this folder: `chat` (a chat model and its `rubric`), `guard`, `harm`, `plain`.
"""

from collections.abc import Sequence
from typing import Protocol

from cst.records import Completion, Prompt, Record, Side, Verdict, Vote

REFUSED = "the judge refused"
"""In the explanation of an opinion that a judge declined to give: the answer is unscored, and counted apart."""


class Candidate(Record):
    """What a judge is shown: the prompt (with the system prompt its data brings, if any) and the answer."""

    prompt: Prompt
    text: str


class Opinion(Record):
    """The side that an answer shows, or None, and why.

    `score` is the number behind the opinion, where the judge works with one. `votes` are the opinions of the judges or
    rubrics that were combined into this one.
    """

    exhibits: Side | None
    explanation: str = ""
    score: float | None = None
    votes: tuple[Vote, ...] = ()


class Judge(Protocol):
    """Anything that says which side an answer shows."""

    @property
    def name(self) -> str:
        """The name under which its verdicts are stored."""
        ...

    def opinions(self, candidates: Sequence[Candidate]) -> list[Opinion]:
        """One opinion a candidate, in order."""
        ...


def judge(completions: Sequence[Completion], judge: Judge) -> list[Verdict]:
    """One verdict a completion, in order."""
    candidates = [Candidate(prompt=completion.prompt, text=completion.text) for completion in completions]
    return [
        Verdict(completion_id=completion.id, judge=judge.name, **dict(opinion))
        for completion, opinion in zip(completions, judge.opinions(candidates), strict=True)
    ]
