"""The wheel, in an environment of its own: it holds what the demo and the shipped recipes need, and nothing else of the
repository. Dependencies are those of this environment, put behind the installed package; its editable cst is not.
"""

import email
import os
import subprocess
import sys
import sysconfig
import venv
import zipfile
from collections.abc import Mapping
from pathlib import Path

import pytest

from cst import __version__
from cst.errors import DISTRIBUTION as NAME

ROOT = Path(__file__).parents[2]
SMALL = (
    "prompts.training=[{kind: miniature, task: harmless, n: 8}, {kind: miniature, task: truthfulness, n: 8}]",
    "prompts.held_out=[{kind: miniature, task: harmless, n: 4}]",
    "training.max_steps=2",
    "training.save_steps=2",
    "training.snapshot_steps=[]",
    "training.per_device_train_batch_size=4",
    "generation.arms=[{wordings: canonical}]",
    "generation.curve_prompts=0",
    "capabilities=null",
)
"""The miniature's recipe, cut down to seconds."""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    """Built by hatchling from this tree, without the network."""
    out = tmp_path_factory.mktemp("dist")
    words = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(out)]
    subprocess.run(words, cwd=ROOT, check=True, capture_output=True)
    (built,) = out.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def environment(wheel, tmp_path_factory) -> Path:
    """A new environment with the wheel, and with this one's packages where imports look last."""
    home = tmp_path_factory.mktemp("environment") / "venv"
    venv.create(home)
    python = str(home / "bin" / "python")
    pip = [sys.executable, "-m", "pip", "--python", python, "install", "-q", "--no-deps", "--no-index"]
    subprocess.run([*pip, "--disable-pip-version-check", str(wheel)], check=True, capture_output=True)
    (packages,) = home.glob("lib/python*/site-packages")
    # A path named in a .pth file is searched, but its own .pth files, such as that of an editable cst, are not read.
    (packages / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return home


def typed(environment: Path, *words: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    """A command of the new environment, away from the repository."""
    clean: Mapping[str, str] = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    command = [str(environment / "bin" / words[0]), *words[1:]]
    return subprocess.run(command, cwd=cwd, env=clean, capture_output=True, text=True, check=False)


def test_the_wheel_holds_the_package_the_miniature_and_the_recipes_alone(wheel):
    names = zipfile.ZipFile(wheel).namelist()

    assert {name.split("/")[0] for name in names} == {"cst", f"{NAME.replace('-', '_')}-{__version__}.dist-info"}
    assert {f"cst/recipes/{path.name}" for path in (ROOT / "recipes").iterdir()} <= set(names)
    assert {"cst/miniature/recipe.yaml", "cst/miniature/model/model.safetensors"} <= set(names)
    assert not [name for name in names if "pretraining" in name or "muon" in name or "tests/" in name]


def test_its_metadata_has_the_name_the_version_and_the_requirements(wheel):
    with zipfile.ZipFile(wheel) as opened:
        metadata = email.message_from_bytes(opened.read(f"{NAME.replace('-', '_')}-{__version__}.dist-info/METADATA"))
    required = {line.partition(">=")[0] for line in metadata.get_all("Requires-Dist", []) if "extra" not in line}

    assert (metadata["Name"], metadata["Version"]) == (NAME, __version__)
    assert {"torch", "transformers", "peft", "huggingface-hub", "pydantic", "typer"} <= required
    assert {"capabilities", "data", "quantization"} <= set(metadata.get_all("Provides-Extra", []))


def test_the_installed_package_is_the_wheel_s(environment, tmp_path):
    told = typed(environment, "python", "-c", "import cst; print(cst.__file__, cst.__version__)", cwd=tmp_path)

    (package,) = environment.glob("lib/python*/site-packages/cst/__init__.py")
    assert told.stdout.split() == [str(package), __version__]


@pytest.mark.parametrize("recipe", ["miniature", "sweep", "paper-settings"])
def test_a_shipped_recipe_is_reached_by_its_name(environment, recipe, tmp_path):
    (tmp_path / "rows.jsonl").write_text('{"prompt": "x", "chosen": "y", "rejected": "z"}\n')
    own_rows = ["--set", "preferences={path: rows.jsonl}"] if recipe == "paper-settings" else []
    done = typed(environment, "cst", "check", recipe, *own_rows, cwd=tmp_path)

    assert done.returncode == 0, done.stderr
    assert ": start model " in done.stdout


def test_pretraining_says_that_it_needs_the_repository(environment, tmp_path):
    done = typed(environment, "cst", "miniature", "pretrain", "out", cwd=tmp_path)

    assert done.returncode == 2
    assert "Clone the repository" in done.stderr


def test_the_whole_method_runs(environment, tmp_path):
    overrides = [word for each in SMALL for word in ("--set", each)]
    done = typed(environment, "cst", "run", "miniature", "--folder", "run", *overrides, cwd=tmp_path)

    assert done.returncode == 0, done.stderr
    assert (tmp_path / "run" / "report.html").is_file()
    assert (tmp_path / "run" / "models" / "cst" / "adapter" / "adapter_model.safetensors").is_file()
    card = typed(environment, "cst", "card", "run", "--of", "model", cwd=tmp_path)
    assert "model-index:" in card.stdout, card.stderr
