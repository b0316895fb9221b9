import json
import re
from pathlib import Path

import pytest
from adversaries import PAPERS_TEMPLATE

from cst.errors import DataError, RecipeError
from cst.judges import Candidate
from cst.judges.chat import judge_prompt, last_label
from cst.judges.rubric import SHIPPED, SHIPPED_NAMES, Rubric, read_rubric, rubrics_of, shipped_rubric
from cst.recipe.judges import ChatJudgeSettings
from cst.records import Prompt, Side
from cst.texts import placeholders

BINARY = {"[[0]]": Side.ORIGINAL, "[[1]]": Side.REVISED}


def fastchat(name: str, type: str = "single") -> dict:
    """A row in the form of FastChat's judge_prompts.jsonl."""
    return {
        "name": name,
        "type": type,
        "system_prompt": "You are a helpful assistant.",
        "prompt_template": "[Question]\n{question}\n\n[The Start of Assistant's Answer]\n{answer}\n[The End]\nRate it.",
        "description": "Prompt for general questions",
        "category": "general",
        "output_format": "[[rating]]",
    }


def test_our_rubrics_are_those_in_the_folder():
    assert tuple(sorted(path.stem for path in SHIPPED.glob("*.txt"))) == SHIPPED_NAMES


def test_our_rubrics_are_published_by_name_and_one_is_shown_as_it_is():
    page = (Path(__file__).parents[2] / "docs" / "judges.md").read_text(encoding="utf-8")
    links = dict(re.findall(r"\[(\w+)\]\(\.\./src/cst/judges/rubrics/(\w+)\.txt\)", page))
    assert links == {name: name for name in SHIPPED_NAMES}
    assert f"```text\n{(SHIPPED / 'harmlessness.txt').read_text(encoding='utf-8')}```" in page


@pytest.mark.parametrize("name", SHIPPED_NAMES)
def test_our_rubrics_are_framed_and_name_both_sides_and_neither(name):
    rubric = shipped_rubric(name)
    assert {"prompt", "answer", "nonce"} <= placeholders(rubric.template)
    assert set(rubric.labels.values()) == {Side.ORIGINAL, Side.REVISED, None}
    assert all(rubric.template.count(label) >= 2 for label in rubric.labels)  # told what it means, and offered


@pytest.mark.parametrize("name", SHIPPED_NAMES)
def test_a_judge_who_repeats_our_question_has_given_no_verdict(name):
    rubric = shipped_rubric(name)
    asked = judge_prompt(rubric, Candidate(prompt=Prompt(id="p", text="Why?", task="t"), text="So."), seed=0)
    text = asked.request.messages[-1].content
    assert last_label(text, rubric, asked.nonce) is None
    assert last_label(f"{text}\nVERDICT {asked.nonce}: [[UNCLEAR]]", rubric, asked.nonce) == "[[UNCLEAR]]"


def test_a_text_file_may_begin_with_its_labels(tmp_path):
    (tmp_path / "mine.txt").write_text("GOOD = revised\nBAD one = original\nHm = none\n---\nIs it so?\n---\n{response}")
    rubric = read_rubric(tmp_path / "mine.txt")
    assert rubric.labels == {"GOOD": Side.REVISED, "BAD one": Side.ORIGINAL, "Hm": None}
    assert (rubric.name, rubric.template, rubric.is_framed) == ("mine", "Is it so?\n---\n{response}", False)


def test_the_papers_template_is_known_and_stays_as_it_is(tmp_path):
    (tmp_path / "paper.txt").write_text(PAPERS_TEMPLATE)
    rubric = read_rubric(tmp_path / "paper.txt")
    assert (rubric.template, rubric.labels) == (PAPERS_TEMPLATE, BINARY)
    mirrored = {"[[1]]": Side.ORIGINAL, "[[0]]": Side.REVISED}
    assert read_rubric(tmp_path / "paper.txt", labels=mirrored).labels == mirrored


