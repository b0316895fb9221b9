"""A run's results as files: tables as CSV and LaTeX, every score as CSV, figures as PDF.

This file knows how tables are written for TeX and for machines. It does not know which tables a run has.
"""

import csv
import io
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from itertools import product
from pathlib import Path
from typing import Literal, TypeAlias

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.backends.backend_pdf import FigureCanvasPdf

from cst.errors import DataError
from cst.records import Score
from cst.reporting.evidence import read_evidence
from cst.reporting.figures import ROLES, Drawing, style
from cst.reporting.sections import sections
from cst.reporting.tables import Heading, Rate, Row, Table, TableCell
from cst.store import replaced, write_text

_ESCAPES = str.maketrans(
    {character: f"\\{character}" for character in "&%$#_{}"}
    | {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"}
    | {"\N{DAGGER}": r"\textdagger{}", "\N{MINUS SIGN}": "$-$", "\N{EN DASH}": r"\textendash{}"}
    | {"\N{NO-BREAK SPACE}": "~"}
    | dict.fromkeys((chr(code) for code in (*range(32), 127)), " ")
)

_LIGATURE = re.compile(r"([-'`,<>!?])(?=[-'`,<>])")
"""Two characters that a TeX font would draw as one: `--` as a dash."""

LONGEST_FLOAT = 36
"""Lines of a table that still fit on a page; a float that is longer is cut off."""

WIDE_TEXT = 40
"""Characters; a column with longer text is set as a paragraph."""

NARROW = 0.12
"""Of the line's width: what a column without long text is given; those with long text share the rest."""

_NOTE = r"""\par\smallskip\noindent
\begin{minipage}{\linewidth}\footnotesize %s\end{minipage}
"""

_PREAMBLE = r"""\documentclass{article}
\usepackage[T1]{fontenc}
\IfFileExists{lmodern.sty}{\usepackage{lmodern}}{}
\usepackage[margin=1.5cm,landscape]{geometry}
\usepackage{booktabs,graphicx,longtable}
\begin{document}
"""


def escape(text: str) -> str:
    """Text that LaTeX sets as it stands; line breaks and other control characters become spaces."""
    return _LIGATURE.sub(r"\1{}", text.translate(_ESCAPES))


def document(inputs: Sequence[str], figures: Sequence[tuple[str, str]]) -> str:
    """A document of these tables' and figures' files, figures with their captions."""
    tables = [f"\\input{{{name}}}\n\\clearpage\n" for name in inputs]
    pictures = [
        f"\\begin{{figure}}[p]\n\\centering\n\\includegraphics{{{name}}}\n\\caption{{{escape(caption)}}}\n"
        "\\end{figure}\n\\clearpage\n"
        for name, caption in figures
    ]
    return "".join([_PREAMBLE, *tables, *pictures, "\\end{document}\n"])


def latex_table(table: Table, name: str) -> str:
    """A table with its caption, its note and the label `tab:name`."""
    caption = f"\\caption{{{escape(table.title)}}}\\label{{tab:{name}}}"
    head = f"\\toprule\n{_line(table.columns)}\\midrule\n"
    body = "".join(_row(row, len(table.columns)) for row in table.rows) + "\\bottomrule\n"
    note = _NOTE % escape(table.note) if table.note else ""
    columns = _columns(table)
    if sum(_height(row) for row in table.rows) > LONGEST_FLOAT:
        heads = f"{caption}\\\\\n{head}\\endfirsthead\n{head}\\endhead\n"
        return f"{{\\small\n\\begin{{longtable}}{{{columns}}}\n{heads}{body}\\end{{longtable}}\n{note}}}\n"
    inner = f"\\begin{{tabular}}{{{columns}}}\n{head}{body}\\end{{tabular}}\n{note}"
    return f"\\begin{{table}}[tbp]\n\\centering\\small\n{caption}\n{inner}\\end{{table}}\n"


def _height(row: Row) -> int:
    """Lines that a row takes; a rate stands over its interval and counts."""
    return 1 if isinstance(row, Heading) else max(len(_stacked(cell)) for cell in row)


def _columns(table: Table) -> str:
    """Names to the left, values to the right; long texts share the width."""
    rows = [row for row in table.rows if not isinstance(row, Heading)]
    texts = [[cell if isinstance(cell, str) else "" for cell in row] for row in rows]
    wide = [any(len(row[place]) > WIDE_TEXT for row in texts) for place in range(len(table.columns))]
    narrow = len(wide) - sum(wide)
    share = f"p{{{max(0.2, 0.9 - NARROW * narrow) / max(1, sum(wide)):.2f}\\linewidth}}"
    return "".join(share if is_wide else "r" if place else "l" for place, is_wide in enumerate(wide))


def _row(row: Row, columns: int) -> str:
    if not isinstance(row, Heading):
        return _line(row)
    how = r"p{0.9\linewidth}" if len(row.text) > 2 * WIDE_TEXT else "l"
    return f"\\addlinespace\n\\multicolumn{{{columns}}}{{{how}}}{{\\emph{{{escape(row.text)}}}}}\\\\\n"


def _line(cells: Sequence[TableCell]) -> str:
    """A row; a bracket or star at its start would be taken for an argument of the command before it."""
    line = " & ".join(_cell(cell) for cell in cells) + "\\\\\n"
    return f"{{}}{line}" if line.lstrip().startswith(("[", "*")) else line


def _cell(cell: TableCell) -> str:
    if not isinstance(cell, Rate):
        return escape(cell)
    main, *below = _stacked(cell)
    small = "".join(rf"\\\scriptsize {escape(part)}" for part in below)
    return rf"\begin{{tabular}}[t]{{@{{}}r@{{}}}}{escape(main)}{small}\end{{tabular}}"


def _stacked(cell: TableCell) -> list[str]:
    return cell.lines if isinstance(cell, Rate) else [cell]


CELL_COLUMNS = (
    *("heading", "row", "column", "text", "rate", "low", "high", "followed", "n", "unscored"),
    *("interval", "count", "remark"),
)
"""Of a cell's line: `text` where it holds no rate; `count` and `remark` are as the report has them."""


def named_tables(tables: Iterable[Table]) -> dict[str, Table]:
    """Each table by the name of its files, made of its title; a number follows where two have the same title."""
    found: dict[str, Table] = {}
    for table in tables:
        name, number = file_name(table.title), 2
        free = name
        while found.get(free, table) != table:
            free, number = f"{name}-{number}", number + 1
        found[free] = table
    return found


def file_name(title: str) -> str:
    """A title in small letters, digits and hyphens: `table-i-control-over-harmlessness`."""
    letters = "".join(letter if letter.isascii() and letter.isalnum() else " " for letter in title.lower())
    return "-".join(letters.split()) or "table"


def write_tables(folder: Path, tables: dict[str, Table]) -> list[Path]:
    """Write `NAME.csv` and `NAME.tex` of every table.

    Raises:
        DataError: a file can't be written.
    """
    written: list[Path] = []
    for name, table in tables.items():
        for kind, text in (("csv", csv_of_table(table)), ("tex", latex_table(table, name))):
            written.append(folder / f"{name}.{kind}")
            write_text(written[-1], text)
    return written


def csv_of_table(table: Table) -> str:
    """One line a cell, in reading order."""
    heading, lines = "", list[dict[str, object]]()
    for row in table.rows:
        if isinstance(row, Heading):
            heading = row.text
            continue
        for column, cell in zip(table.columns[1:], row[1:], strict=True):
            lines.append({"heading": heading, "row": row[0], "column": column, **_values(cell)})
    return _csv(CELL_COLUMNS, lines)


def _values(cell: TableCell) -> dict[str, object]:
    if not isinstance(cell, Rate):
        return {"text": cell}
    interval = {"rate": cell.value, "low": cell.low, "high": cell.high, "interval": cell.method}
    return {**interval, **asdict(cell.counts), "count": cell.count, "remark": cell.remark}


def csv_of_scores(scores: Sequence[Score]) -> str:
    """One line a score: its fields, and the rate."""
    lines = ({**score.model_dump(mode="json"), "rate": score.rate} for score in scores)
    return _csv((*Score.model_fields, "rate"), lines)


def _csv(columns: Sequence[str], lines: Iterable[Mapping[str, object]]) -> str:
    """As RFC 4180 has it, line ends too; what is missing is empty."""
    buffer = io.StringIO(newline="")
    writer = csv.DictWriter(buffer, columns, restval="")
    writer.writeheader()
    writer.writerows(lines)
    return buffer.getvalue()


FigureKind: TypeAlias = Literal["pdf", "png"]

PRINT = {
    "ink": "#1d1f23",
    "muted": "#62666d",
    "grid": "#e3e4e2",
    "base": "#6b6f76",
    "dpo": "#c4500a",
    "cst": "#0063a8",
    "fourth": "#007f5f",
    "fifth": "#a2447f",
}
"""The page's colours on light paper (`report.css`)."""

DOTS_PER_INCH = 300
"""Of a PNG: what most journals ask of line art at least."""

_UNDATED = {"pdf": {"CreationDate": None, "Creator": "cst", "Producer": None}, "png": {"Software": None}}
"""Metadata without dates and versions, which would change the bytes."""


def write_figures(folder: Path, drawings: Sequence[Drawing], kinds: Sequence[FigureKind] = ("pdf",)) -> list[Path]:
    """Write `NAME.pdf`, or of whichever kind, of every drawing.

    Raises:
        DataError: a file can't be written.
    """
    written: list[Path] = []
    for drawing, kind in product(drawings, kinds):
        written.append(folder / f"{drawing.name}.{kind}")
        with style([PRINT[role] for role in ROLES]), replaced(written[-1]) as neighbour:
            figure = drawing.paint()
            (FigureCanvasPdf if kind == "pdf" else FigureCanvasAgg)(figure)
            figure.savefig(neighbour, format=kind, dpi=DOTS_PER_INCH, facecolor="white", metadata=_UNDATED[kind])
    return written


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
