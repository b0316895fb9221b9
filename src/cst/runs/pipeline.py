"""The method as stages of a run folder: each reads records, calls one room, and writes records.

`ls` of a run folder is the diagram of this file. Rooms meet here and nowhere else; heavy imports stay in the stage that
needs them, so that a stage without a model never loads one.
"""

from collections.abc import Callable, Iterable, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeAlias, get_args

from cst.distribution import version
from cst.preferences.conditioning import condition_each
from cst.records import Completion, Preference, Prompt, ResponsePair, SafetyConfiguration
from cst.runs.folder import Outcome, RunFolder, Stage, keep_recipe
from cst.runs.own import given_of, identities
from cst.runs.stages.generation import capability_stage, generation_stage, start_model, trained
from cst.runs.stages.rows import demonstration_file_fingerprints, mixture_stages, origin_of, row_plan, write_rows
from cst.runs.stages.scores import card_stage, is_sweep, robustness_stage, score_stage, sweep_stage
from cst.runs.stages.training import evaluation_curve_stage, preferences_of, set_apart, train_stage
from cst.runs.workshop import EVALUATION_PROMPTS, Workshop, held_out_files
from cst.store import RecordFile, read_records, stream_records, write_json, write_records

if TYPE_CHECKING:
    from cst.evaluation.scores import CurvePoint


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
    """Make each stage of a run folder that isn't made yet, up to and including a verb; the workshop is closed after it.

    Each stage's name and outcome is told as it ends. Killed at any moment, the same call continues to the same files.

    Raises:
        BudgetError: The next call might pass the budget; answers so far are kept for a run with a larger one.
        RunFolderError: The folder holds another recipe's run or a file that has changed since its stage ran (and
            `update` isn't set), or another process works in it.
        CstError: A stage's own error; the files of the stages before it are kept.
    """
    home = RunFolder(workshop.folder, update=update)
    with home.locked(), closing(workshop):
        keep_recipe(workshop, update=update)
        outcomes: dict[str, Outcome] = {}
        for step in steps(workshop, until):
            outcomes[step.stage.name] = home.perform(step.stage)
            tell(step.stage.name, outcomes[step.stage.name])
        return outcomes


def steps(workshop: Workshop, until: Verb = "report") -> list[Step]:
    """The stages that a recipe asks for, in order, up to and including a verb; those after it aren't even looked at."""
    recipe, held_out = workshop.recipe, workshop.recipe.holds_out_prompts
    made: list[Step] = []

    def add(verb: Verb, stage_of: Callable[[Workshop], Stage], *, wanted: bool = True) -> None:
        if wanted and VERBS.index(verb) <= VERBS.index(until):
            made.append(Step(verb, stage_of(workshop)))

    add("synthesize", _prompts, wanted=held_out or bool(recipe.prompts.training))
    add("synthesize", _synthesize, wanted=recipe.synthesis is not None and recipe.preferences is None)
    has_rows = recipe.synthesis or recipe.preferences or recipe.mixture
    add("synthesize", _own_pairs, wanted=bool(recipe.models) and not has_rows)
    for stage_of in _condition_stages(workshop):
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
    add("score", _curve, wanted=from_snapshots)
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
        write_records(folder / "held_out_prompts.jsonl", scored)
        for name in apart:
            write_records(folder / name, asked)

    def depends() -> list[object]:
        shard = [] if workshop.shard is None else [str(workshop.shard)]
        source = workshop.recipe.preferences
        rows = [*origin_of(source), *workshop.configurations] if source is not None and source.held_out_share else []
        asked = [settings.eval_prompts, settings.eval_tasks] if apart else []
        files = workshop.prompt_file_fingerprints()
        return [workshop.recipe.prompts, workshop.recipe.seed, files, *shard, *rows, *asked]

    return Stage("prompts", depends, [], ["prompts.jsonl", "held_out_prompts.jsonl", *apart], work)


def _synthesize(workshop: Workshop) -> Stage:
    folder, settings, seed = workshop.folder, workshop.recipe.synthesis, workshop.recipe.seed
    apart = held_out_files(workshop.recipe)
    own = settings.gates.own if settings is not None else ()

    def work() -> None:
        from cst.synthesis.critique import synthesize_in_chunks
        from cst.synthesis.planning import spending, write_chunks

        assert settings is not None
        chat, named = workshop.synthesis_chats()
        held_out = [prompt for name in apart for prompt in read_records(folder / name, Prompt)]
        judge = workshop.side_judge
        with RecordFile(folder / "prompts.jsonl", Prompt) as prompts:
            made = synthesize_in_chunks(
                prompts,
                chat,
                settings,
                chat_models=named,
                held_out=held_out,
                judge=judge,
                gates=[
                    given_of(workshop.own.gates, name, where="synthesis.gates.own", argument="gates") for name in own
                ],
                seed=seed,
            )
            summary = write_chunks(made, folder / "pairs.jsonl", folder / "drops.jsonl")
        write_json(folder / "spending.json", spending(workshop.journal.each_call(), summary))
        write_json(folder / "synthesis.json", summary)

    def depends() -> list[object]:
        gates = identities(workshop.own.gates, own)
        return [settings, *workshop.judged_by, *workshop.synthesis_models(), seed, *gates]

    inputs = ["prompts.jsonl", *apart]
    return Stage("synthesize", depends, inputs, ["pairs.jsonl", "drops.jsonl", "synthesis.json"], work)


