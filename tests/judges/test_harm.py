"""A classifier as a judge: which side of the threshold means what, and answers that were cut say so."""

from pathlib import Path

import pytest
from made_for_evaluation import prompt

from cst.chat.moderation import ModerationResult
from cst.chat.scripted import ScriptedChat
from cst.errors import ModelError
from cst.judges import Candidate, Opinion
from cst.judges.harm import ClassifierJudge, ModerationJudge, conversation_of, opinions_of_tasks, side_of
from cst.models.loading import LoadedClassifier, load_classifier
from cst.recipe.judges import ClassifierSettings
from cst.records import Message, Side
from models.tiny import edit
from models.tiny_classifiers import classifier_folder


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


ANSWERS = [Candidate(prompt=prompt(f"p{n}"), text=f"Answer {n} is {'long and ' * n}done.") for n in range(8)]


@pytest.fixture(scope="module")
def loaded(tmp_path_factory: pytest.TempPathFactory) -> LoadedClassifier:
    return load_classifier(str(classifier_folder(tmp_path_factory.mktemp("classifier") / "tiny-judge")))


def judge(loaded: LoadedClassifier, **fields: object) -> ClassifierJudge:
    given = {"kind": "classifier", "path": loaded.path, "high_means": "harmful", "threshold": 0.0, "max_length": 128}
    return ClassifierJudge(loaded, ClassifierSettings.model_validate({**given, **fields}))


def test_the_threshold_parts_the_sides_and_the_score_is_the_raw_logit(loaded: LoadedClassifier) -> None:
    scores = [opinion.score for opinion in judge(loaded).opinions(ANSWERS)]
    readings = judge(loaded).readings([[*c.prompt.turns, Message(role="assistant", content=c.text)] for c in ANSWERS])
    middle = sorted(scores)[4]
    sides = [Side.ORIGINAL if score >= middle else Side.REVISED for score in scores]

    assert scores == [reading.score for reading in readings]
    assert [o.exhibits for o in judge(loaded, threshold=middle).opinions(ANSWERS)] == sides
    assert sides.count(Side.ORIGINAL) == 4
    turned = judge(loaded, threshold=middle, high_means="safe").opinions(ANSWERS)
    assert [opinion.exhibits for opinion in turned] == [side.other for side in sides]
    assert "high means safe" in turned[0].explanation


def test_other_tasks_and_empty_answers_have_no_opinion(loaded: LoadedClassifier) -> None:
    candidates = [
        Candidate(prompt=prompt(task="truthfulness"), text="Yes."),
        Candidate(prompt=prompt(), text=""),
        Candidate(prompt=prompt(), text="Yes."),
    ]
    opinions = judge(loaded).opinions(candidates)

    assert [opinion.exhibits is None for opinion in opinions] == [True, True, False]
    assert [opinion.score is None for opinion in opinions] == [True, True, False]


def test_a_long_question_costs_no_answer_and_a_cut_answer_says_so(loaded: LoadedClassifier, caplog) -> None:
    long = Candidate(prompt=prompt(text="word " * 90), text="Short.")
    longer = Candidate(prompt=prompt(), text="word " * 90)
    plain, cut, lost = judge(loaded, max_length=64).opinions([ANSWERS[0], long, longer])

    assert [("read without the last" in opinion.explanation) for opinion in (plain, cut, lost)] == [False, False, True]
    assert "of 450 characters of the answer" in lost.explanation
    assert "of 3 rows, 2 are over 64 tokens" in caplog.text
    assert "1 of them also without the end of the answer" in caplog.text


def test_where_nothing_is_cut_nothing_is_told(loaded: LoadedClassifier, caplog) -> None:
    judge(loaded).opinions(ANSWERS[:3])

    assert caplog.text == ""


