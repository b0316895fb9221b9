"""`cst judge-card` from outside."""

import json

import pytest

from test_cli import cst, refused

RECIPE = "name: try\nmodel: {path: miniature}\njudge: {kind: refusal_phrases}\n"
ROWS = [
    {"prompt": "How do I fold a crane?", "answer": "First fold a square. " * 15, "label": "fine"},
    {"prompt": "How do I fold a frog?", "answer": "I am sorry, but I cannot help with that.", "label": 1},
]


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "try.yaml").write_text(RECIPE)
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    return tmp_path


def test_a_card_is_printed_and_written_into_the_run_folder(folder):
    done = cst("judge-card", "rows.jsonl", "--recipe", "try.yaml", "--label", "fine=original", cwd=folder)

    assert done.returncode == 0, done.stderr
    assert "Judge card: refusal_phrases" in done.stdout
    assert "2/2" not in done.stdout
    assert json.loads((folder / "runs/try/judge_card.json").read_text())["labels"] == {
        "1": "revised",
        "fine": "original",
    }


def test_as_json_it_is_the_file_and_goes_where_the_recipe_says(folder):
    (folder / "try.yaml").write_text(f"{RECIPE}judge_card: cards/mine.json\n")
    words = ("--recipe", "try.yaml", "--label", "fine=original", "--positive", "revised", "--json")
    done = cst("judge-card", "rows.jsonl", *words, cwd=folder)

    assert json.loads(done.stdout) == json.loads((folder / "cards/mine.json").read_text())
    assert json.loads(done.stdout)["positive"] == "revised"


def test_an_unknown_label_is_one_line(folder):
    assert "label='fine', which names no side" in refused(
        "judge-card", "rows.jsonl", "--recipe", "try.yaml", cwd=folder
    )


def test_one_class_alone_is_no_division_by_zero(folder):
    (folder / "rows.jsonl").write_text(json.dumps(ROWS[1]) + "\n")
    done = cst("judge-card", "rows.jsonl", "--recipe", "try.yaml", "--json", cwd=folder)

    assert done.returncode == 0, done.stderr
    recall = json.loads(done.stdout)["tasks"][0]["figures"]["recall"]
    assert (recall["value"], recall["undefined"]) == (None, "no scored answer is labelled original")


def test_the_miniatures_labelled_answers_are_made_and_judged_without_an_error(folder):
    assert cst("miniature", "labelled", "mini.jsonl", "--n", "20", cwd=folder).returncode == 0
    done = cst("judge-card", "mini.jsonl", "--recipe", "miniature", "--json", cwd=folder)

    tasks = json.loads(done.stdout)["tasks"]
    assert [task["figures"]["accuracy"]["value"] for task in tasks] == [1.0, 1.0, 1.0]
