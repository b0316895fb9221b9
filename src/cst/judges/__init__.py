"""Which behaviour does an answer show? Judges see the prompt and the answer, and nothing else.

A judge never learns the configuration, the wording or the model: whether the behaviour was asked for is arithmetic
(`scores`). A judge that can't tell says None, and the answer counts as unscored, never as wrong.
"""

from collections.abc import Sequence
from typing import Protocol

from cst.records import Completion, Prompt, Record, Side, Verdict, Vote

REFUSED = "the judge refused"
"""Stands in the explanation of an opinion that a judge declined to give: it is unscored, and counted apart."""


class Candidate(Record):
    """What a judge is shown: the prompt (with the system prompt its data brings, if any) and the answer."""

    prompt: Prompt
    text: str


class Opinion(Record):
    """The side that an answer shows, or None, and why.

    `score` is the number it was read from, where the judge works with one. `votes` are the opinions of several judges
    that this one was made of.
    """

    exhibits: Side | None
    explanation: str = ""
    score: float | None = None
    votes: tuple[Vote, ...] = ()


class Judge(Protocol):
    """Anything that tells the sides apart."""

    @property
    def name(self) -> str:
        """The name that its verdicts bear."""
        ...

    def opinions(self, candidates: Sequence[Candidate]) -> list[Opinion]:
        """One opinion a candidate, in order."""
        ...


def judge(completions: Sequence[Completion], judge: Judge) -> list[Verdict]:
    """One verdict a completion, in order."""
    candidates = [Candidate(prompt=completion.prompt, text=completion.text) for completion in completions]
    return [
        Verdict(
            completion_id=completion.id,
            exhibits=opinion.exhibits,
            judge=judge.name,
            explanation=opinion.explanation,
            score=opinion.score,
            votes=opinion.votes,
        )
        for completion, opinion in zip(completions, judge.opinions(candidates), strict=True)
    ]
