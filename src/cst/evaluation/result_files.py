"""A run's results as files: every table and figure of its report, and every score.

`results.tex` sets them all in one document. This file knows which file goes where, and no table or figure by name.
"""

from collections.abc import Sequence
from pathlib import Path

from cst.errors import DataError
from cst.evaluation.evidence import read_evidence
from cst.evaluation.figure_files import FigureKind, write_figures
from cst.evaluation.latex import document
from cst.evaluation.report import sections
from cst.evaluation.table_files import csv_of_scores, named_tables, write_tables
from cst.store import write_text


def write_results(folder: Path, output: Path, *, kinds: Sequence[FigureKind] = ("pdf",)) -> list[Path]:
    """Write `tables/`, `figures/` and `results.tex` into `output`, from the files of the run folder alone.

    Raises:
        RunFolderError: there is no such folder.
        DataError: it holds nothing to write, a file of it can't be read, or one can't be written.
    """
    evidence = read_evidence(folder)
    parts = sections(evidence)
    tables = named_tables(table for part in parts for table in part.tables)
    drawings = [drawing for part in parts for drawing in part.drawings]
    if not (tables or drawings):
        raise DataError(f"{folder} holds no results; bring it up to its scores with `cst score` and a recipe.")
    written = [*write_tables(output / "tables", tables), *write_figures(output / "figures", drawings, kinds)]
    pictures = [(f"figures/{drawing.name}.{kinds[0]}", drawing.caption) for drawing in drawings]
    texts = {
        output / "tables" / "scores.csv": csv_of_scores([*evidence.scores, *evidence.framed]),
        output / "results.tex": document([f"tables/{name}.tex" for name in tables], pictures),
    }
    for path, text in texts.items():
        write_text(path, text)
    return [*written, *texts]
