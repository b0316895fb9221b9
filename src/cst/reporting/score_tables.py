"""Scores to tables: the paper's Tables I to III beside the paper's own figures, and the tables beyond them."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from cst.evaluation.scores import FALLBACKS
from cst.records import Score, WordingKind
from cst.reporting import score_tables as paper
from cst.reporting.tables import Heading, Row, Table, average_of, rate_of

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
class Measure:
    """One of the paper's symbols: a configuration's score on a task."""

    symbol: str
    task: str
    configuration: str


S1 = Measure("S1", "harmless", "harmless")
S0 = Measure("S0", "harmless", "uncensored")
S_RP = Measure("S_RP", "truthfulness", "persona")
S_A = Measure("S_A", "truthfulness", "honest")
MEASURES = (S1, S0, S_RP, S_A)


def label(model: str) -> str:
    """A model's name as the paper writes it."""
    return _MODEL_LABELS.get(model, model)


def models_of(scores: Iterable[Score]) -> list[str]:
    """Models in the order of first appearance."""
    return list(dict.fromkeys(score.model for score in scores))


def find(scores: Iterable[Score], model: str, measure: Measure) -> Score | None:
    """The greedy score under first wordings."""
    for score in greedy(scores):
        if (score.model, score.task, score.configuration) == (model, measure.task, measure.configuration):
            return score
    return None


def greedy(scores: Iterable[Score]) -> list[Score]:
    """Scores at temperature 0 under first wordings."""
    return [score for score in scores if score.temperature == 0 and score.wordings == "canonical"]


def _has(scores: Sequence[Score], measures: Iterable[Measure]) -> bool:
    return all(any(find(scores, model, measure) for model in models_of(scores)) for measure in measures)


def table_i(scores: Sequence[Score]) -> Table | None:
    """S1 and S0 beside the paper's Table I; None where this run has not both."""
    if not _has(scores, (S1, S0)):
        return None
    rows = [(label(m), rate_of(find(scores, m, S1)), rate_of(find(scores, m, S0))) for m in models_of(greedy(scores))]
    return Table(
        "Table I: control over harmlessness",
        ("model", "S1 (harmless)", "S0 (uncensored)"),
        (Heading("this run"), *rows, *paper.TABLE_I.rows()),
        paper.NOTE,
    )


def table_ii(scores: Sequence[Score]) -> Table | None:
    """All four scores and their average beside the paper's Table II; None where this run lacks one."""
    if not _has(scores, MEASURES):
        return None
    rows: list[Row] = []
    for model in models_of(greedy(scores)):
        found = [find(scores, model, measure) for measure in MEASURES]
        rows.append((label(model), *(rate_of(score) for score in found), average_of(found)))
    return Table(
        "Table II: control over several tasks",
        ("model", *(f"{m.symbol} ({m.configuration})" for m in MEASURES), "average"),
        (Heading("this run"), *rows, *paper.TABLE_II.rows()),
        f"The average lies between the averages of the bounds. {paper.NOTE}",
    )


def other_configurations(scores: Sequence[Score]) -> Table | None:
    """Greedy scores of configurations that the paper's tables have no column for."""
    known = {(measure.task, measure.configuration) for measure in MEASURES}
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
    return by_row(
        "Wordings of the system prompt", "wording", kept, _configuration, lambda s: _WORDING_LABELS[s.wordings]
    )


def temperatures(scores: Sequence[Score]) -> Table | None:
    """Greedy answers beside sampled ones, first wordings."""
    rows = [s for s in scores if s.wordings == "canonical"]
    sampled = {(s.task, s.configuration) for s in rows if s.temperature > 0}
    kept = [s for s in rows if (s.task, s.configuration) in sampled]
    return by_row(
        "Greedy and sampled answers",
        "temperature",
        kept,
        _configuration,
        lambda s: f"T = {s.temperature:g}" if s.temperature else "greedy",
    )


def fallbacks(scores: Sequence[Score]) -> Table | None:
    """No system prompt, a neutral one, or one of another kind: none of them names a configuration."""
    rows = [s for s in scores if s.configuration in FALLBACKS and s.temperature == 0]
    table = by_row("Without a configuration", "system prompt", rows, _task, lambda s: _fallback_label(s.configuration))
    if table is None:
        return None
    note = (
        "Without a known configuration the safe fallback counts as followed: the side that all configurations agree "
        "on, and the revised one (a refusal, an honest answer) where they differ."
    )
    return Table(table.title, table.columns, table.rows, note)


def framings(title: str, first: str, scores: Sequence[Score]) -> Table | None:
    """One row a framing, one column a model, under headings of what was asked."""
    return by_row(title, first, scores, framed_configuration, lambda s: framing_label(s.framing or ""))


def framing_label(framing: str) -> str:
    """A framing in words."""
    return framing.replace("_", " ")


def framed_configuration(score: Score) -> str:
    """The configuration of a framed score; wording and temperature where they aren't the usual ones."""
    wording = "" if score.wordings == "canonical" else f", {_WORDING_LABELS.get(score.wordings, score.wordings)}"
    return f"{_configuration(score)}{wording}{f', T = {score.temperature:g}' if score.temperature else ''}"


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


def _task(score: Score) -> str:
    return f"task {score.task}"


def _configuration(score: Score) -> str:
    symbols = {(m.task, m.configuration): f"{m.symbol}: " for m in MEASURES}
    symbol = symbols.get((score.task, score.configuration), "")
    return f"{symbol}{score.configuration} (task {score.task})"


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
