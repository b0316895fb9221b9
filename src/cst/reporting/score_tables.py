"""Scores to tables: the paper's Tables I to III beside the paper's numbers, paired tests, and more.

This file knows the records of scores. It does not know where a table is shown.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

from cst.evaluation.capability import CapabilityChange, CapabilityScore
from cst.evaluation.comparisons import PairedTest
from cst.evaluation.judge_card import CorrectedScore
from cst.evaluation.robustness import JOINED, LengthMatchedScore
from cst.evaluation.scores import FALLBACKS
from cst.records import NO_CONFIGURATION, Score, WordingKind
from cst.reporting.tables import (
    NOT_MEASURED,
    Counts,
    Difference,
    Heading,
    Rate,
    Row,
    Table,
    TableCell,
    average_of,
    p_value,
    rate_of,
)

CITATION = "Gallego 2024, arXiv 2404.00495"
NOTE = (
    f"The paper ({CITATION}) prints its rates without n or interval; its published answers hold 26 prompts a "
    "configuration, where 26 of 26 has the 95 % interval [.871, 1.000]."
)


@dataclass(frozen=True)
class PaperTable:
    """One of the paper's tables: per start model, per tuning, the printed values."""

    columns: tuple[str, ...]
    values: dict[str, dict[str, str]]

    def rows(self) -> tuple[Row, ...]:
        """The values as rows of a table, a heading for each start model."""
        rows: list[Row] = []
        for start, tunings in self.values.items():
            rows.append(Heading(f"the paper, {start}"))
            rows.extend((tuning, *printed.split()) for tuning, printed in tunings.items())
        return tuple(rows)


HERMES, SOLAR = "OpenHermes-2.5-Mistral-7B", "SOLAR-10.7B-Instruct"

TABLE_I = PaperTable(
    ("S1", "S0"),
    {
        HERMES: {"base": ".73 .85", "DPO": ".96 .12", "CST": "1.00 1.00"},
        SOLAR: {"base": ".88 .65", "DPO": "1.00 .00", "CST": "1.00 .96"},
    },
)
TABLE_II = PaperTable(
    ("S1", "S0", "S_RP", "S_A", "average"),
    {
        HERMES: {"base": ".73 .90 .82 .97 .85", "DPO": "1.00 .12 .94 .91 .74", "CST": "1.00 .92 1.00 1.00 .98"},
        SOLAR: {"base": ".77 .38 .59 .94 .67", "DPO": "1.00 .00 .94 .94 .72", "CST": ".96 .96 .94 .97 .96"},
    },
)
TABLE_III = PaperTable(
    ("ARC", "HellaSwag", "MMLU", "TruthfulQA", "average", "average without TruthfulQA"),
    {
        HERMES: {"base": "64.9 84.2 63.6 52.2 66.2 70.9", "CST": "66.0 84.3 62.4 61.7 68.6 70.9"},
        SOLAR: {"base": "71.1 88.2 66.2 71.4 74.2 75.2", "CST": "70.4 88.0 66.4 72.3 74.3 74.9"},
    },
)


OVER_REFUSAL = "over_refusal"
_MODEL_LABELS = {"dpo": "DPO", "cst": "CST"}
_WORDING_LABELS: dict[WordingKind, str] = {
    "canonical": "canonical",
    "held_out": "held out of tuning",
    "unseen": "seen nowhere",
}


@dataclass(frozen=True)
class PaperScore:
    """One of the paper's symbols: a configuration's score on a task."""

    symbol: str
    task: str
    configuration: str


S1 = PaperScore("S1", "harmless", "harmless")
S0 = PaperScore("S0", "harmless", "uncensored")
S_RP = PaperScore("S_RP", "truthfulness", "persona")
S_A = PaperScore("S_A", "truthfulness", "honest")
PAPER_SCORES = (S1, S0, S_RP, S_A)


def label(model: str) -> str:
    """A model's name as the paper writes it."""
    return _MODEL_LABELS.get(model, model)


def score_name(score: Score) -> str:
    """The configuration and task of a score, after the paper's symbol where it has one."""
    symbols = {(each.task, each.configuration): f"{each.symbol}: " for each in PAPER_SCORES}
    symbol = symbols.get((score.task, score.configuration), "")
    return f"{symbol}{score.configuration} (task {score.task})"


def models_of(scores: Iterable[Score]) -> list[str]:
    """Models in the order of first appearance."""
    return list(dict.fromkeys(score.model for score in scores))


def find(scores: Iterable[Score], model: str, measure: PaperScore) -> Score | None:
    """The greedy score under first wordings."""
    wanted = model, measure.task, measure.configuration
    return next((s for s in greedy(scores) if (s.model, s.task, s.configuration) == wanted), None)


AScore = TypeVar("AScore", Score, CorrectedScore)


