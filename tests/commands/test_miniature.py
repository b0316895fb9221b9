"""The start model is made anew where the making is, and without it the verb says how to get it."""

import subprocess
import sys

import pytest

from cst.commands.miniature import ROOT, pretrain
from cst.errors import ModelError


def test_without_the_folder_it_is_said_where_it_is(tmp_path):
    with pytest.raises(ModelError, match=r"which is not in .* Clone the repository, install"):
        pretrain(tmp_path / "out", seed=None, steps=None, root=tmp_path)

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
