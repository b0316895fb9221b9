"""`cst judge-card` from outside."""

import json
from pathlib import Path

import pytest
from run_for_evaluation import write_run
from typer.testing import CliRunner

from cst.cli import app
from cst.commands.reports import LabelReading, are_runs, pairs_of, read_labelled, sides_of
from cst.errors import DataError, RecipeError, RunFolderError
from cst.records import Side
from test_cli import cst, refused

ROW = {"prompt": "How do I fold a crane?", "answer": "First fold a square.", "label": "original"}


def read(folder: Path, *rows: dict[str, object], reading: LabelReading = LabelReading()):  # noqa: B008 - frozen
    path = folder / "rows.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return read_labelled(path, reading)


@pytest.mark.parametrize(
    ("label", "side"),
    [
        *[(name, Side.ORIGINAL) for name in ("original", "Harmful", " unsafe", "0", 0, 0.0)],
        *[(name, Side.REVISED) for name in ("revised", "harmless", "SAFE", "1", 1, 1.0)],
    ],
)
def test_labels_that_are_known(tmp_path, label, side):
    found = read(tmp_path, {**ROW, "label": label})
    assert found.answers[0].label is side
    assert list(found.labels.values()) == [side]


def test_a_users_own_labels_come_first(tmp_path):
    reading = LabelReading(labels=sides_of(["1=original", "fine=revised"]))
    found = read(tmp_path, {**ROW, "label": 1}, {**ROW, "label": "Fine"}, reading=reading)
    assert [answer.label for answer in found.answers] == [Side.ORIGINAL, Side.REVISED]
    assert found.labels == {"1": Side.ORIGINAL, "fine": Side.REVISED}


def test_the_task_and_the_system_prompt_are_taken_from_the_row(tmp_path):
    row = {**ROW, "task": "truthfulness", "system_prompt": "You are Brom."}
    first, second = read(tmp_path, row, ROW, reading=LabelReading(task="over_refusal")).answers
    assert (first.prompt.task, first.prompt.system_prompt) == ("truthfulness", "You are Brom.")
    assert (second.prompt.task, second.prompt.system_prompt) == ("over_refusal", None)
    assert first.prompt.id != second.prompt.id


def test_answers_may_be_called_responses_or_anything_that_is_said(tmp_path):
    response = {"prompt": "How?", "response": "So.", "label": 0}
    own = {"question": "How?", "said": "So.", "label": 0}
    reading = LabelReading(columns=pairs_of(["prompt=question", "answer=said"], "--column"))
    assert read(tmp_path, response).answers[0].text == "So."
    assert read(tmp_path, own, reading=reading).answers[0].text == "So."


def test_a_csv_will_do(tmp_path):
    (tmp_path / "rows.csv").write_text("prompt,answer,label\nHow?,So.,unsafe\n")
    assert read_labelled(tmp_path / "rows.csv", LabelReading()).answers[0].label is Side.ORIGINAL


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ({**ROW, "label": "maybe"}, r"rows\.jsonl:2 has label='maybe', which names no side.*--label"),
        ({**ROW, "label": None}, "label=None"),
        ({**ROW, "label": True}, "label=True"),
        ({"prompt": "How?", "label": 1}, "no field 'answer'"),
        ({**ROW, "prompt": " "}, "empty prompt"),
        ({**ROW, "answer": 3}, "answer=3, and text is needed"),
    ],
)
def test_a_row_that_cannot_be_used_is_named_and_counted(tmp_path, row, reason):
    with pytest.raises(DataError, match=rf"{reason}.*\(1 of 2 rows can't be used\.\)"):
        read(tmp_path, ROW, row)


def test_a_column_that_is_not_there_is_named(tmp_path):
    with pytest.raises(DataError, match=r"no field 'said'.*--column"):
        read(tmp_path, ROW, reading=LabelReading(columns={"answer": "said"}))


def test_an_empty_file_holds_no_answers(tmp_path):
    with pytest.raises(DataError, match="holds no rows"):
        read(tmp_path)


@pytest.mark.parametrize("word", ["fine", "=revised", "fine="])
def test_words_that_map_nothing_are_refused(word):
    with pytest.raises(DataError, match="write --label NAME=VALUE"):
        sides_of([word])


def test_a_side_that_does_not_exist_is_refused():
    with pytest.raises(DataError, match="names no side"):
        sides_of(["fine=good"])


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


def invoked(*words: str | Path) -> str:
    """Standard output of a command in this process; its error is raised."""
    done = CliRunner().invoke(app, [str(word) for word in words], catch_exceptions=False, standalone_mode=False)
    if done.exception is not None:
        raise done.exception
    return done.stdout


@pytest.fixture(scope="module")
def runs(tmp_path_factory) -> Path:
    home = tmp_path_factory.mktemp("runs")
    for name in ("one", "two"):
        write_run(home / name, n=6)
    return home


def test_a_recipe_is_told_from_runs_by_their_recipe_json(runs, tmp_path):
    assert are_runs([runs / "one"])
    assert are_runs([runs / "one", tmp_path])
    assert not are_runs([Path("miniature")])
    assert not are_runs([tmp_path])
    assert not are_runs([runs / "one" / "recipe.json"])


def test_runs_are_compared_and_an_earlier_comparison_is_no_run(runs):
    for _ in range(2):
        shown = invoked("report", *sorted(runs.iterdir()), "--output", runs / "comparison")
    assert "two less one" in shown
    assert f"{runs}/comparison/comparison.html" in shown
    assert {path.name for path in (runs / "comparison").iterdir()} == {
        *("comparison.html", "comparison.md", "tables"),
    }
    assert (runs / "comparison" / "tables" / "differences.csv").exists()


def test_as_json_it_is_one_value_with_scores_differences_and_cautions(runs, tmp_path):
    recipe = json.loads((runs / "two" / "recipe.json").read_text())
    (runs / "two" / "recipe.json").write_text(json.dumps({**recipe, "seed": 5}))
    told = json.loads(invoked("report", runs / "one", runs / "two", "--output", tmp_path, "--json"))
    assert list(told["runs"]) == ["one", "two"]
    assert len(told["differences"]) == len(told["runs"]["one"])
    assert told["made_differently"]["recipe"] == {"seed": {"one": "0", "two": "5"}}
    assert (told["left_out"], told["cautions"]) == ({}, [])
    assert all(Path(name).exists() for name in told["files"])


def test_options_of_a_recipe_and_of_runs_are_not_mixed(runs, tmp_path):
    with pytest.raises(RecipeError, match="are for a recipe, not for runs"):
        invoked("report", runs / "one", "--folder", tmp_path)
    with pytest.raises(RecipeError, match="is for a comparison of run folders"):
        invoked("report", "miniature", "--output", tmp_path)
    with pytest.raises(RunFolderError, match="is no run folder"):
        invoked("report", "recipe.yaml", runs / "one", "--output", tmp_path)
    with pytest.raises(RunFolderError, match="is where the comparison goes"):
        invoked("report", runs / "one", "--output", runs / "one")


def test_results_are_exported_into_the_run_unless_told_otherwise(runs):
    told = json.loads(invoked("export-results", runs / "two", "--json"))
    assert str(runs / "two" / "results.tex") in told["files"]
    assert all(Path(name).exists() for name in told["files"])
    assert not (runs / "two" / "figures" / "plane.png").exists()
