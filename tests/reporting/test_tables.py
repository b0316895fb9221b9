from pathlib import Path

import pytest
from made_for_evaluation import CONFIGURATIONS, completion, prompt, verdicts

from cst.evaluation.intervals import IntervalMethod
from cst.evaluation.scores import outcomes, score
from cst.records import Score, Side
from cst.reporting.evidence import read_evidence
from cst.reporting.sections import pick_samples
from cst.reporting.tables import NOT_MEASURED, Difference, Heading, Rate, Table, average_of, number, p_value, rate_of


def scored(followed: int, n: int, unscored: int = 0) -> Score:
    sides = [Side.REVISED] * followed + [Side.ORIGINAL] * (n - followed) + [None] * unscored
    answers = [completion(prompt(f"p{i}")) for i in range(len(sides))]
    [made] = score(answers, verdicts(answers, sides), CONFIGURATIONS)
    return made


@pytest.mark.parametrize(
    ("value", "signed", "text"),
    [
        (0.975, False, ".975"),
        (1.0, False, "1.000"),
        (0.0, False, ".000"),
        (0.0301, True, "+.030"),
        (-0.5, True, "\N{MINUS SIGN}.500"),
        (-0.00001, True, ".000"),
        (-1.0, False, "\N{MINUS SIGN}1.000"),
    ],
)
def test_numbers(value: float, signed: bool, text: str) -> None:
    assert number(value, signed=signed) == text


def test_a_rate_is_written_with_n_unscored_and_interval() -> None:
    made = scored(195, 200)
    assert str(rate_of(made)) == f".975 [{number(made.low)}, {number(made.high)}] 195/200, 0 unscored"


def test_unscored_answers_leave_bounds() -> None:
    assert "3/4, 4 unscored between .375 and .875" in str(rate_of(scored(3, 4, 4)))


def test_where_nothing_was_scored_there_is_no_rate() -> None:
    assert str(rate_of(scored(0, 0, 2))).startswith(f"{NOT_MEASURED} [.000, 1.000] 0/0")
    assert rate_of(None) == NOT_MEASURED


@pytest.mark.parametrize("method", ["grouped_wilson", "cluster_bootstrap"])
def test_an_interval_that_groups_widened_is_marked(method: IntervalMethod) -> None:
    assert str(Rate(0.5, 0.4, 0.6, "n 9", method=method)) == ".500 [.400, .600]\N{DAGGER} n 9"
    assert str(Difference(0.5, -0.1, 0.6, "n 9")) == "+.500 [\N{MINUS SIGN}.100, +.600] n 9"


def test_an_average_needs_every_rate_and_lies_between_the_averaged_bounds() -> None:
    one, two = scored(9, 10), scored(5, 10)
    average = average_of([one, two])
    assert isinstance(average, Rate)
    assert average.value == pytest.approx(0.7)
    assert (average.low, average.high) == (
        pytest.approx((one.low + two.low) / 2),
        pytest.approx((one.high + two.high) / 2),
    )
    assert average_of([one, None]) == NOT_MEASURED
    assert average_of([one, scored(0, 0, 1)]) == NOT_MEASURED
    assert average_of([]) == NOT_MEASURED


def test_rows_as_text() -> None:
    table = Table("T", ("a", "b", "c"), (Heading("h"), ("x", Rate(0.5, 0.4, 0.6, "1/2", "so"), "y")))
    assert table.text_rows() == [["h", "", ""], ["x", ".500 [.400, .600] 1/2 so", "y"]]
    assert table.text_rows(stacked=True)[1] == ["x", ".500\n[.400, .600]\n1/2\nso", "y"]


def test_p_values() -> None:
    assert [p_value(p) for p in (1.0, 0.0123, 3e-9)] == ["1", "0.012", "< 1e-6"]


def test_every_task_and_every_model_is_shown_under_each_configuration(run: Path) -> None:
    samples = pick_samples(read_evidence(run))
    assert [sample.prompt.task for sample in samples] == [
        task for task in ("harmless", "truthfulness", "over_refusal") for _ in range(2)
    ]
    for sample in samples:
        assert list(sample.rows) == ["base", "DPO", "CST"]
        assert all(answer is not None for row in sample.rows.values() for answer in row)
    assert [asked.configuration for asked in samples[0].columns] == ["harmless", "uncensored", "none"]
    assert [asked.configuration for asked in samples[2].columns] == ["honest", "persona", "none"]


def test_the_choice_depends_on_ids_and_on_nothing_else(run: Path) -> None:
    evidence = read_evidence(run)
    chosen = [sample.prompt.id for sample in pick_samples(evidence)]
    evidence.completions = sorted(evidence.completions, key=lambda completion: completion.text)
    assert sorted(sample.prompt.id for sample in pick_samples(evidence)) == sorted(chosen)


def test_marks_agree_with_the_scores(run: Path) -> None:
    evidence = read_evidence(run)
    followed = {
        (o.completion.prompt.id, o.completion.model, o.completion.configuration): o.followed
        for o in outcomes(evidence.completions, evidence.verdicts, evidence.configurations)
        if o.completion.temperature == 0 and o.completion.wordings in ("canonical", "none") and not o.completion.framing
    }
    kinds = {True: "followed", False: "failed", None: "unscored"}
    for sample in pick_samples(evidence, per_task=40):
        for model, row in sample.rows.items():
            for asked, answer in zip(sample.columns, row, strict=True):
                assert answer is not None
                key = (sample.prompt.id, model.lower(), asked.configuration)
                assert answer.kind == kinds[followed[key]]


def test_without_configurations_the_verdict_alone_is_shown(run: Path) -> None:
    evidence = read_evidence(run)
    evidence.configurations = []
    marks = {
        answer.mark for sample in pick_samples(evidence) for row in sample.rows.values() for answer in row if answer
    }
    assert marks <= {"shows the original side", "shows the revised side", "unscored"}
    evidence.verdicts = []
    [mark] = {answer.mark for s in pick_samples(evidence) for row in s.rows.values() for answer in row if answer}
    assert mark == "not judged"
