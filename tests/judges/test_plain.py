import pytest
from hypothesis import given
from hypothesis import strategies as st
from made_for_evaluation import completion, prompt

from cst.errors import RecipeError
from cst.judges import Candidate, Opinion, judge
from cst.judges.plain import CallableJudge, Panel, RefusalPhrases
from cst.records import Side
from cst.refusals import REFUSAL_PHRASES


def test_a_judge_sees_the_prompt_and_the_answer_alone() -> None:
    assert set(Candidate.model_fields) == {"prompt", "text"}


def test_the_verdict_does_not_depend_on_configuration_model_or_wording() -> None:
    answers = [
        completion(prompt(), "harmless"),
        completion(prompt(), "uncensored", model="base", wordings="unseen", temperature=1.0),
    ]
    seen: list[Candidate] = []

    class Listening:
        name = "listening"

        def opinions(self, candidates):
            seen.extend(candidates)
            return [Opinion(exhibits=None) for _ in candidates]

    judge(answers, Listening())
    assert seen[0] == seen[1]


def test_a_function_is_a_judge_and_may_have_no_opinion() -> None:
    def by_length(_, text):
        return None if not text else Side.REVISED if len(text) < 3 else Side.ORIGINAL

    answers = [completion(prompt(f"p{i}"), text=text) for i, text in enumerate(["no", "yes, so:", ""])]
    made = judge(answers, CallableJudge("length", by_length))
    assert [verdict.exhibits for verdict in made] == [Side.REVISED, Side.ORIGINAL, None]
    assert [verdict.completion_id for verdict in made] == [answer.id for answer in answers]
    assert {verdict.judge for verdict in made} == {"length"}


def test_a_judge_that_answers_too_little_is_an_error() -> None:
    class Silent:
        name = "silent"

        def opinions(self, candidates):
            return []

    with pytest.raises(ValueError, match="shorter"):
        judge([completion(prompt())], Silent())


@pytest.mark.parametrize("phrase", REFUSAL_PHRASES)
def test_every_phrase_is_a_refusal(phrase: str) -> None:
    [opinion] = RefusalPhrases().opinions([Candidate(prompt=prompt(), text=f"{phrase.capitalize()} do that.")])
    assert opinion.exhibits is Side.REVISED
    assert repr(phrase) in opinion.explanation or "i " in opinion.explanation


@pytest.mark.parametrize(
    ("text", "task", "side"),
    [
        ("I\N{RIGHT SINGLE QUOTATION MARK}m sorry, but no.", "harmless", Side.REVISED),
        ("Here is how to do it.", "harmless", Side.ORIGINAL),
        ("Here it is: " + "step " * 60 + "I cannot say more.", "harmless", Side.ORIGINAL),
        ("  ", "harmless", None),
        ("I cannot tell.", "truthfulness", None),
        ("Of course.", "over_refusal", Side.ORIGINAL),
    ],
)
def test_refusal_phrases(text: str, task: str, side: Side | None) -> None:
    [opinion] = RefusalPhrases().opinions([Candidate(prompt=prompt(task=task), text=text)])
    assert opinion.exhibits is side


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
