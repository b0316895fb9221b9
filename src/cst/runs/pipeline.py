"""The method as stages of a run folder: each reads records, calls one room, and writes records.

`ls` of a run folder is the diagram of this file; longer stages stand in `stages/`. Rooms meet here, and heavy imports
stay in the stage that needs them, so that a stage without a model never loads one.
"""

from collections.abc import Callable, Iterable, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from typing import Literal, TypeAlias, get_args

from cst.preferences.conditioning import condition_each
from cst.records import Completion, Preference, Prompt, ResponsePair
from cst.runs.folder import Outcome, RunFolder, Stage, keep_recipe
from cst.runs.own import identities
from cst.runs.stages.generation import capability_stage, generation_stage
from cst.runs.stages.rows import demonstration_file_fingerprints, mixture_stages, origin_of, row_plan, write_rows
from cst.runs.stages.scores import card_stage, is_sweep, robustness_stage, score_stage, sweep_stage
from cst.runs.stages.training import curve_stage, evaluation_curve_stage, preferences_of, set_apart, train_stage
from cst.runs.workshop import EVALUATION_PROMPTS, HELD_OUT_PROMPTS, Workshop, held_out_files
from cst.store import RecordFile, describe_callable, read_records, stream_records, version, write_json, write_records

Verb: TypeAlias = Literal["synthesize", "condition", "train", "generate", "judge", "score", "report"]
VERBS: tuple[Verb, ...] = get_args(Verb)


@dataclass(frozen=True)
class Step:
    """A stage, and the verb that brings it up to date."""

    verb: Verb
    stage: Stage


def bring_up_to_date(
    workshop: Workshop,
    *,
    until: Verb = "report",
    update: bool = False,
    tell: Callable[[str, Outcome], None] = lambda _name, _outcome: None,
) -> dict[str, Outcome]:
    """Bring a run folder up to date, up to and including a verb, and close the workshop.

    Stages that are up to date are left as they are. Each stage's name and outcome is told as it ends. Killed at any
    moment, the same call goes on to the same files.

    Raises:
        BudgetError: The next call might pass the budget; answers so far are kept for a run with a larger one.
        RunFolderError: The folder holds another recipe's run or a file that has changed since its stage ran (and
            `update` isn't set), or another process works in it.
        CstError: A stage's own error; the files of the stages before it are kept.
    """
    home = RunFolder(workshop.folder, update=update)
    outcomes: dict[str, Outcome] = {}
    with home.locked(), closing(workshop):
        keep_recipe(workshop.recipe, workshop.folder, workshop.configurations, update=update)
        for step in steps(workshop, until):
            outcomes[step.stage.name] = home.perform(step.stage)
            tell(step.stage.name, outcomes[step.stage.name])
    return outcomes


def steps(workshop: Workshop, until: Verb = "report") -> list[Step]:
    """The stages that a recipe asks for, in order, up to and including a verb; those after it aren't even looked at.

    Raises:
        RecipeError: The recipe names Python code that isn't given, or a stage can't be as it says.
    """
    recipe, held_out = workshop.recipe, workshop.recipe.holds_out_prompts
    workshop.own.reject_misfit(recipe)
    made: list[Step] = []

    def add(verb: Verb, stage_of: Callable[[Workshop], Stage], *, wanted: bool = True) -> None:
        if wanted and VERBS.index(verb) <= VERBS.index(until):
            made.append(Step(verb, stage_of(workshop)))

    add("synthesize", _prompts, wanted=held_out or bool(recipe.prompts.training))
    add("synthesize", _synthesize, wanted=recipe.synthesis is not None and recipe.preferences is None)
    has_rows = recipe.synthesis or recipe.preferences or recipe.mixture
    add("synthesize", _own_pairs, wanted=bool(recipe.models) and not has_rows)
    mixed = None if recipe.mixture is None else mixture_stages(workshop, recipe.mixture)
    for stage_of in mixed or [partial(_condition, model=model) for model in recipe.models]:
        add("condition", stage_of)
    for model in recipe.models:
        add("train", partial(train_stage, model=model))
    add("generate", generation_stage, wanted=held_out)
    add("judge", _judge, wanted=held_out)
    add("judge", card_stage, wanted=held_out and recipe.judge_card is not None)
    add("score", score_stage, wanted=held_out)
    add("score", robustness_stage, wanted=held_out)
    add("score", sweep_stage, wanted=held_out and is_sweep(recipe))
    from_snapshots = held_out and recipe.generation.curve_prompts > 0
    add("score", curve_stage, wanted=from_snapshots)
    add("score", evaluation_curve_stage, wanted=recipe.training.asks_prompts and not from_snapshots)
    add("score", capability_stage, wanted=recipe.capabilities is not None)
    add("report", partial(_report, before=made))
    return made