def _own_pairs(_: Workshop) -> Stage:
    """Pairs that were made elsewhere: there is nothing to make, but a change of them is noticed."""
    return Stage("pairs", list, ["pairs.jsonl"], ["pairs.jsonl"], lambda: None)


def _condition_stages(workshop: Workshop) -> list[Callable[[Workshop], Stage]]:
    """What makes the rows of each model."""
    if workshop.recipe.mixture is not None:
        return mixture_stages(workshop, workshop.recipe.mixture)
    return [partial(_condition, model=model) for model in workshop.recipe.models]


def _condition(workshop: Workshop, model: str) -> Stage:
    source, output = workshop.recipe.preferences, workshop.folder / preferences_of(model)
    configurations = workshop.configurations_of(model) if workshop.recipe.configurations else []
    plan = row_plan(workshop, model)

    def rows() -> Iterable[Preference]:
        if source is not None:
            return workshop.preferences_for(model, source)
        pairs = stream_records(workshop.folder / "pairs.jsonl", ResponsePair)
        return condition_each(pairs, configurations, seed=workshop.recipe.seed)

    def work() -> None:
        write_rows(rows, plan, workshop.folder, output)

    def depends() -> list[object]:
        if source is None:
            return [*configurations, workshop.recipe.seed, *plan.depends_on]
        return [*origin_of(source), *workshop.configurations, *workshop.recipe.models[model], *plan.depends_on]

    inputs = [*(["pairs.jsonl"] if source is None else []), *plan.inputs]
    return Stage(f"condition-{model}", depends, inputs, [preferences_of(model), *plan.outputs], work)


def _judge(workshop: Workshop) -> Stage:
    folder = workshop.folder
    workshop.reject_unusable_judge()

    def work() -> None:
        from cst.judges import judge

        completions = read_records(folder / "completions.jsonl", Completion)
        write_records(folder / "verdicts.jsonl", judge(completions, workshop.judge))

    return Stage("judge", lambda: workshop.judged_by, ["completions.jsonl"], ["verdicts.jsonl"], work)


def _curve(workshop: Workshop) -> Stage:
    folder, settings = workshop.folder, workshop.recipe.generation

    def work() -> None:
        from cst.evaluation.scores import CurvePoint

        prompts = read_records(folder / "held_out_prompts.jsonl", Prompt)
        chosen = [p for task in settings.curve_tasks for p in _first(prompts, task, settings.curve_prompts)]
        points: list[CurvePoint] = []
        for model in workshop.recipe.models:
            points.extend(_points(workshop, model, chosen))
        write_json(folder / "curve.json", points)

    def depends() -> list[object]:
        steps = workshop.recipe.training.snapshot_steps
        return [settings, steps, *workshop.configurations, *workshop.judged_by, *start_model(workshop)]

    return Stage("curve", depends, ["held_out_prompts.jsonl", *trained(workshop)], ["curve.json"], work)


def _first(prompts: Sequence[Prompt], task: str, n: int) -> list[Prompt]:
    return [prompt for prompt in prompts if prompt.task == task][:n]


def _points(workshop: Workshop, model: str, prompts: Sequence[Prompt]) -> "list[CurvePoint]":
    """A model's scores before training, at each snapshot, and at its end."""
    from cst.evaluation.generation import generate
    from cst.evaluation.scores import CurvePoint, at_step, score
    from cst.judges import judge

    tasks = {prompt.task for prompt in prompts}
    speaking: list[SafetyConfiguration] = [c for c in workshop.configurations if tasks & set(c.tasks)]
    points: list[CurvePoint] = []
    for step, adapter in _snapshots(workshop, model):
        loaded = workshop.base if adapter is None else workshop.load(adapter)
        chat = workshop.chat(loaded, f"{model} at step {step}", workshop.recipe.generation.batch_size)
        completions = generate(
            prompts,
            speaking,
            chat,
            own_or_none=workshop.recipe.mixture is not None,
            sampling=workshop.sampling(0.0),
            model_name=model,
        )
        points += at_step(score(completions, judge(completions, workshop.judge), speaking), step)
    return points


def _snapshots(workshop: Workshop, model: str) -> list[tuple[int, Path | None]]:
    folder = workshop.folder / "models" / model
    kept = sorted((folder / "snapshots").glob("step-*"))
    return [(0, None), *((int(path.name.removeprefix("step-")), path) for path in kept)]


def _report(workshop: Workshop, before: Sequence[Step]) -> Stage:
    folder = workshop.folder

    def work() -> None:
        from cst.reporting.report import render_report

        write_json(folder / "fingerprints.json", fingerprints(workshop))
        render_report(folder)

    inputs = [name for step in before for name in (*step.stage.inputs, *step.stage.outputs)]

    def depends() -> list[object]:
        return [workshop.recipe, *workshop.configurations, workshop.model_fingerprint]

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
        "rendering": workshop.rendering,
        "versions": {package: version(package) for package in packages},
    }
