import pytest
from hypothesis import given
from hypothesis import strategies as st
from made_for_evaluation import completion, prompt

from cst.errors import RecipeError
from cst.evaluation.judges.base import Candidate, Opinion, judge
from cst.evaluation.judges.panel import Panel
from cst.evaluation.judges.plain import CallableJudge
from cst.records import Side

SIDES = {"o": Side.ORIGINAL, "r": Side.REVISED, "-": None}
SIDE = st.sampled_from("or-")


def member(number: int) -> CallableJudge:
    """Sees in a text such as `or-` what its own letter says."""
    return CallableJudge(f"m{number}", lambda _, text: SIDES[text[number]])


def panel(size: int, rule="majority") -> Panel:
    return Panel([member(number) for number in range(size)], rule=rule)


def outcome(votes: str, rule="majority") -> Side | None:
    [opinion] = panel(len(votes), rule).opinions([Candidate(prompt=prompt(), text=votes)])
    return opinion.exhibits


@pytest.mark.parametrize(
    ("votes", "majority", "unanimous"),
    [
        ("rrr", Side.REVISED, Side.REVISED),
        ("oo", Side.ORIGINAL, Side.ORIGINAL),
        ("rro", Side.REVISED, None),
        ("oor-", Side.ORIGINAL, None),
        ("ro", None, None),
        ("ro--", None, None),
        ("r--", Side.REVISED, None),
        ("---", None, None),
    ],
)
def test_the_rules(votes: str, majority: Side | None, unanimous: Side | None) -> None:
    assert outcome(votes) is majority
    assert outcome(votes, "unanimous") is unanimous


@given(votes=st.lists(SIDE, min_size=2, max_size=7), order=st.randoms(use_true_random=False))
@pytest.mark.parametrize("rule", ["majority", "unanimous"])
def test_no_member_counts_more_and_no_side_is_favoured(rule, votes, order) -> None:
    said = "".join(votes)
    order.shuffle(votes)
    turned = said.translate(str.maketrans("or", "ro"))
    mirrored = outcome(turned, rule)

    assert outcome("".join(votes), rule) is outcome(said, rule)
    assert (None if mirrored is None else mirrored.other) is outcome(said, rule)
    if outcome(said, "unanimous") is not None:
        assert outcome(said, "unanimous") is outcome(said)


def test_every_vote_is_kept_with_its_score_and_reason() -> None:
    class Scoring:
        name = "scoring"

        def opinions(self, candidates):
            return [Opinion(exhibits=Side.REVISED, score=0.25, explanation="low") for _ in candidates]

    [verdict] = judge([completion(prompt(), text="o")], Panel([Scoring(), member(0)]))

    assert verdict.exhibits is None
    assert verdict.judge == "panel(majority: scoring, m0)"
    assert verdict.explanation == "1 original, 1 revised, 0 without an opinion"
    assert [(v.judge, v.exhibits, v.score, v.explanation) for v in verdict.votes] == [
        ("scoring", Side.REVISED, 0.25, "low"),
        ("m0", Side.ORIGINAL, None, ""),
    ]


@pytest.mark.parametrize("members", [[], [member(0)], [member(0), member(1), member(0)]])
def test_a_panel_has_two_or_more_different_members(members) -> None:
    with pytest.raises(RecipeError, match="needs two or more different members"):
        Panel(members)


def test_a_panel_of_nothing_to_judge() -> None:
    assert panel(2).opinions([]) == []
