"""What other programs read at the top of the repository is well formed and agrees with the package."""

import importlib.util
import re
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from ruamel.yaml import YAML

import cst

ROOT = Path(__file__).parents[1]
FORMS = sorted((ROOT / ".github" / "ISSUE_TEMPLATE").glob("*.yml"))
FIELDS = {"markdown", "textarea", "input", "dropdown", "checkboxes"}
PAPERS = {
    "2404.00495": ["Gallego"],
    "2309.07875": ["Bianchi", "Suzgun", "Attanasio", "Röttger", "Jurafsky", "Hashimoto", "Zou"],
}


def parsed(path: Path) -> Any:
    return YAML(typ="safe").load(path.read_text(encoding="utf-8"))


CITATION = parsed(ROOT / "CITATION.cff")


def test_the_citation_has_what_its_format_requires():
    """Citation File Format 1.2.0: these four keys; an author is a person or an entity with a name."""
    assert CITATION["cff-version"] == "1.2.0"
    assert {"message", "title", "authors"} <= CITATION.keys()
    assert all("name" in author or "family-names" in author for author in CITATION["authors"])


def test_the_citation_is_of_this_version_and_of_its_date_in_the_changelog():
    changelog = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    dates = dict(re.findall(r"^## (\d\S*) \u2013 (\d{4}-\d\d-\d\d)$", changelog, re.MULTILINE))

    assert CITATION["version"] == cst.__version__
    assert dates[CITATION["version"]] == str(CITATION["date-released"])


@pytest.mark.parametrize("number", PAPERS)
def test_both_papers_are_cited_alike_for_programs_and_for_readers(number):
    reference = next(r for r in CITATION["references"] if r["url"].endswith(number))
    _, *entries = re.split(r"^@", (ROOT / "README.md").read_text(encoding="utf-8"), flags=re.MULTILINE)
    entry = next(entry for entry in entries if number in entry)
    title = re.search(r"^ *title *= *\{(.*)\},$", entry, re.MULTILINE)

    assert [author["family-names"] for author in reference["authors"]] == PAPERS[number]
    assert title is not None
    assert title[1].replace("{", "").replace("}", "") == reference["title"]
    assert all(name.replace("ö", '{\\"o}') in entry for name in PAPERS[number])


def test_the_workflow_calls_what_a_contributor_calls():
    jobs = parsed(ROOT / ".github" / "workflows" / "ci.yml")["jobs"]
    commands = [step["run"] for job in jobs.values() for step in job["steps"] if "run" in step]

    assert commands == ["bash .ci/run"]
    assert (ROOT / ".ci" / "run").is_file()


@pytest.mark.parametrize("path", FORMS, ids=lambda path: path.stem)
def test_an_issue_form_is_one(path):
    """GitHub's form schema: a name, a description and a body; every field that is filled in has an id of its own."""
    form = parsed(path)
    filled_in = [field for field in form["body"] if field["type"] != "markdown"]
    ids = [field["id"] for field in filled_in]

    assert form["name"]
    assert form["description"]
    assert {field["type"] for field in form["body"]} <= FIELDS
    assert len(set(ids)) == len(ids)
    assert all(field["attributes"]["label"] for field in filled_in)


def test_there_are_forms_for_bugs_and_features():
    assert {"bug", "feature"} <= {path.stem for path in FORMS}


def test_the_picture_shows_what_it_is_drawn_from():
    """A point stands at its rates; rows of overrides (`framing`) are other questions, and no part of it."""
    spec = importlib.util.spec_from_file_location("draw", ROOT / "docs" / "draw.py")
    assert spec is not None
    assert spec.loader is not None
    draw = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(draw)
    shared = {"model": "cst", "task": "harmless", "wordings": "canonical", "temperature": 0.0, "n": 4}
    uncensored = {"configuration": "uncensored", "followed": 3, "low": 0.2, "high": 0.9}
    harmless = {"configuration": "harmless", "followed": 4, "low": 0.5, "high": 1.0}
    overridden = {**uncensored, "followed": 0, "framing": "prefix"}

    root = ElementTree.fromstring(draw.picture([shared | row for row in (uncensored, harmless, overridden)]))
    (circle,) = root.iter("{http://www.w3.org/2000/svg}circle")

    assert float(circle.attrib["cx"]) == pytest.approx(draw.LEFT + 0.75 * (draw.RIGHT - draw.LEFT), abs=0.1)
    assert float(circle.attrib["cy"]) == draw.TOP


def test_the_picture_of_the_readme_can_be_read_aloud():
    picture = ROOT / "docs" / "images" / "control.svg"
    root = ElementTree.parse(picture).getroot()

    assert root.findtext("{http://www.w3.org/2000/svg}title")
    assert root.findtext("{http://www.w3.org/2000/svg}desc")
    assert re.search(
        r'<img [^>]*src="docs/images/control.svg"[^>]*alt="[^"]+"', (ROOT / "README.md").read_text("utf-8")
    )