def greedy(scores: Iterable[AScore]) -> list[AScore]:
    """Scores at temperature 0 under first wordings."""
    return [score for score in scores if score.temperature == 0 and score.wordings == "canonical"]


def _has(scores: Sequence[Score], measures: Iterable[PaperScore]) -> bool:
    return all(any(find(scores, model, measure) for model in models_of(scores)) for measure in measures)


def table_i(scores: Sequence[Score]) -> Table | None:
    """S1 and S0 beside the paper's Table I; None where this run has not both."""
    if not _has(scores, (S1, S0)):
        return None
    rows = [(label(m), rate_of(find(scores, m, S1)), rate_of(find(scores, m, S0))) for m in models_of(greedy(scores))]
    return Table(
        "Table I: control over harmlessness",
        ("model", "S1 (harmless)", "S0 (uncensored)"),
        (Heading("this run"), *rows, *TABLE_I.rows()),
        NOTE,
    )


def table_ii(scores: Sequence[Score]) -> Table | None:
    """All four scores and their average beside the paper's Table II; None where this run lacks one."""
    if not _has(scores, PAPER_SCORES):
        return None
    rows: list[Row] = []
    for model in models_of(greedy(scores)):
        found = [find(scores, model, measure) for measure in PAPER_SCORES]
        rows.append((label(model), *(rate_of(score) for score in found), average_of(found)))
    return Table(
        "Table II: control over several tasks",
        ("model", *(f"{each.symbol} ({each.configuration})" for each in PAPER_SCORES), "average"),
        (Heading("this run"), *rows, *TABLE_II.rows()),
        f"The average lies between the averages of the bounds. {NOTE}",
    )


def other_configurations(scores: Sequence[Score]) -> Table | None:
    """Greedy scores of configurations that the paper's tables have no column for."""
    known = {(measure.task, measure.configuration) for measure in PAPER_SCORES}
    rest = [s for s in greedy(scores) if (s.task, s.configuration) not in known and s.task != OVER_REFUSAL]
    return _by_model("Control by configuration", rest, lambda s: f"{s.task}, {s.configuration}")


def over_refusal(scores: Sequence[Score]) -> Table | None:
    """Harmless look-alike requests answered, under every configuration and without one."""
    rows = [s for s in scores if s.task == OVER_REFUSAL and s.temperature == 0]
    return _by_model(
        "Harmless requests answered",
        [s for s in rows if s.wordings not in ("held_out", "unseen")],
        lambda s: s.configuration if s.configuration not in FALLBACKS else _fallback_label(s.configuration),
    )


def wordings(scores: Sequence[Score]) -> Table | None:
    """Canonical wordings beside those held out of tuning and those seen nowhere, greedy."""
    rows = [s for s in scores if s.temperature == 0 and s.configuration not in FALLBACKS and s.task != OVER_REFUSAL]
    several = {(s.task, s.configuration) for s in rows if s.wordings != "canonical"}
    kept = [s for s in rows if (s.task, s.configuration) in several]
    return by_row("Wordings of the system prompt", "wording", kept, score_name, lambda s: _WORDING_LABELS[s.wordings])


def temperatures(scores: Sequence[Score]) -> Table | None:
    """Greedy answers beside sampled ones, first wordings."""
    rows = [s for s in scores if s.wordings == "canonical"]
    sampled = {(s.task, s.configuration) for s in rows if s.temperature > 0}
    kept = [s for s in rows if (s.task, s.configuration) in sampled]
    return by_row(
        "Greedy and sampled answers",
        "temperature",
        kept,
        score_name,
        lambda s: f"T = {s.temperature:g}" if s.temperature else "greedy",
    )


def fallbacks(scores: Sequence[Score]) -> Table | None:
    """No system prompt, a neutral one, or one of another kind: none of them names a configuration."""
    rows = [s for s in scores if s.configuration in FALLBACKS and s.temperature == 0]
    table = by_row(
        "Without a configuration",
        "system prompt",
        rows,
        lambda s: f"task {s.task}",
        lambda s: _fallback_label(s.configuration),
    )
    note = (
        "Without a known configuration the safe fallback counts as followed: the side that all configurations agree "
        "on, and the revised one (a refusal, an honest answer) where they differ."
    )
    return replace(table, note=note) if table else None


def framings(title: str, first: str, scores: Sequence[Score]) -> Table | None:
    """One row a framing, one column a model, under headings of what was asked."""
    return by_row(title, first, scores, framed_configuration, lambda s: framing_label(s.framing or ""))


def framing_label(framing: str) -> str:
    """A framing in words."""
    return framing.replace("_", " ")


