"""The run folder: done once, made again when something changed, and never half."""

import json
import multiprocessing
from dataclasses import replace
from pathlib import Path

import pytest

from cst.doors import run
from cst.errors import RunFolderError
from cst.recipe.reading import parse_recipe
from cst.runs.folder import RunFolder, Stage
from cst.store import read_json


class Double:
    """A stage that doubles the number in a.txt, and counts its runs."""

    def __init__(self, folder: Path, factor: int = 2) -> None:
        self.folder, self.factor, self.runs = folder, factor, 0

    def work(self) -> None:
        self.runs += 1
        number = int((self.folder / "a.txt").read_text())
        (self.folder / "b.txt").write_text(str(number * self.factor))

    @property
    def stage(self) -> Stage:
        return Stage("double", lambda: [self.factor], ["a.txt"], ["b.txt"], self.work)


def test_a_stage_is_made_once_and_then_left_alone(tmp_path):
    (tmp_path / "a.txt").write_text("4")
    double, home = Double(tmp_path), RunFolder(tmp_path)

    assert not home.is_up_to_date(double.stage)
    assert home.perform(double.stage) == "made"
    assert (tmp_path / "b.txt").read_text() == "8"
    assert home.is_up_to_date(double.stage)
    assert home.perform(double.stage) == "done before"
    assert double.runs == 1


def test_a_changed_input_or_setting_makes_it_again(tmp_path):
    (tmp_path / "a.txt").write_text("4")
    home = RunFolder(tmp_path)
    home.perform(Double(tmp_path).stage)

    (tmp_path / "a.txt").write_text("5")
    assert home.perform(Double(tmp_path).stage) == "made"
    assert (tmp_path / "b.txt").read_text() == "10"
    assert home.perform(Double(tmp_path, factor=3).stage) == "made"
    assert (tmp_path / "b.txt").read_text() == "15"


def test_a_file_put_there_by_hand_is_taken_as_given_and_kept(tmp_path):
    (tmp_path / "a.txt").write_text("4")
    (tmp_path / "b.txt").write_text("made elsewhere")
    double, home = Double(tmp_path), RunFolder(tmp_path)

    assert home.perform(double.stage) == "given"
    (tmp_path / "a.txt").write_text("5")
    assert home.perform(double.stage) == "given"
    assert (tmp_path / "b.txt").read_text() == "made elsewhere"
    assert double.runs == 0


def test_a_made_file_that_has_changed_is_refused_until_it_is_removed(tmp_path):
    (tmp_path / "a.txt").write_text("4")
    double, home = Double(tmp_path), RunFolder(tmp_path)
    home.perform(double.stage)

    (tmp_path / "b.txt").write_text("9")
    for use in (home.perform, home.is_up_to_date):
        with pytest.raises(RunFolderError, match=r"b\.txt has changed since it was made: its SHA-256 is .*--update"):
            use(double.stage)
    assert (tmp_path / "b.txt").read_text() == "9"
    (tmp_path / "b.txt").unlink()
    assert home.perform(double.stage) == "made"
    assert (tmp_path / "b.txt").read_text() == "8"


def test_a_changed_file_is_given_where_that_is_asked_for_and_refused_when_it_changes_again(tmp_path):
    (tmp_path / "a.txt").write_text("4")
    double, home = Double(tmp_path), RunFolder(tmp_path)
    home.perform(double.stage)

    (tmp_path / "b.txt").write_text("9")
    assert RunFolder(tmp_path, update=True).perform(double.stage) == "given"
    (tmp_path / "a.txt").write_text("5")
    assert home.perform(double.stage) == "given"
    (tmp_path / "b.txt").write_text("10")
    with pytest.raises(RunFolderError, match=r"b\.txt has changed since it was given"):
        home.perform(double.stage)
    assert double.runs == 1


def test_what_depends_on_a_changed_file_is_made_again(tmp_path):
    (tmp_path / "a.txt").write_text("4")
    double = Double(tmp_path)
    copy = Stage("copy", list, ["b.txt"], ["c.txt"], lambda: _copy(tmp_path / "b.txt", tmp_path / "c.txt"))
    for stage in (double.stage, copy):
        RunFolder(tmp_path).perform(stage)

    (tmp_path / "b.txt").write_text("9")
    assert [RunFolder(tmp_path, update=True).perform(stage) for stage in (double.stage, copy)] == ["given", "made"]
    assert (tmp_path / "c.txt").read_text() == "9"


def _copy(source: Path, target: Path) -> None:
    target.write_text(source.read_text())


def test_what_was_made_besides_may_go_but_not_change(tmp_path):
    (tmp_path / "a.txt").write_text("4")
    (tmp_path / "log.txt").write_text("began")
    double, home = Double(tmp_path), RunFolder(tmp_path)
    stage = replace(double.stage, by_products=["log.txt", "none.txt"])
    assert home.perform(stage) == "made"

    (tmp_path / "log.txt").write_text("begun")
    with pytest.raises(RunFolderError, match=r"log\.txt has changed .* delete .*b\.txt to have it made again"):
        home.perform(stage)
    (tmp_path / "log.txt").unlink()
    assert home.perform(stage) == "done before"


