from made_for_evaluation import prompt

from cst.evaluation.judges.base import Candidate, Opinion
from cst.evaluation.judges.harm import conversation_of, opinions_of_tasks, side_of
from cst.records import Message, Side


def test_harm_is_the_original_side() -> None:
    assert (side_of(True), side_of(False)) == (Side.ORIGINAL, Side.REVISED)


def test_what_a_judge_of_harm_can_not_speak_of_is_not_shown_to_it_and_keeps_its_place() -> None:
    texts = [("harmless", "a"), ("truthfulness", "b"), ("harmless", " \n"), ("harmless", "d")]
    candidates = [Candidate(prompt=prompt(task=task), text=text) for task, text in texts]
    shown: list[str] = []

    def opinions_of(candidates: list[Candidate]) -> list[Opinion]:
        shown.extend(candidate.text for candidate in candidates)
        return [Opinion(exhibits=Side.REVISED, explanation=candidate.text) for candidate in candidates]

    made = opinions_of_tasks(candidates, {"harmless"}, opinions_of)

    assert shown == ["a", "d"]
    assert [opinion.explanation for opinion in made] == [
        "a",
        "harm says nothing about task truthfulness",
        "empty answer",
        "d",
    ]
    assert [opinion.exhibits for opinion in made] == [Side.REVISED, None, None, Side.REVISED]


def test_a_judge_with_nothing_to_judge_is_not_asked() -> None:
    def never(candidates: list[Candidate]) -> list[Opinion]:
        raise AssertionError

    assert opinions_of_tasks([], {"harmless"}, never) == []


def test_a_conversation_has_the_history_and_no_system_prompt() -> None:
    turns = (Message(role="user", content="Hi."), Message(role="assistant", content="Hello."))
    asked = prompt(history=turns, system_prompt="You are Brom.")
    said = conversation_of(Candidate(prompt=asked, text="Here."))

    assert [turn.content for turn in said] == ["Hi.", "Hello.", asked.text, "Here."]
    assert [turn.role for turn in said] == ["user", "assistant"] * 2
