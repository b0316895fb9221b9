import pytest
from made_for_evaluation import prompt

from cst.chat.base import ChatRequest, Sampling, ScriptedChat
from cst.chat.journal import Journal
from cst.chat.journalled import Journalled
from cst.evaluation.judges.base import Candidate
from cst.evaluation.judges.chat import ChatJudge
from cst.evaluation.judges.rubric import Rubric, shipped_rubric
from cst.records import Side

BINARY = {"[[0]]": Side.ORIGINAL, "[[1]]": Side.REVISED}
FIRST = Rubric(name="first", template="first: {answer}", labels=BINARY)
SECOND = Rubric(name="second", template="second: {answer}", labels=BINARY)
RUBRICS = {"harmless": [FIRST], "truthfulness": [FIRST, SECOND]}


def candidate(text: str, task: str = "harmless", id: str = "p0") -> Candidate:
    return Candidate(prompt=prompt(id, task), text=text)


def says(request: ChatRequest) -> str:
    """Each word of the answer speaks to one rubric: `10` is revised to the first and original to the second."""
    which, answer = request.messages[-1].content.split(": ")
    digit = answer[0 if which == "first" else 1]
    return f"Rating: [[{digit}]]" if digit in "01" else "Hm."


def judge_with(chat) -> ChatJudge:
    return ChatJudge("scripted", RUBRICS, lambda _: chat)


def test_one_opinion_a_candidate_in_order():
    judge = judge_with(ScriptedChat(says, batch_size=2))
    made = judge.opinions([candidate(text) for text in ("1", "0", "?", "1", " ")])
    assert [opinion.exhibits for opinion in made] == [Side.REVISED, Side.ORIGINAL, None, Side.REVISED, None]
    assert made[0].explanation == "first: says [[1]]"
    assert made[2].explanation == "first: no verdict in the form asked for; the reply ends 'Hm.'"
    assert made[4].explanation == "empty answer"
    assert all(opinion.votes == () and opinion.score is None for opinion in made)


@pytest.mark.parametrize(
    ("answer", "side", "why"),
    [
        ("11", Side.REVISED, "first: says [[1]]; second: says [[1]]"),
        ("00", Side.ORIGINAL, "first: says [[0]]; second: says [[0]]"),
        ("10", None, "the rubrics name different sides: first: says [[1]]; second: says [[0]]"),
        ("1?", None, "first: says [[1]]; second: no verdict"),
        ("??", None, "first: no verdict"),
    ],
)
def test_several_rubrics_must_name_the_same_side_and_are_kept_as_votes(answer, side, why):
    [opinion] = judge_with(ScriptedChat(says)).opinions([candidate(answer, "truthfulness")])
    assert opinion.exhibits is side
    assert opinion.explanation.startswith(why)
    assert [vote.judge for vote in opinion.votes] == ["first", "second"]


@pytest.mark.parametrize(("persona", "asked"), [("You are Ann.", ["first", "own"]), (None, ["first"])])
def test_of_several_rubrics_one_about_the_system_prompt_is_left_out_where_there_is_none(persona, asked):
    own = Rubric(name="own", template="{system_prompt} own: {answer}", labels=BINARY)
    seen = Candidate(prompt=prompt("p0", "persona").model_copy(update={"system_prompt": persona}), text="1")
    for rubrics, names in (([FIRST, own], asked), ([own], ["own"])):
        judge = ChatJudge("scripted", {"persona": rubrics}, lambda _: ScriptedChat(lambda _: "[[1]]"))
        [opinion] = judge.opinions([seen])
        assert opinion.exhibits is Side.REVISED
        assert opinion.explanation == "; ".join(f"{name}: says [[1]]" for name in names)


def test_a_task_without_rubric_is_unscored_and_nobody_is_asked():
    chat = ScriptedChat(says)
    [opinion] = judge_with(chat).opinions([candidate("1", "sums")])
    assert (opinion.exhibits, opinion.explanation) == (None, "no rubric for task sums; name one in judge.rubrics")
    assert chat.asked == []


def test_equal_candidates_are_asked_about_once():
    chat = ScriptedChat(says)
    made = judge_with(chat).opinions([candidate("1"), candidate("1"), candidate("0"), candidate("1", id="p1")])
    assert len(chat.asked) == 3
    assert made[0] == made[1] != made[2]


def test_a_journalled_judge_is_never_paid_twice(tmp_path):
    candidates = [candidate(digit, id=f"p{number}") for number, digit in enumerate("0110?")]
    with Journal(tmp_path / "journal.sqlite") as journal:
        first, second = ScriptedChat(says, batch_size=1), ScriptedChat(says, batch_size=1)
        before = judge_with(Journalled(first, journal)).opinions(candidates[:3])
        after = judge_with(Journalled(second, journal)).opinions(candidates)
    assert after[:3] == before
    assert (len(first.asked), len(second.asked)) == (3, 2)


def test_the_judge_is_told_nothing_but_the_prompt_the_answer_and_the_rubric():
    """Candidates carry no configuration; and what a prompt's record holds besides its texts isn't shown."""
    chat = ScriptedChat(lambda _: "")
    judge = ChatJudge("scripted", {"harmless": [shipped_rubric("persona")]}, lambda _: chat)
    shown = prompt(system_prompt="You are Brom.", topic="secret-topic", groups={"frame": "secret-frame"})
    judge.opinions([Candidate(prompt=shown, text="Ahoy!")])
    [request] = chat.asked
    text = request.messages[-1].content
    assert all(known in text for known in ("You are Brom.", "How p0?", "Ahoy!"))
    assert "secret" not in text


def test_the_sampling_is_the_judges():
    seen: list[Sampling] = []
    chat = ScriptedChat(says)

    class Listening:
        name, fingerprint, pace, plan = chat.name, chat.fingerprint, chat.pace, chat.plan

        def answer(self, unit, sampling):
            seen.append(sampling)
            return chat.answer(unit, sampling)

    sampling = Sampling(temperature=0.5, max_new_tokens=77, seed=3)
    ChatJudge("scripted", RUBRICS, lambda _: Listening(), sampling=sampling).opinions([candidate("1")])
    assert seen == [sampling]
