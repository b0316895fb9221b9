"""What a tokenizer makes of rows is what training would make of them."""

import json
import shutil
from pathlib import Path

import pytest

from cst.auditing.audit import audit
from cst.miniature import model_path
from cst.models.loading import load_renderer
from cst.records import Message

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
