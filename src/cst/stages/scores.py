"""The stage that turns verdicts into scores and paired tests, and corrects the scores where the judge has a card."""

from cst.records import Completion, Verdict
from cst.run_folder import Stage
from cst.stages.judge_cards import CARD, card_of, has_card
from cst.store import read_records, uncollected, write_json
from cst.workshop import BASE, Workshop


def score_stage(workshop: Workshop) -> Stage:
    """`completions.jsonl` and `verdicts.jsonl` to scores, paired tests, agreement and corrected scores."""
    folder, configurations, carded = workshop.folder, workshop.configurations, has_card(workshop)

    @uncollected()
    def work() -> None:
        from cst.evaluation.comparisons import compare_cells
        from cst.evaluation.error_correction import corrected_scores
        from cst.evaluation.panel_agreement import panel_agreement
        from cst.evaluation.scores import by_cell, outcomes, score_cells

        card = card_of(workshop) if carded else None
        completions = read_records(folder / "completions.jsonl", Completion)
        verdicts = read_records(folder / "verdicts.jsonl", Verdict)
        cells = by_cell(outcomes(completions, verdicts, configurations))
        models = [BASE, *workshop.recipe.models]
        duels = [(later, earlier) for i, later in enumerate(models) for earlier in models[:i]]
        tests = [test for a, b in duels for test in compare_cells(cells, model_a=a, model_b=b)]
        scores = score_cells(cells)
        write_json(folder / "scores.json", scores)
        write_json(folder / "paired_tests.json", tests)
        write_json(folder / "agreement.json", panel_agreement(completions, verdicts))
        if card is not None:
            write_json(folder / "corrected_scores.json", corrected_scores(cells, scores, card))

    inputs, outputs = ["completions.jsonl", "verdicts.jsonl"], ["scores.json", "paired_tests.json", "agreement.json"]
    if carded:
        inputs, outputs = [*inputs, CARD], [*outputs, "corrected_scores.json"]
    return Stage("score", lambda: configurations, inputs, outputs, work)
