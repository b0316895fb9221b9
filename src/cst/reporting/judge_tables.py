"""Tables on judges: how far those of a panel agree, how often one errs, and scores corrected for its errors.

This file knows the records of `judge_card`. It does not know where a table is shown.
"""

import json
from collections.abc import Sequence

from cst.evaluation.judge_card import CorrectedScore, JudgeCard, PanelAgreement, Statistic, Statistics, TaskCard
from cst.records import Score, Side
from cst.reporting.score_tables import greedy, label, models_of, score_name
from cst.reporting.tables import NOT_MEASURED, Counts, Heading, Rate, Row, Table, number, rate_of


def agreement(tasks: Sequence[PanelAgreement]) -> Table | None:
    """Kappa of each two judges of a panel, and of all where there are more, task by task."""
    if not tasks:
        return None
    rows: list[Row] = []
    for task in tasks:
        rows.append(Heading(f"task {task.task}"))
        for pair in task.pairs:
            kappa = pair.kappa
            cell = Rate(kappa.value, kappa.low, kappa.high, f"n {kappa.n}", counts=Counts(n=kappa.n))
            rows.append((f"{pair.first} and {pair.second}", cell, f"{pair.agree}/{kappa.n}"))
        if len(task.judges) > 2:
            fleiss = NOT_MEASURED if task.fleiss is None else number(task.fleiss)
            rows.append((f"all {len(task.judges)} (Fleiss)", fleiss, f"n {task.n}, {task.left_out} left out"))
    return Table(
        "Agreement beyond chance",
        ("judges", "kappa", "the same side seen"),
        tuple(rows),
        "Cohen's kappa with its 95 % interval (Fleiss, Cohen and Everitt 1969), and Fleiss' kappa of more than two: 1 "
        "is full agreement, 0 what chance would give. Answers of which a judge has no opinion are left out.",
    )


def card_table(card: JudgeCard) -> Table:
    """Everything that a card says, one column a task."""
    rows: list[Row] = [Heading(f"positive class: {card.positive}")]
    for name in Statistics.model_fields:
        rows.append((name.capitalize(), *(_rate(getattr(task.figures, name)) for task in card.tasks)))
    rows.append(Heading("labelled answers: called original, called revised, unscored (of them refused)"))
    rows += [(f"labelled {side}", *(_counts(task, side) for task in card.tasks)) for side in Side]
    rows.append(Heading("verdicts that a suffix flips: flipped of n, and how many were lost"))
    for index, flips in enumerate(card.tasks[0].flips):
        of_tasks = [task.flips[index] for task in card.tasks]
        cells = (_rate(f.rate, count=f"{f.flipped}/{f.rate.n}, {f.lost} lost") for f in of_tasks)
        rows.append((f"{flips.suffix.replace('_', ' ')}, had said {flips.said}", *cells))
    columns = ("", *(f"task {task.task}" for task in card.tasks))
    return Table(f"Judge card: {card.judge}", columns, tuple(rows), _note(card))


def _note(card: JudgeCard) -> str:
    labels = ", ".join(f"{name} as {side}" for name, side in card.labels.items())
    return (
        f"Labelled answers: {card.labelled} (SHA-256 {card.labelled_sha256}), labels read as: {labels}. Judge "
        f"settings: {json.dumps(card.settings, sort_keys=True)}, fingerprint {card.fingerprint}. Unscored answers are "
        "in no figure. Wilson's intervals; kappa's is Fleiss, Cohen and Everitt's (1969)."
    )


def _counts(task: TaskCard, side: Side) -> str:
    counts = task.confusion.of(side)
    called = {side: counts.right, side.other: counts.wrong}
    return f"{called[Side.ORIGINAL]}, {called[Side.REVISED]}, {counts.unscored} ({counts.refused})"


def _rate(found: Statistic | CorrectedScore, *, count: str = "", remark: str = "") -> Rate:
    remark = f"undefined: {found.undefined}" if found.undefined else remark
    return Rate(found.value, found.low, found.high, count or f"n {found.n}", remark, counts=Counts(n=found.n))


def corrected_table(scores: Sequence[Score], corrected: Sequence[CorrectedScore]) -> Table | None:
    """Greedy scores under first wordings beside what they would be if the judge never erred."""
    found = {(s.model, s.task, s.configuration, s.framing): s for s in greedy(corrected)}
    kept = [s for s in greedy(scores) if (s.model, s.task, s.configuration, s.framing) in found]
    if not kept:
        return None
    rows: list[Row] = []
    for model in models_of(kept):
        rows.append(Heading(label(model)))
        for s in (score for score in kept if score.model == model):
            estimate = found[s.model, s.task, s.configuration, s.framing]
            cell = _rate(estimate, remark="truncated to [0, 1]" if estimate.is_truncated else "")
            rows.append((score_name(s), rate_of(s), cell))
    return Table(
        "Scores corrected for the judge's errors",
        ("score", "as judged", "corrected"),
        tuple(rows),
        "Rogan and Gladen's estimate (1978) from the card's rates of right verdicts, with Lang and Reiczigel's "
        "interval (2014), which knows the size of the card. It holds where the labelled answers are like the scored "
        "ones.",
    )
