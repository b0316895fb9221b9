"""A folder keeps to one recipe, and to the bytes of it that were written."""

import json

import pytest

from cst.errors import RunFolderError
from cst.pipeline import run
from cst.recipe_file import parse_recipe
from cst.store import read_json

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