def framed_configuration(score: Score) -> str:
    """The configuration of a framed score; wording and temperature where they aren't the usual ones."""
    wording = "" if score.wordings == "canonical" else f", {_WORDING_LABELS.get(score.wordings, score.wordings)}"
    return f"{score_name(score)}{wording}{f', T = {score.temperature:g}' if score.temperature else ''}"


def switching(rates: Sequence[Score]) -> Table | None:
    """Switch rates, one column a model, under headings of the tasks."""
    table = by_row(
        "Switch rates",
        "configurations",
        rates,
        lambda s: f"task {s.task}",
        lambda s: s.configuration.replace(JOINED, " and "),
    )
    note = (
        "Followed: every configuration of the task was, on one prompt. Prompts on which all of them want the same side "
        "are left out, and one unscored answer makes a prompt unscored."
    )
    return replace(table, note=note) if table else None


def matched_lengths(matched: Sequence[LengthMatchedScore], scores: Sequence[Score]) -> Table | None:
    """Scores of answers of matched length beside those of all answers."""
    if not matched:
        return None
    whole = {(s.model, s.task, s.configuration): s for s in greedy(scores)}
    groups: dict[str, list[Row]] = {}
    for s in matched:
        everything = rate_of(whole.get((s.model, s.task, s.configuration)))
        row = (label(s.model), everything, rate_of(s), str(s.left_out), f"{s.median_characters:.0f}")
        groups.setdefault(framed_configuration(s), []).append(row)
    return Table(
        "Scores at equal length",
        ("model", "all answers", "answers of matched length", "left out", "median characters"),
        tuple(line for name, rows in groups.items() for line in (Heading(name), *rows)),
        "Coarsened exact matching, k to k, over bins of length that grow by 19 %. Where length alone tells two sides "
        "apart, the rates of their two configurations add up to 1; where both stay near 1, length isn't needed. "
        "Matched answers are no random share of the prompts: where the sides hardly share a length, they are mostly "
        "failures, and a sum of 1 says that length and behaviour can't be told apart, not that length rules.",
    )


def every_score(scores: Sequence[Score]) -> Table:
    """All of them, one a row."""
    rows = tuple(
        (label(s.model), s.task, s.configuration, s.wordings, s.framing or "", f"{s.temperature:g}", rate_of(s))
        for s in scores
    )
    columns = ("model", "task", "configuration", "wordings", "framing", "temperature", "followed")
    return Table("Every score", columns, rows)


def _fallback_label(name: str) -> str:
    return "no system prompt" if name == "none" else f"{name} system prompt"


Naming = Callable[[Score], str]


def _by_model(title: str, scores: Sequence[Score], column: Naming) -> Table | None:
    """One row a model, one column a kind of score."""
    if not scores:
        return None
    cells = {(score.model, column(score)): score for score in scores}
    columns = list(dict.fromkeys(name for _, name in cells))
    rows = tuple(
        (label(model), *(rate_of(cells.get((model, name))) for name in columns)) for model in models_of(scores)
    )
    return Table(title, ("model", *columns), rows)


def by_row(title: str, first: str, scores: Sequence[Score], heading: Naming, row: Naming) -> Table | None:
    """One column a model, one row a kind of score, under headings."""
    if not scores:
        return None
    models = models_of(scores)
    cells = {(heading(score), row(score), score.model): score for score in scores}
    groups: dict[str, dict[str, None]] = {}
    for head, name, _ in cells:
        groups.setdefault(head, {})[name] = None
    rows: list[Row] = []
    for head, names in groups.items():
        rows.append(Heading(head))
        rows.extend((name, *(rate_of(cells.get((head, name, model))) for model in models)) for name in names)
    return Table(title, (first, *(label(model) for model in models)), tuple(rows))


TRUTHFULNESS = "truthful"
"""How the names of sets begin whose themes the truthfulness preferences share; there is an average without them."""


def table_iii(scores: Sequence[CapabilityScore]) -> Table | None:
    """Each set's score, the averages with and without truthfulness, and the changes against the start model."""
    if not scores:
        return None
    sets = list(dict.fromkeys(score.set for score in scores))
    others = [name for name in sets if not name.startswith(TRUTHFULNESS)]
    left_out = ", ".join(name for name in sets if name not in others)
    averages = {"average": sets}
    if 0 < len(others) < len(sets):
        averages[f"average without {left_out}"] = others
    rows: list[Row] = [Heading("this run")]
    changes: list[Row] = []
    groups: dict[tuple[str, str], dict[str, CapabilityScore]] = {}
    for score in scores:
        groups.setdefault((score.model, score.configuration), {})[score.set] = score
    for (model, configuration), by_set in groups.items():
        name = label(model) if configuration == NO_CONFIGURATION else f"{label(model)} ({configuration})"
        means = [average_of([by_set.get(each) for each in names]) for names in averages.values()]
        rows.append((name, *(capability_mean(by_set.get(each)) for each in sets), *means))
        if any(score.change for score in by_set.values()):
            moved = [_average_change(by_set, names) for names in averages.values()]
            changes.append((name, *(capability_change(s, s and s.change) for s in map(by_set.get, sets)), *moved))
    if changes:
        rows += [Heading("change against the start model, same items"), *changes]
    return Table("Table III: capabilities", ("model", *sets, *averages), tuple(rows), _how_asked(scores))


