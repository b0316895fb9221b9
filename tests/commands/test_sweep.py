"""`cst sweep` from outside: what it refuses before anything is trained, and where the sweep stands in a run's plan."""

import json

import pytest

from stages.test_sweep import RECIPE
from test_cli import cst, refused


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "try.yaml").write_text(RECIPE)
    return tmp_path


@pytest.mark.parametrize(
    ("without", "says"),
    [
        (("training:", "mixture:", "  "), "try.yaml has no section mixture and training.method dpo"),
        (("  safety:",), "a mixture without safety examples, so there is one model and nothing to sweep"),
        (("prompts:", "judge:"), "try.yaml has no prompts.held_out and no judge"),
        (("configurations:",), "try.yaml has no configurations, and a sweep is measured by"),
    ],
)
def test_a_recipe_with_nothing_to_sweep_is_refused_in_one_line(folder, without, says):
    kept = [line for line in RECIPE.splitlines() if not line.startswith(without)]
    (folder / "try.yaml").write_text("\n".join(kept))

    assert says in refused("sweep", "try.yaml", cwd=folder)
    assert not (folder / "runs").exists()


def test_the_demos_recipe_is_none_of_a_sweep(folder):
    assert "miniature has no section mixture" in refused("sweep", "miniature", cwd=folder)


def test_the_sweep_is_made_after_the_scores_and_before_the_report(folder):
    stages = list(json.loads(cst("check", "try.yaml", "--json", cwd=folder).stdout)["stages"])
    assert stages.index("score") < stages.index("sweep") < stages.index("report")
    assert "sweep" not in json.loads(cst("check", "miniature", "--json", cwd=folder).stdout)["stages"]
