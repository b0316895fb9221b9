"""The benchmark of a million verdicts scores and reports what it wrote; its seconds are no test's business."""

import million_verdicts
from cst.reporting.evidence import read_evidence
from cst.runs.folder import RunFolder
from cst.runs.pipeline import steps


def test_every_verdict_is_counted_in_the_report_it_makes(tmp_path):
    workshop = million_verdicts.write_run(tmp_path, 600)
    (stage,) = [step.stage for step in steps(workshop, "score") if step.stage.name == "score"]
    RunFolder(tmp_path).perform(stage)
    scores = read_evidence(tmp_path).scores

    assert sum(score.n + score.unscored for score in scores) == 600
    assert len(scores) == 6


def test_a_measurement_tells_its_size_and_its_seconds():
    told = million_verdicts.measure(120)

    assert told["verdicts"] == 120
    assert told["whole_seconds"] >= told["score_seconds"] > 0
