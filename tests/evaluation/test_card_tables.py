from made_for_evaluation import completion, prompt, verdicts

from cst.evaluation.card_tables import card_table, corrected_table
from cst.evaluation.error_correction import CorrectedScore
from cst.evaluation.judge_card import JudgeCard, LabelledAnswer, task_cards
from cst.evaluation.judges.plain import RefusalPhrases
from cst.evaluation.scores import score
from cst.evaluation.tables import Rate
from cst.records import SafetyConfiguration, Side

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