def test_its_name_is_pinned_to_all_that_decides_its_verdicts(loaded: LoadedClassifier, tmp_path: Path) -> None:
    name, pin = judge(loaded).name.split("@")
    other = load_classifier(str(classifier_folder(tmp_path / "tiny-judge", seed=1)))

    assert (name, len(pin)) == ("tiny-judge", 8)
    assert judge(loaded, preset="redteam-osst").name == f"redteam-osst@{pin}"
    assert judge(loaded, batch_size=3, device="cpu").name == judge(loaded).name
    assert len({judge(loaded).name, judge(other).name, judge(loaded, threshold=1.0).name}) == 3


def test_an_output_is_chosen_by_its_label(tmp_path: Path) -> None:
    folder = classifier_folder(tmp_path / "m", labels=2)
    edit(folder / "config.json", id2label={"0": "safe", "1": "harmful"}, label2id={"safe": 0, "harmful": 1})
    two = load_classifier(str(folder))
    by_name, by_index, other = (
        [opinion.score for opinion in judge(two, output=output).opinions(ANSWERS)] for output in ("harmful", 1, "safe")
    )

    assert by_name == by_index != other
    with pytest.raises(ModelError, match="has no output 'toxic'"):
        judge(two, output="toxic")


def test_longer_rows_than_the_model_takes_are_refused(loaded: LoadedClassifier) -> None:
    with pytest.raises(ModelError, match=r"max_length=512, but .*tiny-judge takes 128 tokens"):
        judge(loaded, max_length=512)


def endpoint() -> ScriptedChat:
    """Flags what speaks of a storm; the score is that of the text's last word."""

    def script(request) -> str:
        text = request.messages[-1].content
        found = ("violence",) if "storm" in text else ()
        scores = {"violence": float(text.split()[-1]), "harassment": 0.2}
        return ModerationResult(flagged=bool(found), categories=found, scores=scores).model_dump_json()

    return ScriptedChat(script, name="omni")


def candidates(*texts: str) -> list[Candidate]:
    return [Candidate(prompt=prompt(), text=text) for text in texts]


def test_what_is_flagged_is_harm() -> None:
    stormy, calm = ModerationJudge(endpoint()).opinions(candidates("storm 0.4", "calm 0.1"))

    assert (stormy.exhibits, stormy.score, stormy.explanation) == (Side.ORIGINAL, 0.4, "flagged: violence")
    assert (calm.exhibits, calm.score, calm.explanation) == (Side.REVISED, 0.2, "not flagged")


def test_a_threshold_stands_in_place_of_the_flag() -> None:
    judge = ModerationJudge(endpoint(), thresholds={"violence": 0.5})
    low, at, high = judge.opinions(candidates("storm 0.4", "calm 0.5", "calm 0.9"))

    assert [opinion.exhibits for opinion in (low, at, high)] == [Side.REVISED, Side.ORIGINAL, Side.ORIGINAL]
    assert [opinion.score for opinion in (low, at, high)] == [0.4, 0.5, 0.9]


def test_a_category_that_the_model_does_not_know_leaves_the_answer_unscored() -> None:
    [opinion] = ModerationJudge(endpoint(), thresholds={"illicit": 0.5}).opinions(candidates("storm 0.9"))

    assert (opinion.exhibits, opinion.score) == (None, None)
    assert opinion.explanation == "omni (illicit from 0.5) gives no score for illicit"


def test_the_answer_alone_is_sent_and_equal_ones_once() -> None:
    chat = endpoint()
    opinions = ModerationJudge(chat).opinions(candidates("calm 0.1", "storm 0.4", "calm 0.1"))

    assert [request.messages[-1].content for request in chat.asked] == ["calm 0.1", "storm 0.4"]
    assert opinions[0] == opinions[2] != opinions[1]


@pytest.mark.parametrize(("task", "text"), [("over_refusal", "calm 0.1"), ("harmless", "")])
def test_elsewhere_it_has_no_opinion_and_is_not_asked(task: str, text: str) -> None:
    chat = endpoint()
    [opinion] = ModerationJudge(chat).opinions([Candidate(prompt=prompt(task=task), text=text)])

    assert opinion.exhibits is None
    assert chat.asked == []
