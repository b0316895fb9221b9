import csv
import io
import re
import zlib
from importlib.resources import files
from pathlib import Path

import matplotlib as mpl
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from cst.errors import DataError, RunFolderError
from cst.records import Score
from cst.reporting.evidence import read_evidence
from cst.reporting.exports import (
    CELL_COLUMNS,
    LONGEST_FLOAT,
    PRINT,
    csv_of_scores,
    csv_of_table,
    document,
    escape,
    file_name,
    latex_table,
    named_tables,
    write_figures,
    write_results,
    write_tables,
)
from cst.reporting.figures import ROLES, Drawing
from cst.reporting.sections import sections
from cst.reporting.tables import Counts, Difference, Heading, Rate, Table

SPECIAL = "\\&%$#_{}~^-'`,<>!?[]*\N{DAGGER}\N{MINUS SIGN}\N{EN DASH} ab"
MADE_OF = {
    r"\textbackslash{}": "\\",
    r"\textasciitilde{}": "~",
    r"\textasciicircum{}": "^",
    r"\textdagger{}": "\N{DAGGER}",
    r"\textendash{}": "\N{EN DASH}",
    "$-$": "\N{MINUS SIGN}",
    "{}": "",
    **{f"\\{character}": character for character in "&%$#_{}"},
}
UNESCAPED = re.compile("|".join(re.escape(made) for made in sorted(MADE_OF, key=len, reverse=True)))


def unescaped(text: str) -> str:
    """What LaTeX would set."""
    return UNESCAPED.sub(lambda match: MADE_OF[match[0]], text)


def complaint(source: str) -> str | None:
    """What a LaTeX run would stop at: braces, environments, special characters, rows of another number of cells."""
    bare = re.sub(r"\\[&%$#_{}]|\\textbackslash\{\}|\$-\$", "", source)
    if re.search(r"[%#_^$]", bare):
        return "a special character"
    if bare.count("{") != bare.count("}"):
        return "braces"
    open_ones: list[str] = []
    for kind, name in re.findall(r"\\(begin|end)\{(\w+)\}", bare):
        if kind == "begin":
            open_ones.append(name)
        elif not open_ones or open_ones.pop() != name:
            return f"\\end{{{name}}}"
    if open_ones:
        return f"\\begin{{{open_ones[0]}}} is open"
    if re.search(r"\\\\\s*[\[*]|\\(top|mid|bottom)rule\s*[\[*]", bare):
        return "an optional argument"
    widths = re.findall(r"\\begin\{(?:tabular|longtable)\}\{((?:[lr]|p\{[^}]*\})+)\}", bare)
    columns = {len(re.findall(r"[lr]|p\{[^}]*\}", spec)) for spec in widths}
    rows = re.findall(r"^(?!\\(?:multicolumn|caption|begin|end)).*\\\\$", bare, re.MULTILINE)
    cells = {row.count(" & ") + 1 for row in rows}
    return None if cells <= columns and bare.count("&") == sum(row.count(" & ") for row in rows) else "columns"


def table(*rows: object, columns: tuple[str, ...] = ("a_b", "c&d", "e"), note: str = "50 % of $x_1$.") -> Table:
    return Table("A {title} \\ with #1", columns, rows, note)  # type: ignore[arg-type]


RATE = Rate(0.5, 0.2, 0.8, "1/2, 0 unscored", "between .3 and .9", "grouped_wilson", Counts(2, 1, 0))


@given(st.text(alphabet=SPECIAL) | st.text(st.characters(exclude_categories=["Cs", "Cc"], exclude_characters="\xa0")))
@example("\\input{/etc/hosts} \\\\[1em] 50% --- ``x'' ^^M")
def test_what_is_escaped_is_set_as_it_stood(text):
    assert unescaped(escape(text)) == text


@given(st.text(alphabet=SPECIAL), st.text(alphabet=SPECIAL), st.text(alphabet=SPECIAL + "\n"))
@example(" [1em]", " * ", "")
def test_no_text_can_break_a_table(row, cell, heading):
    made = latex_table(table(Heading(heading), (row, cell, RATE), note=heading), "x")
    assert complaint(made) is None


