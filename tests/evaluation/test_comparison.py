import re
from pathlib import Path

import pytest
from run_for_evaluation import write_run

from cst.evaluation.comparison import Comparison, compare_runs
from cst.evaluation.tables import Heading, Rate


@pytest.fixture(scope="module")
def folders(tmp_path_factory) -> list[Path]:
    """Runs on different prompts, one of whose names is markup."""
    home = tmp_path_factory.mktemp("runs")
    return [write_run(home / name, n=n) for name, n in (("one", 10), ("two", 12), ("<b>*three*", 10))]


@pytest.fixture(scope="module")
def made(folders, tmp_path_factory) -> Comparison:
    return compare_runs(folders, tmp_path_factory.mktemp("out"))


def test_the_page_asks_for_nothing_and_what_users_wrote_is_inert(made):
    html, markdown = made.html.read_text(encoding="utf-8"), made.markdown.read_text(encoding="utf-8")
    assert "<b>*three*" not in html
    assert "&lt;b&gt;*three*" in html
    assert "<b>" not in markdown
    assert not re.search(r"<(script|link|img|iframe)|://|url\(", html)
    links = set(re.findall(r'href="#([^"]+)"', html))
    assert links
    assert links <= set(re.findall(r' id="([^"]+)"', html))


def test_both_pages_hold_every_table_and_caution(made):
    html, markdown = made.html.read_text(encoding="utf-8"), made.markdown.read_text(encoding="utf-8")
    assert html.count("<table") == len(made.tables) == len(re.findall(r"^\*\*[^*|]+\*\*$", markdown, re.MULTILINE))
    assert html.count("<li>") - html.count("<li><a") == len(made.cautions) == markdown.count("\n- ") > 0


def test_every_rate_has_its_counts_and_interval(made):
    rates = [cell for t in made.tables for row in t.rows if not isinstance(row, Heading) for cell in row]
    found = [cell for cell in rates if isinstance(cell, Rate)]
    assert len(found) > 300
    for rate in found:
        assert "unscored" in rate.count
        assert re.search(r"\[\S+, \S+\]", rate.interval)


def test_all_are_held_against_the_first_and_paired_where_the_prompts_are_the_same(made):
    assert {(each.run, each.against) for each in made.differences} == {("two", "one"), ("<b>*three*", "one")}
    assert {each.pairs is None for each in made.differences if each.run == "two"} == {True}
    assert {each.pairs is None for each in made.differences if each.run == "<b>*three*"} == {False}


def test_the_same_runs_give_the_same_bytes(made, folders, tmp_path):
    again = compare_runs(folders, tmp_path)
    assert again.html.read_bytes() == made.html.read_bytes()
    assert again.markdown.read_bytes() == made.markdown.read_bytes()


def test_runs_are_only_read(folders, tmp_path):
    before = {path: path.stat().st_mtime_ns for folder in folders for path in folder.rglob("*")}
    compare_runs(folders, tmp_path)
    assert {path: path.stat().st_mtime_ns for folder in folders for path in folder.rglob("*")} == before
