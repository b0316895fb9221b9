import random

import numpy as np
import pytest
from made_for_evaluation import completion, prompt
from statsmodels.stats.inter_rater import cohens_kappa, fleiss_kappa

from cst.evaluation.judges.base import judge
from cst.evaluation.judges.panel import Panel
from cst.evaluation.judges.plain import CallableJudge
from cst.evaluation.panel_agreement import panel_agreement
from cst.records import Side

SIDES = {"o": Side.ORIGINAL, "r": Side.REVISED, "-": None}


def agreement(texts: list[tuple[str, str]], members: int = 3):
    """Of answers by task, whose text holds each member's vote in turn."""
    panel = Panel([CallableJudge(f"m{n}", lambda _, text, n=n: SIDES[text[n]]) for n in range(members)])
    completions = [completion(prompt(f"p{i}", task), text=text) for i, (task, text) in enumerate(texts)]
    return panel_agreement(completions, judge(completions, panel))


def drawn(n: int) -> list[str]:
    """Votes of three members that follow one truth, each with errors of its own."""
    rng = random.Random(5)
    votes = []
    for _ in range(n):
        truth = rng.random() < 0.4
        seen = [truth if rng.random() < rate else not truth for rate in (0.95, 0.85, 0.75)]
        votes.append("".join("ro"[one] for one in seen))
    return votes


def test_pairs_and_all_are_statsmodels() -> None:
    votes = drawn(200)
    [found] = agreement([("harmless", text) for text in votes])

    assert (found.task, found.judges, found.n, found.left_out) == ("harmless", ("m0", "m1", "m2"), 200, 0)
    assert [(pair.first, pair.second) for pair in found.pairs] == [("m0", "m1"), ("m0", "m2"), ("m1", "m2")]
    for pair, (a, b) in zip(found.pairs, [(0, 1), (0, 2), (1, 2)], strict=True):
        table = np.array([[sum(v[a] == x and v[b] == y for v in votes) for y in "or"] for x in "or"])
        oracle = cohens_kappa(table)
        assert pair.kappa.value == pytest.approx(oracle.kappa)
        assert (pair.kappa.low, pair.kappa.high) == (pytest.approx(oracle.kappa_low), pytest.approx(oracle.kappa_upp))
        assert pair.agree == np.trace(table)
    assert found.fleiss == pytest.approx(fleiss_kappa(np.array([[v.count("o"), v.count("r")] for v in votes])))
    assert found.pairs[0].kappa.value > found.pairs[2].kappa.value


def test_tasks_are_apart_and_answers_without_an_opinion_are_left_out_and_counted() -> None:
    harmless, truthful = agreement(
        [("truthfulness", "oo"), ("harmless", "or"), ("harmless", "rr"), ("harmless", "-r"), ("truthfulness", "--")],
        members=2,
    )

    assert (harmless.task, harmless.n, harmless.left_out, harmless.pairs[0].kappa.n) == ("harmless", 2, 1, 2)
    assert harmless.pairs[0].agree == 1
    assert (truthful.task, truthful.n, truthful.left_out) == ("truthfulness", 1, 1)
    assert (truthful.fleiss, truthful.pairs[0].kappa.value) == (None, None)


def test_a_member_that_sat_out_one_pair_still_counts_in_the_others() -> None:
    [found] = agreement([("harmless", text) for text in ("oo-", "rr-", "oro", "rrr")])

    assert found.n == 2
    assert [pair.kappa.n for pair in found.pairs] == [4, 2, 2]


def test_verdicts_without_votes_say_nothing() -> None:
    answers = [completion(prompt())]

    assert panel_agreement(answers, judge(answers, CallableJudge("one", lambda *_: Side.REVISED))) == []
