"""How far lengths give the preferred answer away: the best rule, against all rules tried one by one."""

import json
import shutil
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cst.annexes.audit import audit
from cst.annexes.audit.findings import RowFacts, best_rule, shortcuts
from cst.miniature import model_path
from cst.models.loading import load_renderer
from cst.records import Message


def right(differences: Sequence[int], prefers_longer: bool, threshold: int) -> int:
    """Pairs that a rule gets right, from its definition."""
    guesses = [(abs(each) > threshold) == prefers_longer for each in differences if each]
    return sum(guess == (each > 0) for guess, each in zip(guesses, filter(None, differences), strict=True))


@given(st.lists(st.integers(-20, 20)))
def test_no_rule_beats_the_best_one(differences):
    best, ties = best_rule(differences), differences.count(0)

    assert best.right - ties // 2 == right(differences, best.prefers_longer, best.threshold)
    assert best.right - ties // 2 == max(right(differences, way, t) for way in (True, False) for t in range(21))


def test_always_the_longer_is_right_where_it_is():
    assert (best_rule([5, 30, 8]).prefers_longer, best_rule([5, 30, 8]).right) == (True, 3)
    assert (best_rule([-5, -30]).prefers_longer, best_rule([-5, -30]).right) == (False, 2)


def test_mirrored_rows_together_leave_length_no_say():
    assert best_rule([7, -7, 40, -40, 3, -3]).right == 3


def test_mirrored_rows_are_grouped_by_their_whole_system_prompt():
    begins_alike = ["Be kind. " * 20 + end for end in ("One.", "Two.")]
    rows = [
        RowFacts("", "", "t", "c", system_prompt, "", {"chosen": chosen, "rejected": 5})
        for system_prompt, chosen in zip(begins_alike, (9, 1), strict=True)
    ]
    first, second = shortcuts(rows, [True, True])

    assert (first.prefers_longer, second.prefers_longer) == (True, False)
    assert first.right.n == second.right.n == 1
    assert len(first.group) < 80
    assert first.group.endswith("\N{HORIZONTAL ELLIPSIS}'")


ROW = {"system": "Be kind.", "prompt": "How is tea made?", "chosen": "With leaves.", "rejected": "Ask the baker first."}


@pytest.fixture
def rows(tmp_path: Path) -> Path:
    long = {**ROW, "prompt": "word " * 600}
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(each) + "\n" for each in (ROW, long)))
    return tmp_path / "rows.jsonl"


def test_lengths_are_those_of_the_longer_answer_as_it_is_trained_on(rows):
    found = audit(rows, tokenizer="miniature", max_length=400).tokens
    messages = [Message(role="system", content="Be kind."), Message(role="user", content="How is tea made?")]
    example = load_renderer(str(model_path())).example(messages, ROW["rejected"])

    assert found is not None
    assert (found.max_length, found.boundary, found.folded.count) == (400, "strong", 0)
    assert 2 * found.median == pytest.approx(len(example.tokens) + found.longest, abs=1)
    (over,) = [each for each in found.findings if each.rows.count]
    assert (over.fault, over.places) == ("longer than the model takes", (f"{rows}:2",))


def test_the_limit_is_that_of_the_model_where_none_is_named(rows):
    found = audit(rows, tokenizer="miniature").tokens

    assert found is not None
    assert found.max_length == json.loads((model_path() / "config.json").read_text())["max_position_embeddings"]


def test_system_prompts_that_a_template_has_no_place_for_are_counted_as_folded(rows, tmp_path):
    model = tmp_path / "model"
    shutil.copytree(model_path(), model)
    template = model / "chat_template.jinja"
    refuse = "{% if messages[0].role == 'system' %}{{ raise_exception('System role not supported') }}{% endif %}"
    template.write_text(refuse + template.read_text())
    found = audit(rows, tokenizer=str(model)).tokens

    assert found is not None
    assert (found.boundary, found.folded.count, found.folded.n) == ("weak", 2, 2)
