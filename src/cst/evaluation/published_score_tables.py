"""Scores of published answers, and a judge's agreement with their ratings, as tables. This file knows no row."""

from collections.abc import Sequence

from cst.evaluation import score_tables
from cst.evaluation.published import Agreement, PublishedScore
from cst.evaluation.tables import NOT_MEASURED, Counts, Rate, Row, Table, number


def score_table(name: str, scores: Sequence[PublishedScore]) -> Table:
    """Scores with the paper's symbols, one a row."""
    symbols = {measure.configuration: f"{measure.symbol} " for measure in (score_tables.S1, score_tables.S0)}
    rows: tuple[Row, ...] = tuple(
        (f"{symbols.get(score.configuration, '')}({score.configuration})", score.system_prompt, _cell(score))
        for score in scores
    )
    note = "95 % Wilson intervals, for a table doesn't say which prompts belong together; unscored answers are in no n."
    return Table(f"Control over harmlessness in {name}", ("score", "system prompt", "followed"), rows, note)


def _cell(score: PublishedScore) -> Rate:
    total = score.n + score.unscored
    bounds = f"between {number(score.followed / total)} and {number((score.followed + score.unscored) / total)}"
    count = f"{score.followed}/{score.n}, {score.unscored} unscored"
    counts = Counts(score.n, score.followed, score.unscored)
    return Rate(score.rate, score.low, score.high, count, bounds if score.unscored else "", counts=counts)


def agreement_table(found: Agreement) -> Table:
    """A judge's agreement with the table's own ratings."""
    counted = f"{found.agreed}/{found.n}, {found.unscored} unscored"
    share = Rate(
        found.agreed / found.n if found.n else None,
        found.low,
        found.high,
        counted,
        counts=Counts(n=found.n, unscored=found.unscored),
    )
    kappa = found.kappa
    beyond = Rate(kappa.value, kappa.low, kappa.high, f"n {kappa.n}") if kappa.value is not None else NOT_MEASURED
    note = "Of the answers that both rate. Without Cohen's kappa: all ratings are alike, so that chance agrees always."
    return Table(
        f"{found.judge} against the table's ratings",
        ("", "agreement"),
        (("same rating", share), ("Cohen's kappa", beyond)),
        note if kappa.value is None else "Of the answers that both rate.",
    )
