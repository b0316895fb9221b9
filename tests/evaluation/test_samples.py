from pathlib import Path

from cst.evaluation.evidence import read_evidence
from cst.evaluation.samples import pick_samples
from cst.evaluation.scores import outcomes


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
