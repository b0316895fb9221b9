import re
import shutil
from html.parser import HTMLParser
from pathlib import Path

import pytest
from run_for_evaluation import write_run

from cst.reporting.report import console_tables, in_markdown, render_report
from cst.reporting.tables import INTERVAL_NOTE, Heading, Rate

HOSTILE = "<script>alert(1)</script><img src=x onerror=alert(2)>|`]*_\n# Heading\n"


class Page(HTMLParser):
    """Start tags with their attributes, and the text of each table cell."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.cells: list[tuple[str, str]] = []
        self._open: str | None = None
        self.feed(text)

    def handle_starttag(self, tag, attrs) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag in ("td", "th"):
            self._open = dict(attrs).get("class") or ""
            self.cells.append((self._open, ""))

    def handle_endtag(self, tag) -> None:
        if tag in ("td", "th"):
            self._open = None

    def handle_data(self, data) -> None:
        if self._open is not None:
            kind, text = self.cells[-1]
            self.cells[-1] = (kind, f"{text} {data}".strip())


@pytest.fixture(scope="module")
def page(run: Path) -> Page:
    return Page((run / "report.html").read_text(encoding="utf-8"))


def test_the_page_asks_for_nothing_and_runs_nothing(run: Path, page: Page) -> None:
    text = (run / "report.html").read_text(encoding="utf-8")
    assert not {"script", "link", "iframe", "object", "embed", "img", "base", "form"} & {tag for tag, _ in page.tags}
    for tag, attributes in page.tags:
        assert not {"src", "srcset", "action", "data"} & set(attributes), tag
        assert not [name for name in attributes if name.startswith("on")], tag
        assert str(attributes.get("href", "#")).startswith("#"), tag
    assert "://" not in text
    assert "@import" not in text
    assert not re.findall(r"url\((?!#)", text)


def test_tables_of_many_columns_have_their_rates_broken_into_lines(run: Path) -> None:
    text = (run / "report.html").read_text(encoding="utf-8")
    heads = re.findall(r"<table([^>]*)>\s*<caption>.*?<thead>(.*?)</thead>", text, re.DOTALL)
    tables = [(attributes, head.count("<th ")) for attributes, head in heads if "sample" not in attributes]
    assert {"stacked" in attributes for attributes, _ in tables} == {True, False}
    assert all(("stacked" in attributes) == (columns > 5) for attributes, columns in tables)


def test_links_lead_somewhere_and_ids_are_unique(page: Page) -> None:
    ids = [attributes["id"] for _, attributes in page.tags if "id" in attributes]
    assert len(ids) == len(set(ids))
    assert {str(attributes["href"])[1:] for _, attributes in page.tags if attributes.get("href")} <= set(ids)


def test_every_figure_and_table_says_what_it_is(run: Path, page: Page) -> None:
    text = (run / "report.html").read_text(encoding="utf-8")
    assert text.count("<figure>") == text.count("<figcaption>") == text.count('role="img"') == 5
    assert text.count("<table") == text.count("<caption>")
    assert all("scope" in attributes for tag, attributes in page.tags if tag == "th")


def test_every_rate_has_n_and_interval(run: Path, page: Page) -> None:
    rates = [text for kind, text in page.cells if kind == "rate"]
    assert len(rates) > 100
    for text in rates:
        assert re.search(r"\[\S+, \S+\]", text), text
        assert re.search(r"\d+/\d+|n \d+|of \d+", text), text
    # and outside of rate cells no figure of this run looks like a rate: the paper's are its own, p-values have a column
    for table in console_tables(run):
        for row in table.rows[: next((i for i, r in enumerate(table.rows) if "the paper" in str(r)), len(table.rows))]:
            if not isinstance(row, Heading):
                cells = [cell for cell, name in zip(row, table.columns, strict=True) if name != "p"]
                assert all(isinstance(cell, Rate) or "." not in cell for cell in cells)


def test_what_a_model_wrote_is_inert(tmp_path: Path) -> None:
    folder = write_run(tmp_path, n=3, hostile=HOSTILE)
    render_report(folder)
    html, markdown = ((folder / f"report.{kind}").read_text(encoding="utf-8") for kind in ("html", "md"))
    assert "&lt;script&gt;alert(1)" in html
    assert not {"script", "img"} & {tag for tag, _ in Page(html).tags}
    assert "<script" not in markdown
    assert "<img" not in markdown
    assert "\n# Heading" not in markdown


def test_a_note_from_the_recipe_is_shown_and_escaped(run: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    shutil.copytree(run, folder)
    (folder / "recipe.json").write_text('{"name": "n<b>", "note": "engineered & <i>said</i>"}', encoding="utf-8")
    render_report(folder)
    html = (folder / "report.html").read_text(encoding="utf-8")
    assert "<h1>n&lt;b&gt;</h1>" in html
    assert "engineered &amp; &lt;i&gt;said" in html


def test_the_same_folder_gives_the_same_bytes(run: Path, tmp_path: Path) -> None:
    folder = tmp_path / "elsewhere"
    shutil.copytree(run, folder)
    report = render_report(folder)
    assert report.html.read_bytes() == (run / "report.html").read_bytes()
    assert report.markdown.read_bytes() == (run / "report.md").read_bytes()
    assert report.missing == ()


def test_what_is_not_there_is_said_and_the_rest_is_shown(run: Path, tmp_path: Path) -> None:
    (tmp_path / "scores.json").write_bytes((run / "scores.json").read_bytes())
    report = render_report(tmp_path)
    html, markdown = report.html.read_text(encoding="utf-8"), report.markdown.read_text(encoding="utf-8")
    assert "curve.json" in report.missing
    assert "Table I: control over harmlessness" in html
    for text in (html, markdown):
        assert "needs curve.json" in text
        assert "Not in this run folder" in text


def test_an_empty_folder_gives_an_empty_report(tmp_path: Path) -> None:
    report = render_report(tmp_path)
    assert report.tables == ()
    [table] = console_tables(tmp_path)
    assert table.title == "Nothing is scored yet"


def test_the_terminal_gets_the_papers_three_tables_and_how_to_read_them(run: Path) -> None:
    tables = console_tables(run)
    assert [table.title.split(":")[0] for table in tables][:3] == ["Table I", "Table II", "Table III"]
    assert tables[0].note.startswith(INTERVAL_NOTE)


def test_markdown_holds_every_table_of_the_page(run: Path) -> None:
    html, markdown = ((run / f"report.{kind}").read_text(encoding="utf-8") for kind in ("html", "md"))
    titles = [title for title in re.findall(r"<caption>([^<]+)</caption>", html) if "<q>" not in title]
    assert titles
    for title in titles:
        assert f"**{title.strip()}**" in markdown
    rows = [line for line in markdown.splitlines() if line.startswith("|")]
    assert len(rows) > 100
    assert all(line.endswith("|") for line in rows)


@pytest.mark.parametrize(
    ("text", "shown"),
    [("a|b", r"a\|b"), ("<b>", "&lt;b&gt;"), ("one\ntwo", "one<br>two"), ("*x*_y_", r"\*x\*\_y\_"), (3, "3")],
)
def test_text_shows_as_itself_in_markdown(text: object, shown: str) -> None:
    assert in_markdown(text) == shown
