import re
from pathlib import Path

import pytest

from cst.errors import DataError, RunFolderError
from cst.evaluation.result_files import write_results


def test_a_runs_results_are_written_and_all_stand_in_one_document(run, tmp_path):
    written = write_results(run, tmp_path, kinds=("pdf", "png"))
    assert sorted(written) == sorted(path for path in tmp_path.rglob("*") if path.is_file())
    source = (tmp_path / "results.tex").read_text(encoding="utf-8")
    named = re.findall(r"\\(?:input|includegraphics)\{([^}]+)\}", source)
    assert {tmp_path / name for name in named} == {
        path for path in written if path.suffix in (".tex", ".pdf") and path.name != "results.tex"
    }
    assert (tmp_path / "tables" / "scores.csv").exists()


def test_a_folder_without_results_writes_nothing(tmp_path: Path):
    (tmp_path / "run").mkdir()
    with pytest.raises(DataError, match="holds no results"):
        write_results(tmp_path / "run", tmp_path / "out")
    assert not (tmp_path / "out").exists()
    with pytest.raises(RunFolderError, match="no run folder"):
        write_results(tmp_path / "none", tmp_path / "out")
