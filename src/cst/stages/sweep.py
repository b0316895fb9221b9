"""The stage that holds the models of a mixture against their numbers of safety examples."""

from cst.recipe import Recipe
from cst.records import Completion, Verdict
from cst.run_folder import Stage
from cst.store import read_records, uncollected, write_json
from cst.workshop import BASE, Workshop


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

        completions = read_records(folder / "completions.jsonl", Completion)
        verdicts = read_records(folder / "verdicts.jsonl", Verdict)
        numbers = {verdict.completion_id: verdict.score for verdict in verdicts if verdict.score is not None}
        results = outcomes(completions, verdicts, configurations)
        write_json(folder / "sweep.json", sweep_of(results, models, numbers=numbers))

    inputs = ["completions.jsonl", "verdicts.jsonl"]
    return Stage("sweep", lambda: [models, *configurations], inputs, ["sweep.json"], work)
