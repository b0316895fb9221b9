"""What is printed: every cell of a table, text that looks like markup included."""

import contextlib
from pathlib import Path

import pytest

from cst.commands.console import draw, folder_of, read_recipe
from cst.commands.models import merge
from cst.errors import RunFolderError
from cst.integrity import RECIPE, write_marker
from cst.reporting.tables import Heading, Rate, Table
from cst.store import write_json


def test_a_table_is_drawn_whole(capsys):
    rate = Rate(0.5, 0.25, 0.75, "2/4, 0 unscored")
    draw(
        Table(title="Title", columns=("model", "S1"), rows=(Heading("this run"), ("[red]x[/red]", rate)), note="Note.")
    )
    shown = capsys.readouterr().out
    for text in ("Title", "model", "S1", "this run", "[red]x[/red]", ".500 [.250, .750] 2/4, 0 unscored", "Note."):
        assert text in shown


def test_the_run_folder_has_the_recipes_name_unless_told_otherwise():
    recipe = read_recipe(Path("miniature"), [])
    assert folder_of(recipe, None) == Path("runs/miniature")
    assert folder_of(recipe, Path("elsewhere")) == Path("elsewhere")


def test_a_folder_that_is_called_miniature_is_not_taken_for_a_recipe(tmp_path):
    (tmp_path / "miniature").mkdir()
    with contextlib.chdir(tmp_path):
        assert read_recipe(Path("miniature"), []).name == "miniature"


def test_an_adapter_that_has_changed_since_its_run_is_not_merged(tmp_path):
    write_json(tmp_path / "adapter" / "adapter_config.json", {"r": 16})
    write_marker(tmp_path, RECIPE, "key", "made", outputs=["adapter"])
    write_json(tmp_path / "adapter" / "adapter_config.json", {"r": 24})
    with pytest.raises(RunFolderError, match="adapter has changed since it was made"):
        merge("miniature", str(tmp_path / "adapter"), tmp_path / "merged", as_json=False)


def test_the_sweep_is_an_embedded_recipe_too():
    assert read_recipe(Path("sweep"), []).mixture is not None


def test_overrides_reach_the_embedded_recipe():
    assert read_recipe(Path("miniature"), ["training.beta=0.7"]).training.beta == 0.7
