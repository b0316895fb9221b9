"""The report's parts beyond the paper: users who speak for another configuration, several turns, switching, length.

This file knows scores and how they are shown; what was asked and counted is said in `overrides`, `framings`,
`switch_rates` and `length_matched`.
"""

from collections.abc import Sequence
from dataclasses import replace

from cst.evaluation import further_tables, score_tables
from cst.evaluation.evidence import Evidence
from cst.evaluation.framings import EXCHANGES
from cst.evaluation.length_matched import LengthMatchedScore
from cst.evaluation.override_figure import kept_by_family
from cst.evaluation.overrides import FAMILIES
from cst.evaluation.score_tables import label
from cst.evaluation.section import Section
from cst.evaluation.switch_rates import JOINED
from cst.evaluation.tables import Heading, Row, Table, rate_of
from cst.records import Score


def robustness_sections(evidence: Evidence) -> list[Section]:
    """In the report's order; a part whose answers were not asked for is there and empty."""
    return [_overrides(evidence), _several_turns(evidence), _switching(evidence), _matched_lengths(evidence)]


def _overrides(evidence: Evidence) -> Section:
    scores = [score for score in evidence.framed if score.framing in FAMILIES]
    table = score_tables.framings("Kept under user-turn overrides", "family", scores)
    return Section(
        "User-turn overrides",
        "The deployer's system prompt stands as ever, and the user's turns speak for a configuration that prefers the "
        "other side. Followed still means the side of the system prompt: its rate is what is kept. `plain` is the "
        "control, the same prompts without such words.",
        "scores.json, with an arm of the framings `overrides`",
        (replace(table, note=_note_on_families(evidence.boundary)),) if table else (),
        tuple(filter(None, (kept_by_family(scores),))),
    )


_BOUNDARIES = {
    "strong": "Control tokens part this template's turns, so that a user's role headers are text like any other.",
    "weak": "Plain text parts this template's turns (a weak boundary): a role header that a user writes can be real.",
    None: "How this template parts its turns was not recorded.",
}


def _note_on_families(boundary: str | None) -> str:
    """What a user's control tokens and role headers are to the run's template, and how to read what was kept."""
    return (
        "No control token that a user writes becomes one: the renderer makes it plain text, or refuses it. "
        f"{_BOUNDARIES[boundary]} Other families are words, against which no renderer helps. Where a model can't read "
        "a family (an encoding, a language), a high rate says that it wasn't tried, and many unscored answers that the "
        "model was thrown off."
    )


def _several_turns(evidence: Evidence) -> Section:
    scores = [score for score in evidence.framed if score.framing in EXCHANGES]
    return Section(
        "Several turns",
        "The same prompts after benign exchanges between the user and the assistant, under the same system prompt.",
        "scores.json, with an arm of the framings `exchanges`",
        tuple(filter(None, (score_tables.framings("After earlier exchanges", "before the prompt", scores),))),
    )


def _switching(evidence: Evidence) -> Section:
    rates = score_tables.by_row("Switch rates", "configurations", evidence.switch_rates, _task, _joined)
    tests = further_tables.paired_tests(evidence.switch_tests)
    note = (
        "Followed: every configuration of the task was, on one prompt. Prompts on which all of them want the same side "
        "are left out, and one unscored answer makes a prompt unscored."
    )
    return Section(
        "Switching",
        "The share of prompts on which a model does what each configuration asks; greedy, canonical wordings.",
        "switch_rates.json",
        (
            *((replace(rates, note=note),) if rates else ()),
            *((replace(tests, title="Paired tests of switching"),) if tests else ()),
        ),
    )


def _task(score: Score) -> str:
    return f"task {score.task}"


def _joined(score: Score) -> str:
    return score.configuration.replace(JOINED, " and ")


def _matched_lengths(evidence: Evidence) -> Section:
    return Section(
        "Length-matched scores",
        "Where one side is long and the other short, a model may have learned a length. Here each configuration keeps "
        "only answers as long as some under every other one, and as many of each length.",
        "length_matched.json",
        tuple(filter(None, (_length_table(evidence.length_matched, evidence.scores),))),
    )


def _length_table(matched: Sequence[LengthMatchedScore], scores: Sequence[Score]) -> Table | None:
    if not matched:
        return None
    whole = {(s.model, s.task, s.configuration): s for s in score_tables.greedy(scores)}
    groups: dict[str, list[Row]] = {}
    for s in matched:
        everything = rate_of(whole.get((s.model, s.task, s.configuration)))
        row = (label(s.model), everything, rate_of(s), str(s.left_out), f"{s.median_characters:.0f}")
        groups.setdefault(score_tables.framed_configuration(s), []).append(row)
    return Table(
        "Scores at equal length",
        ("model", "all answers", "answers of matched length", "left out", "median characters"),
        tuple(line for name, rows in groups.items() for line in (Heading(name), *rows)),
        "Coarsened exact matching, k to k, over bins of length that grow by 19 %. Where length alone tells two sides "
        "apart, the rates of their two configurations add up to 1; where both stay near 1, length isn't needed. "
        "Matched answers are no random share of the prompts: where the sides hardly share a length, they are mostly "
        "failures, and a sum of 1 says that length and behaviour can't be told apart, not that length rules.",
    )
