"""The stages that read verdicts: scores and paired tests, robustness, the sweep, and the judge's card."""

from pathlib import Path
from typing import TYPE_CHECKING

from cst.errors import RecipeError
from cst.recipe import Recipe
from cst.records import Completion, Verdict
from cst.runs.folder import Stage
from cst.runs.workshop import BASE, Workshop
from cst.store import fingerprint, fingerprint_of_file, parse_record, read_records, read_text, uncollected, write_json

if TYPE_CHECKING:
    from cst.evaluation.judge_card import JudgeCard


CARD = "judge_card.json"
JUDGED = ("completions.jsonl", "verdicts.jsonl")


def _judged(folder: Path) -> tuple[list[Completion], list[Verdict]]:
    answers, verdicts = (folder / name for name in JUDGED)
    return read_records(answers, Completion), read_records(verdicts, Verdict)


def judge_fingerprint(workshop: Workshop) -> str:
    """SHA-256 of all that decides the judge's opinions."""
    return fingerprint(workshop.judged_by)


def has_card(workshop: Workshop) -> bool:
    """Whether there is a card, or the recipe says where one lies."""
    return workshop.recipe.judge_card is not None or (workshop.folder / CARD).is_file()


def card_stage(workshop: Workshop) -> Stage:
    """The recipe's card, brought into the run folder."""
    source = workshop.recipe.judge_card
    assert source is not None

    def depends() -> list[object]:
        return [judge_fingerprint(workshop), fingerprint_of_file(source) if source.is_file() else None]

    def work() -> None:
        from cst.evaluation.judge_card import JudgeCard

        write_json(workshop.folder / CARD, parse_record(read_text(source), JudgeCard, str(source)))

    return Stage("judge-card", depends, [], [CARD], work)


def card_of(workshop: Workshop) -> "JudgeCard":
    """The card in the run folder.

    Raises:
        DataError: The file is no card.
        RecipeError: It is the card of another judge, or of this one with other settings.
    """
    from cst.evaluation.judge_card import JudgeCard

    path = workshop.folder / CARD
    card = parse_record(read_text(path), JudgeCard, str(path))
    if card.fingerprint != judge_fingerprint(workshop):
        raise RecipeError(
            f"{path} is the card of {card.judge} with the settings {card.settings}, and the recipe's judge is another "
            "or has other settings. Make its own with `cst judge-card`, or take the card away."
        )
    return card


def score_stage(workshop: Workshop) -> Stage:
    """`completions.jsonl` and `verdicts.jsonl` to scores, paired tests, agreement and corrected scores."""
    folder, configurations, carded = workshop.folder, workshop.configurations, has_card(workshop)

    @uncollected()
    def work() -> None:
        from cst.evaluation.comparisons import compare_cells
        from cst.evaluation.judge_card import corrected_scores, panel_agreement
        from cst.evaluation.scores import by_cell, outcomes, score_cells

        card = card_of(workshop) if carded else None
        completions, verdicts = _judged(folder)
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

    outputs = ["scores.json", "paired_tests.json", "agreement.json", *(["corrected_scores.json"] if carded else [])]
    return Stage("score", lambda: configurations, [*JUDGED, *([CARD] if carded else [])], outputs, work)


def robustness_stage(workshop: Workshop) -> Stage:
    """Verdicts to switch rates, their paired tests, and length-matched scores."""
    folder, configurations = workshop.folder, workshop.configurations

    def work() -> None:
        from cst.evaluation.robustness import compare_switches, contested, length_matched, switch_rates
        from cst.evaluation.scores import outcomes

        completions, verdicts = _judged(folder)
        groups = contested(outcomes(completions, verdicts, configurations), configurations)
        write_json(folder / "switch_rates.json", switch_rates(groups))
        write_json(folder / "switch_tests.json", compare_switches(groups))
        write_json(folder / "length_matched.json", length_matched(groups))

    outputs = ["switch_rates.json", "switch_tests.json", "length_matched.json"]
    return Stage("robustness", lambda: configurations, JUDGED, outputs, work)


def is_sweep(recipe: Recipe) -> bool:
    """Whether a recipe trains models on mixtures with safety examples."""
    return recipe.mixture is not None and bool(recipe.mixture.safety)


def sweep_stage(workshop: Workshop) -> Stage:
    """`completions.jsonl` and `verdicts.jsonl` to harmfulness and exaggerated safety against N, in `sweep.json`."""
    folder, configurations, mixture = workshop.folder, workshop.configurations, workshop.recipe.mixture
    assert mixture is not None
    models: dict[str, int | None] = {BASE: None, **mixture.models}

    @uncollected()
    def work() -> None:
        from cst.evaluation.scores import outcomes
        from cst.evaluation.sweep import sweep_of

        completions, verdicts = _judged(folder)
        numbers = {verdict.completion_id: verdict.score for verdict in verdicts if verdict.score is not None}
        results = outcomes(completions, verdicts, configurations)
        write_json(folder / "sweep.json", sweep_of(results, models, numbers=numbers))

    return Stage("sweep", lambda: [models, *configurations], JUDGED, ["sweep.json"], work)