@pytest.mark.parametrize(
    "broken",
    [
        "\\begin{table}",
        "\\end{table}",
        "a_b",
        "50%",
        "{",
        "x\\\\\n[1em]",
        "\\begin{tabular}{lr}\na & b & c\\\\\n\\end{tabular}",
    ],
)
def test_what_would_stop_latex_is_seen(broken):
    assert complaint(broken) is not None


def test_a_rate_stands_over_its_interval_counts_and_remark():
    made = latex_table(table(("base", RATE, "x")), "t")
    assert r".500\\\scriptsize [.200, .800]\textdagger{}\\\scriptsize 1/2, 0 unscored\\\scriptsize between .3" in made
    change = Difference(-0.5, -0.8, 0.1, "n 3, 0 unscored")
    assert r"$-$.500\\\scriptsize [$-$.800, +.100]" in latex_table(table(("base", change, "x")), "t")


def test_control_characters_are_spaces():
    assert escape("a\nb\x00c\td") == "a b c d"


def test_a_bracket_at_the_start_of_a_row_is_no_argument():
    assert (
        complaint(latex_table(table(("[1em]", "*", "x"), ("* two", "[", "x"), columns=("[x]", "y", "z")), "t")) is None
    )


def test_a_table_longer_than_a_page_breaks_and_a_long_text_wraps():
    fits = LONGEST_FLOAT // 4  # a rate with a remark takes four lines
    long = latex_table(table(*[("r", RATE, "x")] * (fits + 1)), "t")
    assert "longtable" in long
    assert long.count("\\caption") == long.count("\\label") == 1
    assert long.index("\\label") < long.index("\\endfirsthead") < long.index("\\endhead")
    assert "\\begin{table}" not in long
    assert complaint(long) is None
    assert "longtable" not in latex_table(table(*[("r", RATE, "x")] * fits), "t")
    wide = latex_table(table(("r", "word " * 20, "x")), "t")
    assert r"{lp{0.66\linewidth}r}" in wide
    assert complaint(wide) is None


def test_a_document_holds_every_file_and_escapes_captions():
    made = document(["tables/a.tex"], [("figures/b.pdf", "95 % of a_b")])
    assert r"\input{tables/a.tex}" in made
    assert r"\includegraphics{figures/b.pdf}" in made
    assert r"\caption{95 \% of a\_b}" in made
    for package in ("booktabs", "longtable", "graphicx", "fontenc"):
        assert package in made
    assert made.count("\\begin") == made.count("\\end{")


@pytest.fixture(scope="module")
def tables(run: Path) -> list[Table]:
    return [table for section in sections(read_evidence(run)) for table in section.tables]


def lines(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text, newline="")))


def test_every_cell_is_a_line_with_all_its_digits(tables):
    for table in tables:
        cells = [(r[0], cell) for r in table.rows if not isinstance(r, Heading) for cell in r[1:]]
        read = lines(csv_of_table(table))
        assert len(read) == len(cells)
        for line, (row, cell) in zip(read, cells, strict=True):
            assert (line["row"], line["column"] in table.columns) == (row, True)
            if isinstance(cell, Rate):
                assert line["text"] == ""
                assert [line["low"], line["high"], line["interval"]] == [str(cell.low), str(cell.high), cell.method]
                assert line["rate"] == ("" if cell.value is None else str(cell.value))
            else:
                assert line["text"] == cell


def test_a_rate_of_scores_has_its_counts_in_columns_of_their_own(tables):
    found = [line for line in lines(csv_of_table(tables[0])) if line["rate"]]
    assert found
    for line in found:
        assert float(line["rate"]) == int(line["followed"]) / int(line["n"])
        assert line["count"] == f"{line['followed']}/{line['n']}, {line['unscored']} unscored"
        assert line["heading"] == "this run"


def test_scores_come_back_as_they_were(run):
    evidence = read_evidence(run)
    scores = [*evidence.scores, *evidence.framed]
    read = lines(csv_of_scores(scores))
    rates = [line.pop("rate") for line in read]
    filled = [{name: text for name, text in line.items() if text} for line in read]
    assert [Score.model_validate_strings(line) for line in filled] == scores
    assert rates == [str(score.rate) for score in scores]


