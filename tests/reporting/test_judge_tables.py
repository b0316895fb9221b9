from made_for_evaluation import completion, prompt, verdicts

from cst.evaluation.judge_card import (
    CorrectedScore,
    JudgeCard,
    LabelledAnswer,
    PairAgreement,
    PanelAgreement,
    task_cards,
)
from cst.evaluation.scores import score
from cst.intervals import Kappa
from cst.judges.plain import RefusalPhrases
from cst.records import SafetyConfiguration, Side
from cst.reporting import judge_tables
from cst.reporting.judge_tables import card_table, corrected_table
from cst.reporting.tables import NOT_MEASURED, Rate


def test_agreement_shows_each_two_judges_and_all_of_them() -> None:
    kappa = Kappa(value=0.6, low=0.5, high=0.7, n=90, standard_error=0.05)
    pairs = [PairAgreement(first=a, second=b, agree=80, kappa=kappa) for a, b in ("ab", "ac", "bc")]
    task = PanelAgreement(task="harmless", judges=("a", "b", "c"), n=85, left_out=5, fleiss=0.58, pairs=tuple(pairs))
    table = judge_tables.agreement([task])

    assert table is not None
    assert [str(cell) for cell in table.rows[1]] == ["a and b", ".600 [.500, .700] n 90", "80/90"]
    assert [str(cell) for cell in table.rows[-1]] == ["all 3 (Fleiss)", ".580", "n 85, 5 left out"]
    assert len(table.rows) == 5
    assert judge_tables.agreement([]) is None


def test_agreement_that_is_not_defined_is_a_dash_and_two_judges_need_no_third_row() -> None:
    kappa = Kappa(value=None, low=-1, high=1, n=0, standard_error=None)
    pair = PairAgreement(first="a", second="b", agree=0, kappa=kappa)
    table = judge_tables.agreement(
        [PanelAgreement(task="harmless", judges=("a", "b"), n=0, left_out=4, fleiss=None, pairs=(pair,))]
    )

    assert table is not None
    assert len(table.rows) == 2
    assert str(table.rows[1][1]).startswith(NOT_MEASURED)


HARMLESS = SafetyConfiguration(name="harmless", prefers=Side.REVISED, tasks=("harmless",), wordings=("Be safe.",))


def card(*labels: Side) -> JudgeCard:
    texts = {Side.ORIGINAL: "Here is how. " * 20, Side.REVISED: "I am sorry, but I cannot help."}
    labelled = [LabelledAnswer(prompt=prompt(), text=texts[label], label=label) for label in labels]
    return JudgeCard(
        judge="refusal_phrases",
        settings={"kind": "refusal_phrases"},
        fingerprint="f" * 64,
        labelled="labelled.jsonl",
        labelled_sha256="a" * 64,
        labels={"1": Side.REVISED},
        positive=Side.ORIGINAL,
        tasks=task_cards(labelled, RefusalPhrases(), positive=Side.ORIGINAL),
    )


def rows_of(made: JudgeCard) -> dict[str, list[str]]:
    return {row[0]: row[1:] for row in card_table(made).text_rows()}


def test_a_card_names_its_class_its_judge_and_its_file() -> None:
    table = card_table(card(Side.ORIGINAL, Side.REVISED))

    assert table.title == "Judge card: refusal_phrases"
    assert "positive class: original" in str(table.rows[0])
    for said in ("labelled.jsonl", "a" * 64, "f" * 64, '{"kind": "refusal_phrases"}', "1 as revised"):
        assert said in table.note


def test_every_figure_has_n_and_interval() -> None:
    rows = rows_of(card(*[Side.ORIGINAL] * 3, Side.REVISED))

    assert rows["Recall"] == ["1.000 [.439, 1.000] n 3"]
    assert rows["labelled original"] == ["3, 0, 0 (0)"]
    assert rows["disavowal, had said original"] == [".000 [.000, .561] 0/3, 0 lost"]


def test_what_one_class_leaves_undefined_is_said_and_is_no_number() -> None:
    cell = card_table(card(Side.ORIGINAL, Side.ORIGINAL)).rows[4]

    assert isinstance(cell, tuple)
    assert isinstance(cell[1], Rate)
    assert cell[0] == "Specificity"
    assert cell[1].value is None
    assert str(cell[1]).endswith("n 0 undefined: no scored answer is labelled revised")


def corrected(value: float | None, **fields: object) -> CorrectedScore:
    cell = {"model": "cst", "task": "harmless", "configuration": "harmless", "wordings": "canonical", "temperature": 0}
    made = {**cell, "followed": 2, "n": 2, "value": value, "low": 0.4, "high": 1.0, **fields}
    return CorrectedScore.model_validate(made)


def test_corrected_scores_stand_beside_the_raw_ones() -> None:
    answers = [completion(prompt("a")), completion(prompt("b"))]
    scores = score(answers, verdicts(answers, [Side.REVISED] * 2), [HARMLESS])

    def cells(found: CorrectedScore) -> list[list[str]]:
        table = corrected_table(scores, [found])
        assert table is not None
        return table.text_rows()

    assert cells(corrected(0.9))[1][1:] == ["1.000 [.342, 1.000] 2/2, 0 unscored", ".900 [.400, 1.000] n 2"]
    assert cells(corrected(1.0, is_truncated=True))[1][2].endswith("truncated to [0, 1]")
    assert cells(corrected(None, undefined="so"))[1][2].endswith("n 2 undefined: so")


def test_without_corrected_scores_there_is_no_table() -> None:
    assert corrected_table([], []) is None
