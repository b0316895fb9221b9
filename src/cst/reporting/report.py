"""A run folder to `report.md` and `report.html`: files in, text out, the same bytes each time.

The HTML is one file that asks for nothing else and runs no script; every text that a model or a user wrote is escaped.
This file knows how pages are written. Which sections they have stands in `sections`.
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from cst.reporting import score_tables
from cst.reporting.evidence import Evidence, read_evidence
from cst.reporting.judge_tables import corrected_table
from cst.reporting.sections import Section, capability_table
from cst.reporting.sections import sections as sections_of
from cst.reporting.supervised import changes_table, rates_table
from cst.reporting.tables import INTERVAL_NOTE, Heading, Rate, Table
from cst.store import uncollected, write_text


@dataclass(frozen=True)
class Report:
    """What was written, what the terminal may show of it, and which files were not there."""

    html: Path
    markdown: Path
    tables: tuple[Table, ...]
    missing: tuple[str, ...]


@uncollected()
def render_report(folder: Path, *, sections: Sequence[Callable[[Evidence], Section]] = ()) -> Report:
    """Write both reports of a run folder; what isn't there is named and left out. Your own `sections` come last.

    Raises:
        RunFolderError: there is no such folder.
        DataError: a file of it can't be read.
    """
    evidence = read_evidence(folder)
    page = {
        "evidence": evidence,
        "sections": [*sections_of(evidence), *(section(evidence) for section in sections)],
        "interval_note": INTERVAL_NOTE,
        "judges": evidence.judges,
        "recipe": json.dumps(evidence.recipe, indent=2, ensure_ascii=False) if evidence.recipe else "",
    }
    html, markdown = folder / "report.html", folder / "report.md"
    write_text(html, page_environment(escaped=True).get_template("report.html.j2").render(page))
    write_text(markdown, page_environment(escaped=False).get_template("report.md.j2").render(page))
    return Report(html, markdown, tuple(_main_tables(evidence)), tuple(evidence.missing))


def console_tables(folder: Path) -> list[Table]:
    """The tables that close a run on the terminal; the first one's note tells how to read them all.

    Raises:
        RunFolderError: there is no such folder.
        DataError: a file of it can't be read.
    """
    first, *others = _main_tables(read_evidence(folder)) or [Table("Nothing is scored yet", ("",), ())]
    return [replace(first, note=f"{INTERVAL_NOTE} {first.note}".strip()), *others]


def _main_tables(evidence: Evidence) -> list[Table]:
    scores, sweep = evidence.scores, evidence.sweep
    if sweep is not None:
        found = [rates_table(sweep), changes_table(sweep), capability_table(evidence)]
    else:
        found = [
            score_tables.fallbacks(scores) if evidence.is_supervised else None,
            score_tables.table_i(scores),
            score_tables.table_ii(scores),
            score_tables.other_configurations(scores),
            capability_table(evidence),
            score_tables.over_refusal(scores),
            corrected_table(scores, evidence.corrected),
        ]
    return [table for table in found if table is not None]


def page_environment(*, escaped: bool, package: str = "cst.reporting") -> Environment:
    """Templates of pages with tables and figures; what they show of a model's or a user's text is escaped in HTML.

    Templates of another `package` come before the report's, and may use these.
    """
    environment = Environment(
        loader=ChoiceLoader([PackageLoader(name) for name in dict.fromkeys((package, "cst.reporting"))]),
        autoescape=escaped,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(in_markdown=in_markdown, svg=Markup)
    environment.tests.update(heading=_is_heading, rate=_is_rate)
    return environment


def _is_heading(value: object) -> bool:
    return isinstance(value, Heading)


def _is_rate(value: object) -> bool:
    return isinstance(value, Rate)


_MARKDOWN = str.maketrans({c: f"\\{c}" for c in "\\`*_[]|~#"} | {"<": "&lt;", ">": "&gt;", "&": "&amp;", "\n": "<br>"})


def in_markdown(text: object) -> str:
    """Text that shows as itself in Markdown, on one line, inside a table or out of it."""
    return str(text).replace("\r\n", "\n").replace("\r", "\n").translate(_MARKDOWN)
