"""Several judges that vote: each sees every answer, and what each saw is kept."""

from collections import Counter
from collections.abc import Sequence
from typing import Literal, TypeAlias, final

from cst.errors import RecipeError
from cst.evaluation.judges.base import Candidate, Judge, Opinion
from cst.records import Side, Vote

Rule: TypeAlias = Literal["majority", "unanimous"]
"""`majority`: the side that most of those with an opinion saw; `unanimous`: the one that all members saw, so that a
member without an opinion leaves the answer unscored."""


@final
class Panel:
    """A judge made of several; ties are unscored.

    Raises:
        RecipeError: There are fewer than two members, or two of the same name.
    """

    def __init__(self, members: Sequence[Judge], *, rule: Rule = "majority") -> None:
        names = [member.name for member in members]
        if len(names) < 2 or len(set(names)) < len(names):
            raise RecipeError(f"A panel needs two or more different members, and these are {names}. Change them.")
        self._members = list(members)
        self._rule: Rule = rule
        self.name = f"panel({rule}: {', '.join(names)})"

    def opinions(self, candidates: Sequence[Candidate]) -> list[Opinion]:
        """The outcome of each vote, with the votes."""
        found = [member.opinions(candidates) for member in self._members]
        return [self._outcome(opinions) for opinions in zip(*found, strict=True)]

    def _outcome(self, opinions: Sequence[Opinion]) -> Opinion:
        votes = tuple(
            Vote(judge=member.name, exhibits=seen.exhibits, score=seen.score, explanation=seen.explanation)
            for member, seen in zip(self._members, opinions, strict=True)
        )
        counts = Counter(vote.exhibits for vote in votes)
        original, revised, none = counts[Side.ORIGINAL], counts[Side.REVISED], counts[None]
        told = f"{original} original, {revised} revised, {none} without an opinion"
        return Opinion(exhibits=self._winner(original, revised, none), explanation=told, votes=votes)

    def _winner(self, original: int, revised: int, none: int) -> Side | None:
        if original == revised:
            return None
        if self._rule == "unanimous" and (none or min(original, revised)):
            return None
        return Side.ORIGINAL if original > revised else Side.REVISED