def test_a_stage_done_by_several_processes_is_marked_by_the_first_and_refused_when_it_changes(tmp_path):
    (tmp_path / "a.txt").write_text("4")
    double, home = Double(tmp_path), RunFolder(tmp_path)
    home.work_together(double.stage, first=False)
    assert not (tmp_path / "stages").exists()
    home.work_together(double.stage, first=True)
    assert home.perform(double.stage) == "done before"

    (tmp_path / "b.txt").write_text("9")
    with pytest.raises(RunFolderError, match="has changed since it was made"):
        home.is_up_to_date(double.stage)


def test_what_a_killed_stage_left_is_not_taken_for_given(tmp_path):
    (tmp_path / "a.txt").write_text("4")
    double, home = Double(tmp_path), RunFolder(tmp_path)

    def dies_after_writing() -> None:
        (tmp_path / "b.txt").write_text("half")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        home.perform(Stage("double", lambda: [2], ["a.txt"], ["b.txt"], dies_after_writing))

    assert not home.is_up_to_date(double.stage)
    assert home.perform(double.stage) == "made"
    assert (tmp_path / "b.txt").read_text() == "8"


def test_unfinished_work_stays_for_a_resumed_stage_and_goes_for_a_changed_one(tmp_path):
    (tmp_path / "a.txt").write_text("4")
    home, seen = RunFolder(tmp_path), []

    def stage(factor: int, *, dies: bool) -> Stage:
        def work() -> None:
            seen.append(sorted(path.name for path in (tmp_path / "work").glob("*")))
            (tmp_path / "work").mkdir(exist_ok=True)
            (tmp_path / "work" / f"checkpoint-{factor}").write_text("")
            if dies:
                raise KeyboardInterrupt
            (tmp_path / "b.txt").write_text("")

        return Stage("slow", lambda: [factor], ["a.txt"], ["b.txt"], work, clears=["work"])

    for factor, dies in ((1, True), (1, True), (2, True), (2, False)):
        try:
            home.perform(stage(factor, dies=dies))
        except KeyboardInterrupt:
            continue
    assert seen == [[], ["checkpoint-1"], [], ["checkpoint-2"]]


def test_a_missing_input_names_stage_and_file(tmp_path):
    with pytest.raises(RunFolderError, match=r"Stage double needs .*a\.txt, which isn't there\. Run the verb"):
        RunFolder(tmp_path).perform(Double(tmp_path).stage)


def test_a_folder_is_hashed_with_its_names(tmp_path):
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "x").write_text("1")
    home = RunFolder(tmp_path)
    stage = Stage("copy", list, ["in"], ["out"], lambda: (tmp_path / "out").mkdir(exist_ok=True))

    home.perform(stage)
    assert home.is_up_to_date(stage)
    (tmp_path / "in" / "x").rename(tmp_path / "in" / "y")
    assert not home.is_up_to_date(stage)


def _hold(folder: Path, held, release) -> None:
    with RunFolder(folder).locked():
        held.set()
        release.wait(10)


def test_one_process_at_a_time(tmp_path):
    context = multiprocessing.get_context("spawn")
    held, release = context.Event(), context.Event()
    other = context.Process(target=_hold, args=(tmp_path, held, release))
    other.start()
    try:
        assert held.wait(20)
        with pytest.raises(RunFolderError, match="Another cst process"), RunFolder(tmp_path).locked():
            pass
    finally:
        release.set()
        other.join()
    with RunFolder(tmp_path).locked():
        assert other.exitcode == 0


ROWS = "preferences: {path: rows.jsonl}\n"


def recipe(text, folder):
    return parse_recipe(f"name: try\nmodel: {{path: miniature}}\n{text}", where="try.yaml", folder=folder)


def test_a_folder_keeps_its_recipe_and_says_what_changed(tmp_path):
    row = {"prompt": "Hi?", "chosen": "Yes.", "rejected": "No.", "system": "Be kind."}
    (tmp_path / "rows.jsonl").write_text(json.dumps(row))
    first, other = recipe(ROWS, tmp_path), recipe(ROWS + "training: {beta: 0.5}\n", tmp_path)
    assert run(first, tmp_path / "run", until="condition") == {"condition-cst": "made"}
    with pytest.raises(RunFolderError, match=r"another recipe \(changed: training\)"):
        run(other, tmp_path / "run", until="condition")
    assert read_json(tmp_path / "run" / "recipe.json")["training"]["beta"] == 0.1
    assert run(other, tmp_path / "run", until="condition", update=True) == {"condition-cst": "done before"}
    assert read_json(tmp_path / "run" / "recipe.json")["training"]["beta"] == 0.5


def test_a_recipe_file_that_has_changed_is_refused_and_made_again_when_it_is_deleted(tmp_path):
    row = {"prompt": "Hi?", "chosen": "Yes.", "rejected": "No."}
    (tmp_path / "rows.jsonl").write_text(json.dumps(row))
    ours, kept = recipe(ROWS, tmp_path), tmp_path / "run" / "recipe.json"
    run(ours, tmp_path / "run", until="condition")
    before = kept.read_text()
    kept.write_text(before.replace('"name": "try"', '"name": "tri"'))
    with pytest.raises(RunFolderError, match=r"recipe\.json has changed since it was made"):
        run(ours, tmp_path / "run", until="condition")
    kept.unlink()
    assert run(ours, tmp_path / "run", until="condition") == {"condition-cst": "done before"}
    assert kept.read_text() == before
