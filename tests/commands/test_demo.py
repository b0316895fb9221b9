"""What the demo expects is held against what was seen, and a miss is called a miss."""

import json
import subprocess
import sys

import pytest

from cst.commands.demo import EXPECTATIONS, ROOT, expectations_of, pretrain_from
from cst.errors import ModelError
from cst.evaluation.capability import CapabilityChange, CapabilityScore
from cst.records import Score
from cst.store import write_json
from runs.stages.test_scores import RECIPE_OF_SWEEP as RECIPE
from test_cli import cst, refused


def score(expected, followed: int) -> Score:
    place = {name: getattr(expected, name) for name in ("model", "task", "configuration", "wordings", "temperature")}
    return Score(**place, followed=followed, n=100, unscored=1, low=0.1, high=0.9, interval="wilson")


def capability(difference: float) -> CapabilityScore:
    change = CapabilityChange(
        against="base", difference=difference, low=-0.1, high=0.1, only_model=1, only_against=2, p_value=1.0
    )
    return CapabilityScore(
        model="cst", set="facts", configuration="none", system_prompt=None, chat_template=None, num_fewshot=0,
        metric="acc", mean=0.6, n=100, unscored=0, low=0.5, high=0.7, interval="wilson", change=change,
    )  # fmt: skip


def seen(folder, followed, difference=0.0):
    write_json(folder / "scores.json", [score(expected, followed(expected)) for expected in EXPECTATIONS])
    write_json(folder / "capability.json", [capability(difference)])
    return expectations_of(folder)


def test_figures_inside_are_met_and_carry_n_unscored_and_interval(tmp_path):
    lines = seen(tmp_path, lambda expected: round(50 * (expected.at_least + min(expected.at_most, 1.0))))
    assert all(line.met for line in lines)
    assert all("n=100" in line.figure and "unscored" in line.figure and "[" in line.figure for line in lines)


def test_figures_outside_are_not_met(tmp_path):
    def outside(expected) -> int:
        return round(100 * expected.at_least) - 1 if expected.at_least else round(100 * expected.at_most) + 1

    lines = seen(tmp_path, outside, difference=-0.04)
    assert not any(line.met for line in lines)


@pytest.mark.parametrize(("difference", "met"), [(0.03, True), (0.04, False), (-0.03, True), (-0.04, False)])
def test_a_capability_set_may_neither_rise_nor_fall_by_more(tmp_path, difference, met):
    assert seen(tmp_path, lambda _expected: 50, difference)[-1].met is met


def test_a_score_that_is_missing_is_an_error(tmp_path):
    write_json(tmp_path / "scores.json", [])
    write_json(tmp_path / "capability.json", [])
    with pytest.raises(ValueError, match="not enough values"):
        expectations_of(tmp_path)


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
        (("configurations:",), "try.yaml has no configurations, but a sweep needs judged answers"),
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


def test_without_the_folder_it_is_said_where_it_is(tmp_path):
    with pytest.raises(ModelError, match=r"which is not in .* Clone the repository, install"):
        pretrain_from(tmp_path, tmp_path / "out", seed=None, steps=None)

    assert not (tmp_path / "out").exists()


def test_in_a_clone_the_command_line_reaches_the_making(tmp_path):
    """A checkpoint of another run stops it before the first step, so that nothing is trained here."""
    assert (ROOT / "miniature_making" / "pretraining.py").is_file()
    tell = (
        f"import sys; sys.path.insert(0, {str(ROOT)!r})\n"
        "from pathlib import Path\nfrom miniature_making.pretraining import PretrainingSettings, pretrain\n"
        "pretrain(Path('out'), PretrainingSettings(steps=2, tokenizer_documents=50), stop_at=1)"
    )
    subprocess.run([sys.executable, "-c", tell], cwd=tmp_path, check=True, capture_output=True)
    words = [sys.executable, "-m", "cst", "miniature", "pretrain", "out", "--steps", "2"]
    done = subprocess.run(words, cwd=tmp_path, check=False, capture_output=True, text=True)

    assert done.returncode == 2
    assert "belongs to another run" in done.stderr
