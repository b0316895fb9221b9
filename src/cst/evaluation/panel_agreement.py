"""How far the members of a panel see the same: kappa for each pair and for all, task by task, from verdicts' votes.

Tasks are kept apart, because what chance would give depends on how often each side is shown. Answers of which a judge
has no opinion are left out, and counted. The intervals take answers for independent.
"""

from collections.abc import Iterable, Sequence
from itertools import combinations

from cst.intervals import Kappa, cohen_kappa, fleiss_kappa
from cst.records import Completion, Record, Side, Text, Verdict, Vote


class PairAgreement(Record):
    """Two judges: of `kappa.n` answers of which both have an opinion, they saw the same side in `agree`."""

    first: Text
    second: Text
    agree: int
    kappa: Kappa


class PanelAgreement(Record):
    """The judges of one task: each pair of them, and all together.

    `fleiss` is over the `n` answers of which all have an opinion; None where it isn't defined. Of `left_out` answers
    at least one judge has none.
    """

    task: Text
    judges: tuple[Text, ...]
    n: int
    left_out: int
    fleiss: float | None
    pairs: tuple[PairAgreement, ...]


def panel_agreement(completions: Sequence[Completion], verdicts: Sequence[Verdict]) -> list[PanelAgreement]:
    """The agreement of those who voted, a task each in alphabetical order; verdicts without votes say nothing."""
    tasks = {completion.id: completion.prompt.task for completion in completions}
    votes: dict[str, list[tuple[Vote, ...]]] = {}
    for verdict in verdicts:
        if verdict.votes:
            votes.setdefault(tasks[verdict.completion_id], []).append(verdict.votes)
    return [_of_task(task, votes[task]) for task in sorted(votes)]


def _of_task(task: str, votes: Sequence[tuple[Vote, ...]]) -> PanelAgreement:
    sides = [{vote.judge: vote.exhibits for vote in each} for each in votes]
    judges = tuple(dict.fromkeys(name for each in sides for name in each))
    whole = [row for each in sides if None not in (row := [each.get(judge) for judge in judges])]
    return PanelAgreement(
        task=task,
        judges=judges,
        n=len(whole),
        left_out=len(votes) - len(whole),
        fleiss=fleiss_kappa([[row.count(side) for side in Side] for row in whole]),
        pairs=tuple(_pair(first, second, sides) for first, second in combinations(judges, 2)),
    )


def _pair(first: str, second: str, sides: Iterable[dict[str, Side | None]]) -> PairAgreement:
    both = [(each.get(first), each.get(second)) for each in sides]
    known = [(a.value, b.value) for a, b in both if a is not None and b is not None]
    return PairAgreement(first=first, second=second, agree=sum(a == b for a, b in known), kappa=cohen_kappa(known))
