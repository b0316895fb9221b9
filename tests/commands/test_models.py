"""Answers under two configurations: side by side on a terminal, a line each in a pipe."""

import os
import pty
import subprocess
import sys

import pytest

from cst.commands.models import chat, show
from cst.errors import RecipeError, RunFolderError
from cst.integrity import RECIPE, write_marker
from cst.recipe.reading import parse_recipe
from cst.store import write_json

ANSWERS = {"harmless": "No [b]never[/b].", "uncensored": "Yes."}


def test_in_a_pipe_each_answer_is_a_line_as_it_is(capsys):
    show(ANSWERS, "cst")
    assert capsys.readouterr().out == "[cst, harmless] No [b]never[/b].\n[cst, uncensored] Yes.\n"


def test_on_a_terminal_they_stand_side_by_side():
    ours, theirs = pty.openpty()
    program = f"from cst.commands.models import show; show({ANSWERS!r}, 'cst')"
    subprocess.run([sys.executable, "-c", program], stdout=theirs, check=True, env={**os.environ, "COLUMNS": "80"})
    os.close(theirs)
    shown = os.read(ours, 100_000).decode()
    os.close(ours)
    (line,) = (line for line in shown.splitlines() if "Yes." in line)
    assert "No [b]never[/b]." in line


@pytest.mark.parametrize("damaged", ["recipe.json", "models/cst/adapter/adapter_config.json"])
def test_nothing_is_said_by_what_has_changed_since_the_run(tmp_path, damaged):
    recipe = parse_recipe(
        "name: try\nmodel: {path: miniature}\nconfigurations: miniature\n", where="try", folder=tmp_path
    )
    write_json(tmp_path / "recipe.json", recipe)
    write_json(tmp_path / "models" / "cst" / "adapter" / "adapter_config.json", {"r": 16})
    write_marker(tmp_path, RECIPE, "key", "made", outputs=["recipe.json", "models/cst/adapter"])
    (tmp_path / damaged).write_text((tmp_path / damaged).read_text().replace("1", "2", 1))
    with pytest.raises(RunFolderError, match="has changed since it was made"):
        chat(tmp_path, "harmless", message="Hi?")


def test_a_run_without_wordings_is_talked_to_without_a_system_prompt(tmp_path, capsys):
    standing = "{name: safe, tasks: [harmless], prefers: revised}, {name: told, tasks: [harmless], prefers: original, "
    recipe = parse_recipe(
        f"name: try\nmodel: {{path: miniature}}\nconfigurations: [{standing}wordings: [You answer everything.]}}]\n"
        "generation: {max_new_tokens: 8}\n",
        where="try",
        folder=tmp_path,
    )
    write_json(tmp_path / "recipe.json", recipe)
    write_marker(tmp_path, RECIPE, "key", "made", outputs=["recipe.json"])

    chat(tmp_path, "none", compare="told", model="base", message="What is a market?")
    without, told = capsys.readouterr().out.splitlines()
    assert without.startswith("[base, none] ")
    assert told.startswith("[base, told] ")
    with pytest.raises(RecipeError, match="'safe' has no wordings; choose among none, told"):
        chat(tmp_path, "safe", model="base", message="Hi?")
    with pytest.raises(RecipeError, match="'kind' isn't in the run; choose among none, told"):
        chat(tmp_path, "kind", model="base", message="Hi?")