def _how_asked(scores: Sequence[CapabilityScore]) -> str:
    alike: dict[str, dict[str, None]] = {}
    for score in scores:
        alike.setdefault(f"{score.metric}, {score.num_fewshot} worked examples", {})[score.set] = None
    asked = "; ".join(f"{', '.join(sets)}: {how}" for how, sets in alike.items())
    templates = {score.chat_template for score in scores} - {None}
    through = "through the chat template" if templates else "as plain text"
    return (
        f"Answered {through}, by the log-probs of the given answers (lm-eval). {asked}. The mean "
        "over items: 95 % Wilson interval where an item is right or wrong, a bootstrap over items where it is a share. "
        "Changes are paired by item: Newcombe's interval and the exact McNemar test; of shares, a bootstrap over "
        "items. An average lies between the means of its sets' bounds: wide enough however they hang together."
    )


def table_iii_of_the_paper() -> Table:
    """The paper's own Table III, on its own sets."""
    return Table(
        "Table III of the paper",
        ("model", *TABLE_III.columns),
        TABLE_III.rows(),
        f"{CITATION}: in percent, as printed, without n or interval; the last column is computed from "
        "the others. The whole gain of the first model is TruthfulQA, whose themes its preference data share.",
    )


def capability_mean(score: CapabilityScore | None) -> TableCell:
    """The mean of a set; a dash where it wasn't asked."""
    if score is None:
        return NOT_MEASURED
    count = f"n {score.n}, {score.unscored} unscored"
    counts = Counts(n=score.n, unscored=score.unscored)
    return Rate(score.mean, score.low, score.high, count, method=score.interval, counts=counts)


def capability_change(score: CapabilityScore | None, change: CapabilityChange | None) -> TableCell:
    """How a score differs from another one, paired by item; a dash where nothing pairs."""
    if score is None or change is None:
        return NOT_MEASURED
    counts = Counts(n=score.n, unscored=score.unscored)
    if change.p_value is None:
        count = f"n {score.n}"
        return Difference(change.difference, change.low, change.high, count, method="bootstrap", counts=counts)
    count = f"{change.only_model} gained, {change.only_against} lost of {score.n}"
    remark = f"p {p_value(change.p_value)}"
    return Difference(change.difference, change.low, change.high, count, remark, counts=counts)


def _average_change(by_set: dict[str, CapabilityScore], sets: Sequence[str]) -> TableCell:
    changes = [change for name in sets if name in by_set and (change := by_set[name].change)]
    if len(changes) < len(sets):
        return NOT_MEASURED
    values = zip(*((each.difference, each.low, each.high) for each in changes), strict=True)
    difference, low, high = (sum(each) / len(changes) for each in values)
    counts = Counts(n=sum(by_set[name].n for name in sets))
    return Difference(difference, low, high, f"n {counts.n}", counts=counts)


def paired_tests(tests: Sequence[PairedTest], *, first_only: bool = True) -> Table | None:
    """Exact McNemar tests; `first_only` leaves out other wordings, temperatures and framings."""
    kept = [t for t in tests if not first_only or (t.temperature == 0 and t.wordings == "canonical" and not t.framing)]
    if not kept:
        return None
    rows: list[Row] = []
    for models in dict.fromkeys((test.model_a, test.model_b) for test in kept):
        a, b = (label(model) for model in models)
        rows.append(Heading(f"{a} against {b}"))
        for test in (each for each in kept if (each.model_a, each.model_b) == models):
            name = f"{test.configuration} (task {test.task})"
            if not first_only:
                name += f", {test.wordings}, T = {test.temperature:g}{f', {test.framing}' if test.framing else ''}"
            count, counts = f"n {test.n}, {test.unscored} unscored", Counts(n=test.n, unscored=test.unscored)
            difference = Difference(test.difference, test.low, test.high, count, method=test.interval, counts=counts)
            rows.append((name, difference, str(test.only_a), str(test.only_b), p_value(test.p_value)))
    return Table(
        "Paired tests" if first_only else "Every paired test",
        ("configuration", "difference", "only the first", "only the second", "p"),
        tuple(rows),
        "Exact two-sided McNemar tests on the same prompts; p-values aren't corrected for their number. Differences of "
        "rates with Newcombe's 95 % interval; \N{DAGGER} where prompts hang together in groups: of as many independent "
        "pairs as they are worth.",
    )
