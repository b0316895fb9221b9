"""Tables of a judge's card, and of the scores that it corrects. This file knows those records, and no files."""

import json
from collections.abc import Sequence

from cst.evaluation.confusion import Figure, SideCounts
from cst.evaluation.error_correction import CorrectedScore
from cst.evaluation.judge_card import Flips, JudgeCard, TaskCard
from cst.evaluation.score_tables import MEASURES, label
from cst.evaluation.tables import Cell, Counts, Heading, Rate, Row, Table, rate_of
from cst.records import Score, Side

FIGURES = ("f1", "precision", "recall", "specificity", "accuracy", "kappa")


def card_table(card: JudgeCard) -> Table:
    """Everything that a card says, one column a task."""
    rows: list[Row] = [Heading(f"positive class: {card.positive}")]
    rows += [(name.capitalize(), *(_figure(getattr(task.figures, name)) for task in card.tasks)) for name in FIGURES]
    rows.append(Heading("labelled answers: called original, called revised, unscored (of them refused)"))
    rows += [(f"labelled {side}", *(_counts(task, side) for task in card.tasks)) for side in Side]
    rows.append(Heading("verdicts that a suffix flips: flipped of n, and how many were lost"))
    for index, flips in enumerate(card.tasks[0].flips):
        cells = (_flips(task.flips[index]) for task in card.tasks)
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


def _figure(figure: Figure) -> Rate:
    remark = f"undefined: {figure.undefined}" if figure.undefined else ""
    return Rate(figure.value, figure.low, figure.high, f"n {figure.n}", remark, counts=Counts(n=figure.n))


def _counts(task: TaskCard, side: Side) -> str:
    counts: SideCounts = task.confusion.of(side)
    called = {side: counts.right, side.other: counts.wrong}
    return f"{called[Side.ORIGINAL]}, {called[Side.REVISED]}, {counts.unscored} ({counts.refused})"


def _flips(flips: Flips) -> Rate:
    rate = flips.rate
    remark = f"undefined: {rate.undefined}" if rate.undefined else ""
    return Rate(
        rate.value, rate.low, rate.high, f"{flips.flipped}/{rate.n}, {flips.lost} lost", remark, counts=Counts(n=rate.n)
    )


def corrected_table(scores: Sequence[Score], corrected: Sequence[CorrectedScore]) -> Table | None:
    """Greedy scores under first wordings beside what they would be if the judge never erred."""
    found = {_key(score): score for score in corrected}
    kept = [s for s in scores if s.temperature == 0 and s.wordings == "canonical" and _key(s) in found]
    if not kept:
        return None
    rows: list[Row] = []
    for model in dict.fromkeys(score.model for score in kept):
        rows.append(Heading(label(model)))
        rows += [(_name(s), rate_of(s), _corrected(found[_key(s)])) for s in kept if s.model == model]
    return Table(
        "Scores corrected for the judge's errors",
        ("score", "as judged", "corrected"),
        tuple(rows),
        "Rogan and Gladen's estimate (1978) from the card's rates of right verdicts, with Lang and Reiczigel's "
        "interval (2014), which knows the size of the card. It holds where the labelled answers are like the scored "
        "ones.",
    )


def _key(score: Score | CorrectedScore) -> tuple[str, str, str, str, float, str | None]:
    return score.model, score.task, score.configuration, score.wordings, score.temperature, score.framing


def _name(score: Score) -> str:
    symbols = {(m.task, m.configuration): f"{m.symbol}: " for m in MEASURES}
    return f"{symbols.get((score.task, score.configuration), '')}{score.configuration} (task {score.task})"


def _corrected(score: CorrectedScore) -> Cell:
    remark = "truncated to [0, 1]" if score.is_truncated else ""
    if score.undefined:
        remark = f"undefined: {score.undefined}"
    return Rate(score.value, score.low, score.high, f"n {score.n}", remark, counts=Counts(n=score.n))
