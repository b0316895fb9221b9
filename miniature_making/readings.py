"""What the study reads of one seed's finished folders: its runs and its start model. Nothing is asked here."""

from cst.evaluation.capability import CapabilityScore
from cst.evaluation.scores import Cell, CurvePoint, by_cell, outcomes
from cst.records import Completion, Verdict, WordingKind
from cst.runs.workshop import BASE
from cst.store import read_json, read_records
from miniature_making.desk import SIDES, Desk, trials_of
from miniature_making.tables import CAPABILITIES, CST, CURVE, DPO, EFFORT, START, Figure

Arm = tuple[str, str, WordingKind, float]
ARMS: tuple[tuple[str, Arm], ...] = (
    ("S1", ("harmless", "harmless", "canonical", 0.0)),
    ("S0", ("harmless", "uncensored", "canonical", 0.0)),
    ("S1, T = 1", ("harmless", "harmless", "canonical", 1.0)),
    ("S0, T = 1", ("harmless", "uncensored", "canonical", 1.0)),
    ("S1, wordings held out of tuning", ("harmless", "harmless", "held_out", 0.0)),
    ("S0, wordings held out of tuning", ("harmless", "uncensored", "held_out", 0.0)),
    ("S_A", ("truthfulness", "honest", "canonical", 0.0)),
    ("S_A, wordings held out of tuning", ("truthfulness", "honest", "held_out", 0.0)),
    ("S_A, unseen wordings", ("truthfulness", "honest", "unseen", 0.0)),
    ("refuses without a system prompt", ("harmless", "none", "none", 0.0)),
    ("refuses under a neutral system prompt", ("harmless", "neutral", "neutral", 0.0)),
)
"""Rows and the cells of the run that they show: task, configuration, wordings, temperature."""

HARMLESS_ARMS: tuple[tuple[str, Arm], ...] = (
    ("s1", ("over_refusal", "harmless", "canonical", 0.0)),
    ("s0", ("over_refusal", "uncensored", "canonical", 0.0)),
    ("no system prompt", ("over_refusal", "none", "none", 0.0)),
    ("neutral", ("over_refusal", "neutral", "neutral", 0.0)),
)


def of_the_run(desk: Desk) -> list[Figure]:
    """The cells that the recipe itself asked."""
    folder = desk.place.run
    completions = read_records(folder / "completions.jsonl", Completion)
    verdicts = read_records(folder / "verdicts.jsonl", Verdict)
    cells = dict(by_cell(outcomes(completions, verdicts, desk.workshop.configurations)))
    sections = ((START, BASE), (DPO, "dpo"), (CST, "cst"))
    shown = [(section, what, Cell(model, *arm)) for section, model in sections for what, arm in ARMS]
    figures = [desk.rate(section, what, trials_of(cells[cell])) for section, what, cell in shown]
    for model in ("cst", BASE):
        for under, arm in HARMLESS_ARMS:
            figures += desk.answered(model, under, cells[Cell(model, *arm)])
    return figures


def curves(desk: Desk) -> list[Figure]:
    """S1 and S0 along the training."""
    points = [CurvePoint.model_validate(point) for point in read_json(desk.place.run / "curve.json")]
    points.sort(key=lambda point: (point.model != "dpo", point.configuration != "harmless", point.step))
    return [
        Figure(
            section=CURVE,
            what=f"{point.model.upper()}, {SIDES[point.configuration]} after {point.step} steps",
            seed=desk.place.seed,
            value=point.rate,
            low=point.low,
            high=point.high,
            n=point.n,
            unscored=point.unscored,
            interval=point.interval,
        )
        for point in points
    ]


def capabilities(desk: Desk) -> list[Figure]:
    """The start model's accuracy, and what each tuning changed; the control is tuned too hard on purpose."""
    changes = {"cst": "CST", "dpo": "DPO", "overtrained": "over-training (the control)"}
    figures: list[Figure] = []
    for folder in (desk.place.run, desk.place.folder / "control"):
        for score in (CapabilityScore.model_validate(score) for score in read_json(folder / "capability.json")):
            if score.change is not None:
                what = f"{score.set}, change after {changes[score.model]}"
                figures.append(_capability(desk, what, score, score.change.difference))
            elif folder == desk.place.run:
                figures.append(_capability(desk, f"{score.set}, start model", score, None))
    return figures


def _capability(desk: Desk, what: str, score: CapabilityScore, difference: float | None) -> Figure:
    bounds = score if score.change is None else score.change
    return Figure(
        section=CAPABILITIES,
        what=what,
        seed=desk.place.seed,
        kind="rate" if difference is None else "difference",
        value=score.mean if difference is None else difference,
        low=bounds.low,
        high=bounds.high,
        n=score.n,
        unscored=score.unscored,
    )


def effort(desk: Desk) -> list[Figure]:
    """What the start model weighs, and how long its pretraining took."""
    told = read_json(desk.place.model / "provenance.json")
    size = sum(file.stat().st_size for file in desk.place.model.iterdir() if file.is_file()) / 1e6
    minutes, threads = told["seconds"] / 60, f"{told['threads']} threads"
    common = {"section": EFFORT, "seed": desk.place.seed, "kind": "quantity"}
    return [
        Figure.model_validate({**common, "what": "megabytes of the model", "value": size}),
        Figure.model_validate({**common, "what": "minutes of pretraining", "value": minutes, "remark": threads}),
    ]


READ = (of_the_run, curves, capabilities, effort)
"""What is read of finished folders, each time anew."""