@given(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00")), st.text(alphabet='",\n\r;\t=+ a'))
def test_any_text_comes_back_as_it_was(row, cell):
    (line,) = lines(csv_of_table(Table("t", ("a", "b"), ((row, cell),))))
    assert (line["row"], line["text"]) == (row, cell)
    assert tuple(line) == CELL_COLUMNS


def test_each_table_has_files_of_its_own(tables, tmp_path):
    named = named_tables(tables)
    assert list(named.values()) == tables
    written = write_tables(tmp_path, named)
    assert sorted(written) == sorted(tmp_path.iterdir())
    assert len(written) == 2 * len(tables)
    assert "table-i-control-over-harmlessness" in named


def test_tables_of_one_title_are_told_apart_and_the_same_table_is_one():
    first, second = Table("A b", ("x",), ()), Table("a B!", ("y",), ())
    assert named_tables([first, second, first]) == {"a-b": first, "a-b-2": second}
    assert file_name("Ünter \N{EN DASH} \\..//") == "nter"
    assert file_name("\N{EN DASH}") == "table"


@pytest.fixture(scope="module")
def drawings(run: Path) -> list[Drawing]:
    return [drawing for section in sections(read_evidence(run)) for drawing in section.drawings]


def streams(pdf: bytes) -> bytes:
    """The deflated streams of a PDF, one after the other."""
    return b"".join(
        zlib.decompress(found)
        for found in re.findall(rb"/FlateDecode.*?stream\r?\n(.*?)\r?\nendstream", pdf, re.DOTALL)
    )


def operands(colour: str) -> bytes:
    """A colour as a PDF writes it: three shares, none of them as a whole number."""
    return b" ".join(b"%.4f" % (int(colour[i : i + 2], 16) / 255) for i in (1, 3, 5)).replace(b"0.0000", b"0")


def shortened(text: bytes) -> bytes:
    """Numbers with four decimals, as in `operands`."""
    return re.sub(rb"\d\.\d+", lambda match: b"%.4f" % float(match[0]), text)


def test_fonts_are_embedded_as_truetype_and_nothing_is_dated(drawings, tmp_path):
    for path in write_figures(tmp_path, drawings):
        text = path.read_bytes()
        assert b"/FontFile2" in text
        assert b"/Type3" not in text
        assert not re.search(rb"Date|Producer|Matplotlib", text)


def test_the_same_drawing_gives_the_same_bytes_and_leaves_matplotlib_alone(drawings, tmp_path):
    settings = dict(mpl.rcParams)
    drawings = drawings[:2]
    first = write_figures(tmp_path / "a", drawings, ("pdf", "png"))
    again = write_figures(tmp_path / "b", drawings, ("pdf", "png"))
    assert [path.read_bytes() for path in first] == [path.read_bytes() for path in again]
    assert dict(mpl.rcParams) == settings
    assert {path.name for path in first} == {f"{d.name}.{kind}" for d in drawings for kind in ("pdf", "png")}
    assert all(path.read_bytes().startswith(b"\x89PNG") for path in first if path.suffix == ".png")


def test_print_has_its_own_colours_and_the_page_keeps_its(drawings, tmp_path):
    plane = next(drawing for drawing in drawings if drawing.name == "plane")
    (path,) = write_figures(tmp_path, [plane])
    drawn = shortened(streams(path.read_bytes()))
    for role in ("base", "dpo", "cst", "grid"):
        assert operands(PRINT[role]) in drawn
        assert f"var(--{role})" in plane.svg
    assert operands("#a10003") not in drawn


def test_prints_colours_are_the_pages_on_light_paper():
    css = files("cst.reporting").joinpath("templates/report.css").read_text(encoding="utf-8")
    light = dict(re.findall(r"--([a-z]+): (#[0-9a-f]{6});", css[: css.index("@media")]))
    assert {role: light[role] for role in ROLES} == PRINT


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
