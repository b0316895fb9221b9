"""Tables that are not made of scores: capabilities, paired tests, agreement, judge cards, drops, fingerprints."""

import json
from collections.abc import Sequence
from typing import Any, cast

from cst.evaluation.capability import CapabilityChange, CapabilityScore
from cst.evaluation.comparisons import PairedTest
from cst.evaluation.judge_card import (
    CorrectedScore,
    Flips,
    JudgeCard,
    PairAgreement,
    PanelAgreement,
    SideCounts,
    Statistic,
    TaskCard,
)
from cst.records import NO_CONFIGURATION, Score, Side
from cst.reporting import score_tables as paper
from cst.reporting.evidence import TaskSynthesis
from cst.reporting.score_tables import MEASURES, label
from cst.reporting.tables import (
    NOT_MEASURED,
    Counts,
    Difference,
    Heading,
    Rate,
    Row,
    Table,
    TableCell,
    number,
    p_value,
    rate_of,
)

TRUTHFULNESS = "truthful"
"""How the names of sets begin whose themes the truthfulness preferences share; there is an average without them."""


def table_iii(scores: Sequence[CapabilityScore]) -> Table | None:
    """Each set's score, the averages with and without truthfulness, and the changes against the start model."""
    if not scores:
        return None
    sets = list(dict.fromkeys(score.set for score in scores))
    others = [name for name in sets if not name.startswith(TRUTHFULNESS)]
    left_out = ", ".join(name for name in sets if name not in others)
    averages = {"average": sets, f"average without {left_out}": others}
    if not 0 < len(others) < len(sets):
        averages = {"average": sets}
    rows: list[Row] = [Heading("this run")]
    changes: list[Row] = []
    for (model, configuration), by_set in _by_model(scores).items():
        name = label(model) if configuration == NO_CONFIGURATION else f"{label(model)} ({configuration})"
        cells, moved = (
            [capability_mean(by_set.get(each)) for each in sets],
            [_change(by_set.get(each)) for each in sets],
        )
        rows.append((name, *cells, *(_average(by_set, names) for names in averages.values())))
        if any(score.change for score in by_set.values()):
            changes.append((name, *moved, *(_average_change(by_set, names) for names in averages.values())))
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
        ("model", *paper.TABLE_III.columns),
        paper.TABLE_III.rows(),
        f"{paper.CITATION}: in percent, as printed, without n or interval; the last column is computed from "
        "the others. The whole gain of the first model is TruthfulQA, whose themes its preference data share.",
    )


def _by_model(scores: Sequence[CapabilityScore]) -> dict[tuple[str, str], dict[str, CapabilityScore]]:
    found: dict[tuple[str, str], dict[str, CapabilityScore]] = {}
    for score in scores:
        found.setdefault((score.model, score.configuration), {})[score.set] = score
    return found


def capability_mean(score: CapabilityScore | None) -> TableCell:
    """The mean of a set; a dash where it wasn't asked."""
    if score is None:
        return NOT_MEASURED
    count = f"n {score.n}, {score.unscored} unscored"
    counts = Counts(n=score.n, unscored=score.unscored)
    return Rate(score.mean, score.low, score.high, count, method=score.interval, counts=counts)


def _average(by_set: dict[str, CapabilityScore], sets: Sequence[str]) -> TableCell:
    present = [by_set[name] for name in sets if name in by_set]
    means = [score.mean for score in present if score.mean is not None]
    if len(means) < len(sets):
        return NOT_MEASURED
    low = sum(score.low for score in present) / len(present)
    high = sum(score.high for score in present) / len(present)
    counts = Counts(n=sum(score.n for score in present), unscored=sum(score.unscored for score in present))
    count = f"n {counts.n}, {counts.unscored} unscored"
    return Rate(sum(means) / len(means), low, high, count, counts=counts)


def _change(score: CapabilityScore | None) -> TableCell:
    return NOT_MEASURED if score is None else capability_change(score, score.change)


def capability_change(score: CapabilityScore, change: CapabilityChange | None) -> TableCell:
    """How a score differs from another one, paired by item; a dash where nothing pairs."""
    if change is None:
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
    difference, low, high = (
        sum(values) / len(changes) for values in zip(*((c.difference, c.low, c.high) for c in changes), strict=True)
    )
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
        rows += [_test_row(test, short=first_only) for test in kept if (test.model_a, test.model_b) == models]
    return Table(
        "Paired tests" if first_only else "Every paired test",
        ("configuration", "difference", "only the first", "only the second", "p"),
        tuple(rows),
        "Exact two-sided McNemar tests on the same prompts; p-values aren't corrected for their number. Differences of "
        "rates with Newcombe's 95 % interval; \N{DAGGER} where prompts hang together in groups: of as many independent "
        "pairs as they are worth.",
    )


def _test_row(test: PairedTest, *, short: bool) -> Row:
    name = f"{test.configuration} (task {test.task})"
    if not short:
        name += f", {test.wordings}, T = {test.temperature:g}{f', {test.framing}' if test.framing else ''}"
    count = f"n {test.n}, {test.unscored} unscored"
    counts = Counts(n=test.n, unscored=test.unscored)
    difference = Difference(test.difference, test.low, test.high, count, method=test.interval, counts=counts)
    return name, difference, str(test.only_a), str(test.only_b), p_value(test.p_value)


def agreement(tasks: Sequence[PanelAgreement]) -> Table | None:
    """Kappa of each two judges of a panel, and of all where there are more, task by task."""
    if not tasks:
        return None
    rows: list[Row] = []
    for task in tasks:
        rows += [Heading(f"task {task.task}"), *(_pair_row(pair) for pair in task.pairs)]
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


def _pair_row(pair: PairAgreement) -> Row:
    kappa = pair.kappa
    cell = Rate(kappa.value, kappa.low, kappa.high, f"n {kappa.n}", counts=Counts(n=kappa.n))
    return f"{pair.first} and {pair.second}", cell, f"{pair.agree}/{kappa.n}"


def synthesis(tasks: Sequence[TaskSynthesis]) -> Table | None:
    """Prompts, pairs, and every reason for which a prompt gave no pair."""
    if not tasks:
        return None
    rows: list[Row] = []
    for task in tasks:
        rows += [Heading(f"task {task.task}"), ("prompts", str(task.prompts)), ("pairs", str(task.pairs))]
        rows += [(f"dropped: {reason.replace('_', ' ')}", str(count)) for reason, count in task.drops.items()]
    return Table("What came of the prompts", ("", "count"), tuple(rows))


def fingerprints(value: object) -> Table | None:
    """Every fingerprint by its dotted name."""
    rows = tuple(flat(value).items())
    return Table("Fingerprints", ("of", "value"), rows) if rows else None


def flat(value: object, name: str = "") -> dict[str, str]:
    """The values within a JSON value as text, each by its dotted name; what is null or empty has no line."""
    if value is None:
        return {}
    if isinstance(value, dict):
        inner = [(f"{name}.{key}" if name else str(key), each) for key, each in cast(dict[str, Any], value).items()]
    elif isinstance(value, list):
        inner = [(f"{name}.{index}", each) for index, each in enumerate(cast(list[Any], value))]
    else:
        return {name: str(value)}
    return {dotted: text for key, each in inner for dotted, text in flat(each, key).items()}


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


def _figure(figure: Statistic) -> Rate:
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


def _corrected(score: CorrectedScore) -> TableCell:
    remark = "truncated to [0, 1]" if score.is_truncated else ""
    if score.undefined:
        remark = f"undefined: {score.undefined}"
    return Rate(score.value, score.low, score.high, f"n {score.n}", remark, counts=Counts(n=score.n))
