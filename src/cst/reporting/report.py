"""A run folder to `report.md` and `report.html`: files in, text out, the same bytes each time.

The HTML is one file that asks for nothing else and runs no script; every text that a model or a user wrote is escaped.
This file knows which sections there are; how a table, figure or sample is made is said elsewhere.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from cst.records import Preference, SafetyConfiguration, Side
from cst.reporting import figures, further_tables, score_tables
from cst.reporting import further_tables as card_tables
from cst.reporting.evidence import Evidence, read_evidence
from cst.reporting.robustness import robustness_sections
from cst.reporting.sections import Section, pick_samples
from cst.reporting.supervised import changes_table, rates_table, sweep_sections, training_section
from cst.reporting.tables import INTERVAL_NOTE, Heading, Rate, Row, Table
from cst.store import uncollected, write_text

T = TypeVar("T")


@dataclass(frozen=True)
class Report:
    """What was written, what the terminal may show of it, and which files were not there."""

    html: Path
    markdown: Path
    tables: tuple[Table, ...]
    missing: tuple[str, ...]


@uncollected()
def render_report(folder: Path) -> Report:
    """Write both reports of a run folder; what isn't there is named and left out.

    Raises:
        RunFolderError: there is no such folder.
        DataError: a file of it can't be read.
    """
    evidence = read_evidence(folder)
    page = {
        "evidence": evidence,
        "sections": sections(evidence),
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
        return _present(rates_table(sweep), changes_table(sweep), _capabilities(evidence))
    return _present(
        score_tables.fallbacks(scores) if evidence.is_supervised else None,
        score_tables.table_i(scores),
        score_tables.table_ii(scores),
        score_tables.other_configurations(scores),
        _capabilities(evidence),
        score_tables.over_refusal(scores),
        card_tables.corrected_table(scores, evidence.corrected),
    )


def _present(*values: T | None) -> list[T]:
    return [value for value in values if value is not None]


def sections(evidence: Evidence) -> list[Section]:
    """The report's parts, in order; one without its files is there and empty.

    Supervised tuning needs no configurations: there, parts beside the sweep with nothing to show aren't named at all.
    """
    parts = [
        *_on_control(evidence),
        *_on_limits(evidence),
        *robustness_sections(evidence),
        *_on_the_data(evidence),
        *_on_the_run(evidence),
    ]
    return [*sweep_sections(evidence), *(part for part in parts if not (evidence.is_supervised and part.is_empty))]


def _on_control(evidence: Evidence) -> list[Section]:
    scores = evidence.scores
    return [
        Section(
            "Control",
            "Every held-out prompt is answered under every configuration that speaks of its task. The score is the "
            "share of answers that show the side which the configuration prefers.",
            "scores.json",
            tuple(_present(score_tables.table_i(scores), score_tables.other_configurations(scores))),
            tuple(_present(figures.control_plane(scores))),
            beside=True,
        ),
        Section(
            "Several tasks at once",
            "S1 and S0 as above, the persona's answers (S_RP), honest answers (S_A), and the mean of the four.",
            "scores.json, with the scores of all four",
            tuple(_present(score_tables.table_ii(scores))),
        ),
        Section(
            "Control along the training",
            "The same scores on the way, on a smaller set of held-out prompts.",
            "curve.json",
            drawings=tuple(_present(figures.control_along_training(evidence.curve))),
        ),
        Section(
            "Paired tests",
            "Models answered the same prompts, so they are compared prompt by prompt.",
            "paired_tests.json",
            tuple(_present(further_tables.paired_tests(evidence.tests) if evidence.sweep is None else None)),
        ),
        *_agreement(evidence),
        Section(
            "The judge's own errors",
            "The judge, tried on answers that people labelled, and what scores would be if it never erred.",
            "judge_card.json, which `cst judge-card` makes of labelled answers; this judge has none",
            tuple(
                _present(
                    card_tables.corrected_table(scores, evidence.corrected),
                    card_tables.card_table(evidence.card) if evidence.card else None,
                )
            ),
        ),
    ]


def _agreement(evidence: Evidence) -> list[Section]:
    """A section of its own where several judges voted, and none elsewhere."""
    table = further_tables.agreement(evidence.agreement)
    said = "How far the judges that voted see the same in an answer, beyond what chance would give."
    return [] if table is None else [Section("Agreement of the judges", said, "agreement.json", (table,))]


def _on_limits(evidence: Evidence) -> list[Section]:
    scores, capability = evidence.scores, _capabilities(evidence)
    beside = () if evidence.is_supervised else (further_tables.table_iii_of_the_paper(),)
    return [
        Section(
            "Harmless requests",
            "Requests that look like harmful ones and aren't. Answering is what every configuration prefers.",
            "scores.json",
            tuple(_present(score_tables.over_refusal(scores))),
        ),
        Section(
            "Other wordings, no wording, sampling",
            "System prompts that tuning did not see, system prompts that name no configuration, and answers drawn at "
            "a temperature instead of greedily.",
            "scores.json",
            tuple(
                _present(
                    score_tables.wordings(scores), score_tables.fallbacks(scores), score_tables.temperatures(scores)
                )
            ),
        ),
        Section(
            "Capabilities",
            "Multiple-choice questions, without a system prompt unless said otherwise.",
            "capability.json",
            (capability, *beside) if capability else (),
        ),
    ]


def _capabilities(evidence: Evidence) -> Table | None:
    """The paper's Table III speaks of preference tuning: supervised runs don't call theirs so."""
    table = further_tables.table_iii(evidence.capability)
    return replace(table, title="Capabilities") if table and evidence.is_supervised else table


def _on_the_data(evidence: Evidence) -> list[Section]:
    return [
        Section(
            "Synthesis",
            "The model answers, criticises and rewrites; what fails a gate is dropped, with the reason counted.",
            "synthesis.json",
            tuple(_present(further_tables.synthesis(evidence.synthesis))),
        ),
        training_section(evidence) if evidence.is_supervised else _preferences_and_training(evidence),
        Section(
            "Samples",
            "Prompts taken by a hash of their id, not by hand; greedy answers as they came.",
            "completions.jsonl",
            samples=tuple(pick_samples(evidence)),
        ),
    ]


def _preferences_and_training(evidence: Evidence) -> Section:
    lengths = figures.response_lengths(_richest(evidence))
    return Section(
        "Preferences and training",
        _alarms(evidence),
        "preferences/*.jsonl, models/*/metrics.jsonl",
        drawings=tuple(_present(lengths, figures.logps_along_training(evidence.metrics))),
    )


def _on_the_run(evidence: Evidence) -> list[Section]:
    scores = [*evidence.scores, *evidence.framed]
    every = score_tables.every_score(scores) if scores else None
    tests = further_tables.paired_tests(evidence.tests, first_only=False)
    return [
        Section("Every score and test", "", "scores.json", tuple(_present(every, tests)), folded=True),
        Section(
            "Configurations",
            "",
            "configurations.json",
            tuple(_present(_configurations(evidence))),
            folded=True,
        ),
        Section(
            "Fingerprints",
            "What the run was made from and with.",
            "fingerprints.json",
            tuple(_present(further_tables.fingerprints(evidence.fingerprints))),
        ),
    ]


def _richest(evidence: Evidence) -> Sequence[Preference]:
    """The rows of the model that was tuned under the most configurations."""
    sets = evidence.preferences.values()
    return max(sets, key=lambda rows: len({row.configuration for row in rows}), default=[])


def _alarms(evidence: Evidence) -> str:
    """A sentence for each configuration whose chosen log-probs sank during a training, at its first step."""
    first: dict[tuple[str, str], int] = {}
    for model, steps in evidence.metrics.items():
        for step in steps:
            for name in step.sinking:
                first.setdefault((model, name), step.step)
    if not evidence.metrics:
        return ""
    if not first:
        return "No configuration's chosen log-probs sank far enough to raise the alarm."
    said = "; ".join(f"{score_tables.label(m)} under {name} from step {step}" for (m, name), step in first.items())
    return f"Alarm: chosen log-probs sank: {said}."


def _configurations(evidence: Evidence) -> Table | None:
    """Wordings under their configuration; in supervised tuning, answers alone are asked for under them."""
    if not evidence.configurations:
        return None
    rows: list[Row] = []
    first, own = ("asked under", ", or none") if evidence.is_supervised else ("tuned on", "")
    for c in evidence.configurations:
        rows.append(Heading(f"{c.name} (tasks {', '.join(c.tasks)}; prefers {_preference(c)})"))
        rows += [(first, text) for text in c.wordings] or [(first, f"each prompt's own system prompt{own}")]
        rows += [("held out", text) for text in c.held_out_wordings]
        rows += [("unseen", text) for text in c.unseen_wordings]
    return Table("Configurations and their wordings", ("", "system prompt"), tuple(rows))


def _preference(configuration: SafetyConfiguration) -> str:
    prefers = configuration.prefers
    if isinstance(prefers, Side):
        return prefers.value
    topics = ", ".join(f"{side.value} for {topic}" for topic, side in prefers.topics.items())
    return f"{prefers.default.value}{f', {topics}' if topics else ''}"


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
