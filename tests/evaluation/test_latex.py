import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from cst.evaluation.latex import LONGEST_FLOAT, document, escape, latex_table
from cst.evaluation.tables import Counts, Difference, Heading, Rate, Table

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
