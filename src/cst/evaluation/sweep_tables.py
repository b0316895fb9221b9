"""Tables of a sweep: every rate by N, each N against N = 0, and the judge's own numbers. It knows no files."""

from collections.abc import Iterable, Sequence

from cst.evaluation.comparisons import PairedTest
from cst.evaluation.sweep import MEASURES, Measure, Sweep, SweepMean
from cst.evaluation.tables import NOT_MEASURED, Cell, Counts, Difference, Heading, Rate, Row, Table, p_value, rate_of

_WHAT = (
    "N: how many safety examples were among the rows of training. Harmfulness: the share of answers to hazardous "
    "requests that show the original side, which does what was asked. Exaggerated safety: the share of answers to "
    "harmless look-alikes that show the revised side, which refuses. Counted are the answers that show that side; "
    "lower is better in both."
)

START = "start model"


def n_label(safety_examples: int | None) -> str:
    """N as a column and a text have it; the start model has none."""
    return START if safety_examples is None else f"N = {safety_examples}"


def rates_table(sweep: Sweep) -> Table | None:
    """One row an N, one column a measure."""
    rates = [rate for rate in sweep.rates if rate.topic is None]
    if not rates:
        return None
    cells = {(rate.safety_examples, rate.measure): rate_of(rate) for rate in rates}
    return Table("Safety examples", ("N", *(measure.label for measure in MEASURES)), tuple(_by_n(cells)), _WHAT)


def _by_n(cells: dict[tuple[int | None, Measure], Cell]) -> Iterable[Row]:
    for n in dict.fromkeys(n for n, _ in cells):
        yield (START if n is None else str(n), *(cells.get((n, measure), NOT_MEASURED) for measure in MEASURES))


def topics_table(sweep: Sweep) -> Table | None:
    """One row a topic, one column an N, under a heading for each measure."""
    rates = [rate for rate in sweep.rates if rate.topic is not None]
    if not rates:
        return None
    columns = list(dict.fromkeys(rate.safety_examples for rate in rates))
    cells = {(rate.measure, rate.topic, rate.safety_examples): rate for rate in rates}
    rows: list[Row] = []
    for measure in dict.fromkeys(rate.measure for rate in rates):
        rows.append(Heading(measure.label))
        for topic in dict.fromkeys(rate.topic for rate in rates if rate.measure == measure):
            rows.append((topic or "", *(rate_of(cells.get((measure, topic, n))) for n in columns)))
    return Table("Safety examples by topic", ("topic", *map(n_label, columns)), tuple(rows))


def changes_table(sweep: Sweep) -> Table | None:
    """One row an N, each less N = 0 on the same prompts, one column a measure."""
    if not sweep.tests:
        return None
    counts = {rate.model: rate.safety_examples for rate in sweep.rates}
    of_task = {shown.task: measure for measure, shown in MEASURES.items()}
    cells = {(counts[test.model_a], of_task[test.task]): _change(test) for test in sweep.tests}
    return Table(
        "Against no safety examples",
        ("N", *(f"change of {measure.label}" for measure in MEASURES)),
        tuple(_by_n(cells)),
        "Each model less that of N = 0 on the same prompts: exact two-sided McNemar test, Newcombe's 95 % interval for "
        "pairs, wider where prompts hang together in groups (\N{DAGGER}). p-values aren't corrected for their number.",
    )


def _change(test: PairedTest) -> Cell:
    count = f"{test.only_a} more, {test.only_b} less of {test.n}, {test.unscored} unscored"
    counts = Counts(n=test.n, unscored=test.unscored)
    remark = f"p {p_value(test.p_value)}"
    return Difference(test.difference, test.low, test.high, count, remark, test.interval, counts)


def means_table(sweep: Sweep, judges: Sequence[str]) -> Table | None:
    """One row an N, one column a measure; `judges` say whose numbers they are."""
    if not sweep.means:
        return None
    cells = {(mean.safety_examples, mean.measure): _mean(mean) for mean in sweep.means}
    return Table(
        "Safety examples, the judge's numbers",
        ("N", *(f"mean number, {measure.label}" for measure in MEASURES)),
        tuple(_by_n(cells)),
        f"Means of the numbers from which {', '.join(judges) or 'the judge'} read its verdicts, on its own scale, with "
        "a 95 % percentile bootstrap, which takes the answers for independent. Answers without a number are unscored.",
    )


def _mean(mean: SweepMean) -> Cell:
    counts = Counts(n=mean.n, unscored=mean.unscored)
    count = f"n {mean.n}, {mean.unscored} unscored"
    return Rate(mean.mean, mean.low, mean.high, count, method=mean.interval, counts=counts)


def best_sentence(sweep: Sweep) -> str:
    """Which N is best, by which rule, with its rates and those of N = 0."""
    if sweep.best is None:
        return "No best N is named: that takes both measures."
    beside = "" if sweep.best == 0 else f" At N = 0: {_rates_at(sweep, 0) or 'not measured'}."
    return (
        f"Best N: {sweep.best}, with the lowest sum of both measures ({_rates_at(sweep, sweep.best)}). Both count the "
        "same (Youden's index), of equal sums the smaller N is taken, and it is picked by the answers that are shown: "
        f"its rates flatter it a little.{beside}"
    )


def _rates_at(sweep: Sweep, n: int) -> str:
    found = [rate for rate in sweep.rates if rate.safety_examples == n and rate.topic is None]
    return ", ".join(f"{rate.measure.label} {rate_of(rate)}" for rate in found)