@pytest.mark.parametrize("suffix", ["jsonl", "json"])
def test_a_row_of_fastchats_prompts(tmp_path, suffix):
    path = tmp_path / f"judge_prompts.{suffix}"
    rows = [fastchat("single-v1"), fastchat("pair-v2", type="pairwise")]
    path.write_text(json.dumps(rows) if suffix == "json" else "\n".join(map(json.dumps, rows)))
    labels = {f"[[{n}]]": Side.REVISED if n > 5 else Side.ORIGINAL for n in range(1, 11)}
    rubric = read_rubric(path, entry="single-v1", labels=labels)
    assert (rubric.system_prompt, list(rubric.labels)) == ("You are a helpful assistant.", list(labels))
    with pytest.raises(RecipeError, match=r"\['single-v1', 'pair-v2'\], and entry=None names 2"):
        read_rubric(path, labels=labels)
    with pytest.raises(RecipeError, match="entry='single-v2' names 0"):
        read_rubric(path, entry="single-v2", labels=labels)
    with pytest.raises(RecipeError, match="'pair-v2' is of type 'pairwise', and answers are judged one by one"):
        read_rubric(path, entry="pair-v2", labels=labels)


def test_a_file_with_one_row_needs_no_name(tmp_path):
    (tmp_path / "mine.json").write_text(json.dumps({**fastchat("only"), "system_prompt": ""}, indent=1))
    assert read_rubric(tmp_path / "mine.json", labels=BINARY).system_prompt is None


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("Rate {answer}.", r"'bad' has no label for the side original or revised among \[\]"),
        ("Y = none\nN = none\n---\n{answer}", r"no label for the side original or revised among \['Y', 'N'\]"),
        ("YES = revised\nHm = none\n---\n{answer}", "no label for the side original among"),
        ("YES = revised\nNO = original\n---\nRate {prompt}.", "'bad' has no place for the answer"),
        ("YES = revised\nNO = original\n---\n{answer_a} {answer}", r"asks for \{answer_a\}, but only"),
        ("YES = revised\nYES = original\n---\n{answer}", "has the label 'YES' twice"),
        ("safe = revised\nunsafe = original\n---\n{answer}", "has the label 'safe', which is a part of 'unsafe'"),
        ("Yes = revised\nYES = original\n---\n{answer}", "has the label 'Yes', which is a part of 'YES'"),
        ("quoted label = revised\nNO = original\n---\n{answer}", r"has a label in '\(quoted label\)'"),
        ("YES = revise\nNO = original\n---\n{answer}", "has no label for the side"),
    ],
)
def test_a_rubric_that_can_not_be_used_is_refused(tmp_path, text, message):
    (tmp_path / "bad.txt").write_text(text)
    with pytest.raises(RecipeError, match=message):
        read_rubric(tmp_path / "bad.txt")


@pytest.mark.parametrize("label", ["YES ", " ", "\u200b"])
def test_a_label_that_is_not_seen_as_it_is_written_is_refused(label):
    with pytest.raises(RecipeError, match="begins or ends with what isn't seen"):
        Rubric(name="mine", template="{answer}", labels={label: Side.ORIGINAL, "NO": Side.REVISED})


def test_letters_and_digits_may_be_labels():
    Rubric(name="mine", template="{answer}", labels={"A": Side.ORIGINAL, "B": Side.REVISED, "0": None})


def test_a_rubric_made_in_python_is_held_to_the_same():
    with pytest.raises(RecipeError, match="no place for the answer"):
        Rubric(name="mine", template="?", labels=BINARY)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(DataError, match=r"There is no file .*none\.txt"):
        read_rubric(tmp_path / "none.txt")


def settings(**fields) -> ChatJudgeSettings:
    return ChatJudgeSettings.model_validate({"kind": "chat", "model": "m", **fields})


def test_the_rubrics_of_each_task(tmp_path):
    assert {task: [r.name for r in found] for task, found in rubrics_of(settings()).items()} == {
        "harmless": ["harmlessness"],
        "over_refusal": ["over_refusal"],
        "truthfulness": ["honesty", "persona"],
    }
    (tmp_path / "r.txt").write_text("Rate: {answer}")
    files = {"refusal": {"path": tmp_path / "r.txt", "labels": {"[[0]]": "original", "[[1]]": "revised", "?": None}}}
    [mine] = rubrics_of(settings(rubrics={"t": ["refusal"]}, rubric_files=files))["t"]
    assert (mine.template, mine.labels) == ("Rate: {answer}", {**BINARY, "?": None})
    with pytest.raises(RecipeError, match=r"judge\.rubrics names 'harmlesness', which is neither one of ours \(harml"):
        rubrics_of(settings(rubrics={"t": ["harmlesness"]}))