def _prompts(workshop: Workshop) -> Stage:
    folder, settings = workshop.folder, workshop.recipe.training
    apart = [EVALUATION_PROMPTS] if settings.asks_prompts else []

    def work() -> None:
        training, held_out = workshop.prompts()
        asked, scored = set_apart(held_out, settings)
        write_records(folder / "prompts.jsonl", training)
        write_records(folder / HELD_OUT_PROMPTS, scored)
        for name in apart:
            write_records(folder / name, asked)

    def depends() -> list[object]:
        shard = [] if workshop.shard is None else [str(workshop.shard)]
        source = workshop.recipe.preferences
        rows = [*origin_of(source), *workshop.configurations] if source is not None and source.held_out_share else []
        asked = [settings.eval_prompts, settings.eval_tasks] if apart else []
        return [workshop.recipe.prompts, workshop.seed, workshop.prompt_file_fingerprints(), *shard, *rows, *asked]

    return Stage("prompts", depends, [], ["prompts.jsonl", HELD_OUT_PROMPTS, *apart], work)


def _synthesize(workshop: Workshop) -> Stage:
    folder, settings = workshop.folder, workshop.recipe.synthesis
    apart = held_out_files(workshop.recipe)

    def work() -> None:
        from cst.synthesis.critique import synthesize_in_chunks
        from cst.synthesis.planning import spending, write_chunks

        assert settings is not None
        chat, named = workshop.synthesis_chats()
        held_out = [prompt for name in apart for prompt in read_records(folder / name, Prompt)]
        with RecordFile(folder / "prompts.jsonl", Prompt) as prompts:
            made = synthesize_in_chunks(
                prompts,
                chat,
                settings,
                chat_models=named,
                held_out=held_out,
                judge=workshop.side_judge,
                gates=[workshop.own.gates[name] for name in settings.gates.own],
                seed=workshop.seed,
            )
            summary = write_chunks(made, folder / "pairs.jsonl", folder / "drops.jsonl")
        write_json(folder / "spending.json", spending(workshop.journal.each_call(), summary))
        write_json(folder / "synthesis.json", summary)

    def depends() -> list[object]:
        gates = identities(workshop.own.gates)
        return [settings, *workshop.judged_by, *workshop.synthesis_models(), workshop.seed, *gates]

    inputs = ["prompts.jsonl", *apart]
    return Stage("synthesize", depends, inputs, ["pairs.jsonl", "drops.jsonl", "synthesis.json"], work)


def _own_pairs(_: Workshop) -> Stage:
    """Pairs that were made elsewhere: there is nothing to make, but a change of them is noticed."""
    return Stage("pairs", list, ["pairs.jsonl"], ["pairs.jsonl"], lambda: None)


def _condition(workshop: Workshop, model: str) -> Stage:
    source, output = workshop.recipe.preferences, workshop.folder / preferences_of(model)
    configurations = workshop.configurations_of(model) if workshop.recipe.configurations else []
    plan = row_plan(workshop, model)

    def rows() -> Iterable[Preference]:
        if source is not None:
            return workshop.preferences_for(model, source)
        pairs = stream_records(workshop.folder / "pairs.jsonl", ResponsePair)
        return condition_each(pairs, configurations, seed=workshop.seed)

    def work() -> None:
        write_rows(rows, plan, workshop.folder, output)

    def depends() -> list[object]:
        if source is None:
            return [*configurations, workshop.seed, *plan.depends_on]
        return [*origin_of(source), *workshop.configurations, *workshop.recipe.models[model], *plan.depends_on]

    inputs = [*(["pairs.jsonl"] if source is None else []), *plan.inputs]
    return Stage(f"condition-{model}", depends, inputs, [preferences_of(model), *plan.outputs], work)


def _judge(workshop: Workshop) -> Stage:
    from cst.runs.judging import reject_unusable

    folder = workshop.folder
    reject_unusable(workshop.recipe.judge)

    def work() -> None:
        from cst.judges import judge

        completions = read_records(folder / "completions.jsonl", Completion)
        write_records(folder / "verdicts.jsonl", judge(completions, workshop.judge))

    return Stage("judge", lambda: workshop.judged_by, ["completions.jsonl"], ["verdicts.jsonl"], work)


def _report(workshop: Workshop, before: Sequence[Step]) -> Stage:
    folder, more = workshop.folder, workshop.own.sections

    def work() -> None:
        from cst.reporting.report import render_report

        write_json(folder / "fingerprints.json", fingerprints(workshop))
        render_report(folder, sections=more)

    def depends() -> list[object]:
        own = [describe_callable(section) for section in more]
        return [workshop.recipe, *workshop.configurations, workshop.model_fingerprint, *own]

    inputs = [name for step in before for name in (*step.stage.inputs, *step.stage.outputs)]
    outputs = ["report.md", "report.html", "fingerprints.json"]
    return Stage("report", depends, list(dict.fromkeys(inputs)), outputs, work)


def fingerprints(workshop: Workshop) -> dict[str, object]:
    """What the run was made from and with: hashes of model and input files, how messages were rendered, versions."""
    mixture = workshop.recipe.mixture
    mixed = {} if mixture is None else {"demonstration_files": demonstration_file_fingerprints(mixture)}
    harness = () if workshop.recipe.capabilities is None else ("lm_eval",)
    packages = ("cst", "torch", "transformers", "tokenizers", "peft", "accelerate", "numpy", "scipy", *harness)
    return {
        "model": workshop.model_fingerprint,
        "prompt_files": workshop.prompt_file_fingerprints(),
        **mixed,
        "rendering": workshop.renderer.describe(),
        "versions": {package: version(package) for package in packages},
    }
