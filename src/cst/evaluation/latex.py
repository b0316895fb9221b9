r"""Tables as LaTeX that compiles as it is: booktabs, rates stacked over their intervals, every text escaped.

A table is a float of its own, to be put into a paper with `\input`; one too long for a page is a `longtable`. This
file knows tables as values, and no files.
"""

import re
from collections.abc import Sequence

from cst.evaluation.tables import Cell, Heading, Rate, Row, Table

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


_NOTE = r"""\par\smallskip\noindent
\begin{minipage}{\linewidth}\footnotesize %s\end{minipage}
"""


def _height(row: Row) -> int:
    """Lines that a row takes; a rate stands over its interval and counts."""
    return 1 if isinstance(row, Heading) else max(len(_stacked(cell)) for cell in row)


def _columns(table: Table) -> str:
    """Names to the left, values to the right; long texts share the width."""
    rows = [row for row in table.rows if not isinstance(row, Heading)]
    wide = [any(_is_wide(row[place]) for row in rows) for place in range(len(table.columns))]
    narrow = len(wide) - sum(wide)
    share = f"p{{{max(0.2, 0.9 - NARROW * narrow) / max(1, sum(wide)):.2f}\\linewidth}}"
    return "".join(share if is_wide else "r" if place else "l" for place, is_wide in enumerate(wide))


def _is_wide(cell: Cell) -> bool:
    return isinstance(cell, str) and len(cell) > WIDE_TEXT


def _row(row: Row, columns: int) -> str:
    if not isinstance(row, Heading):
        return _line(row)
    how = r"p{0.9\linewidth}" if len(row.text) > 2 * WIDE_TEXT else "l"
    return f"\\addlinespace\n\\multicolumn{{{columns}}}{{{how}}}{{\\emph{{{escape(row.text)}}}}}\\\\\n"


def _line(cells: Sequence[Cell]) -> str:
    """A row; a bracket or star at its start would be taken for an argument of the command before it."""
    line = " & ".join(_cell(cell) for cell in cells) + "\\\\\n"
    return f"{{}}{line}" if line.lstrip().startswith(("[", "*")) else line


def _cell(cell: Cell) -> str:
    if not isinstance(cell, Rate):
        return escape(cell)
    main, *below = _stacked(cell)
    small = "".join(rf"\\\scriptsize {escape(part)}" for part in below)
    return rf"\begin{{tabular}}[t]{{@{{}}r@{{}}}}{escape(main)}{small}\end{{tabular}}"


def _stacked(cell: Cell) -> list[str]:
    """A cell's lines."""
    parts = (cell.main, cell.interval, cell.count, cell.remark) if isinstance(cell, Rate) else (cell,)
    return [part for part in parts if part] or [""]
