"""The sections of a report: their order, their words, and which tables, drawings and samples each of them shows.

This file knows a run's evidence. It does not know how a table or drawing is made, or how a page is written.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from hashlib import sha256
from typing import Any, Literal, cast

from cst.evaluation.framings import EXCHANGES, FAMILIES
from cst.evaluation.scores import preferred_side
from cst.records import Completion, Preference, Prompt, SafetyConfiguration, Side
from cst.reporting import figures, judge_tables, score_tables, supervised
from cst.reporting.evidence import Evidence, TaskSynthesis
from cst.reporting.figures import Drawing
from cst.reporting.score_tables import label
from cst.reporting.tables import Heading, Row, Table

PROMPTS_PER_TASK = 2


@dataclass(frozen=True)
class ShownResponse:
    """One model's response; `mark` says in words whether it did what was asked for, `kind` is that in one word."""

    text: str
    mark: str
    kind: Literal["followed", "failed", "unscored"]


@dataclass(frozen=True)
class SampleColumn:
    """A configuration and the system prompt under which it was asked for."""

    configuration: str
    system_prompt: str | None


@dataclass(frozen=True)
class Sample:
    """One prompt and the responses to it: a row a model, a column a configuration; None where nothing was asked."""

    prompt: Prompt
    columns: tuple[SampleColumn, ...]
    rows: dict[str, tuple[ShownResponse | None, ...]]


@dataclass(frozen=True)
class Section:
    """A part of the report; `needs` names the files that it is made of, shown where there is nothing else to show.

    A `folded` part is opened by the reader; `beside` puts the drawing and the tables side by side where there is room.
    """

    title: str
    text: str
    needs: str
    tables: tuple[Table, ...] = ()
    drawings: tuple[Drawing, ...] = ()
    samples: tuple[Sample, ...] = ()
    folded: bool = False
    beside: bool = False

    @property
    def anchor(self) -> str:
        """The section's id in the page, for links."""
        return "".join(letter if letter.isalnum() else "-" for letter in self.title.lower())

    @property
    def is_empty(self) -> bool:
        """There is nothing to show."""
        return not (self.tables or self.drawings or self.samples)


def _section(
    title: str, text: str, needs: str, *shown: Table | Drawing | None, folded: bool = False, beside: bool = False
) -> Section:
    """A section of the tables and drawings that there are."""
    tables = tuple(each for each in shown if isinstance(each, Table))
    drawings = tuple(each for each in shown if isinstance(each, Drawing))
    return Section(title, text, needs, tables, drawings, folded=folded, beside=beside)


def sections(evidence: Evidence) -> list[Section]:
    """The report's parts, in order; one without its files is there and empty.

    Supervised tuning needs no configurations: there, parts beside the sweep with nothing to show are left out.
    """
    parts = [
        *_on_control(evidence),
        *_on_limits(evidence),
        *robustness_sections(evidence),
        *_on_the_data(evidence),
        *_on_the_run(evidence),
    ]
    return [*sweep_sections(evidence), *(part for part in parts if not (evidence.is_supervised and part.is_empty))]


def sweep_sections(evidence: Evidence) -> list[Section]:
    """What safety examples do, where a run has models with several numbers of them; none elsewhere."""
    sweep, judges = evidence.sweep, evidence.judges
    if sweep is None:
        return []
    return [
        _section(
            "Safety examples",
            " ".join([supervised.best_sentence(sweep), *sweep.missing]),
            "answers to held-out prompts of the tasks harmless and over_refusal",
            supervised.rates_table(sweep),
            supervised.changes_table(sweep),
            supervised.topics_table(sweep),
            supervised.means_table(sweep, judges),
            supervised.sweep_curves(sweep),
            supervised.mean_curves(sweep, judges),
        )
    ]


def _on_control(evidence: Evidence) -> list[Section]:
    scores, agreement = evidence.scores, judge_tables.agreement(evidence.agreement)
    found = [
        _section(
            "Control",
            "Every held-out prompt is answered under every configuration that speaks of its task. The score is the "
            "share of answers that show the side which the configuration prefers.",
            "scores.json",
            score_tables.table_i(scores),
            score_tables.other_configurations(scores),
            figures.control_plane(scores),
            beside=True,
        ),
        _section(
            "Several tasks at once",
            "S1 and S0 as above, the persona's answers (S_RP), honest answers (S_A), and the mean of the four.",
            "scores.json, with the scores of all four",
            score_tables.table_ii(scores),
        ),
        _section(
            "Control along the training",
            "The same scores on the way, on a smaller set of held-out prompts.",
            "curve.json",
            figures.control_along_training(evidence.curve),
        ),
        _section(
            "Paired tests",
            "Models answered the same prompts, so they are compared prompt by prompt.",
            "paired_tests.json",
            score_tables.paired_tests(evidence.tests) if evidence.sweep is None else None,
        ),
    ]
    if agreement is not None:  # only where several judges voted
        said = "How far the judges that voted see the same in an answer, beyond what chance would give."
        found.append(_section("Agreement of the judges", said, "agreement.json", agreement))
    errors = _section(
        "The judge's own errors",
        "The judge, tried on answers that people labelled, and what scores would be if it never erred.",
        "judge_card.json, which `cst judge-card` makes of labelled answers; this judge has none",
        judge_tables.corrected_table(scores, evidence.corrected),
        judge_tables.card_table(evidence.card) if evidence.card else None,
    )
    return [*found, errors]


def _on_limits(evidence: Evidence) -> list[Section]:
    scores, capability = evidence.scores, capability_table(evidence)
    beside = score_tables.table_iii_of_the_paper() if capability and not evidence.is_supervised else None
    return [
        _section(
            "Harmless requests",
            "Requests that look like harmful ones and aren't. Answering is what every configuration prefers.",
            "scores.json",
            score_tables.over_refusal(scores),
        ),
        _section(
            "Other wordings, no wording, sampling",
            "System prompts that tuning did not see, system prompts that name no configuration, and answers drawn at "
            "a temperature instead of greedily.",
            "scores.json",
            score_tables.wordings(scores),
            score_tables.fallbacks(scores),
            score_tables.temperatures(scores),
        ),
        _section(
            "Capabilities",
            "Multiple-choice questions, without a system prompt unless said otherwise.",
            "capability.json",
            capability,
            beside,
        ),
    ]


def capability_table(evidence: Evidence) -> Table | None:
    """The capabilities of all models; the paper's Table III is of preference tuning, so supervised runs rename it."""
    table = score_tables.table_iii(evidence.capability)
    return replace(table, title="Capabilities") if table and evidence.is_supervised else table


def robustness_sections(evidence: Evidence) -> list[Section]:
    """Beyond the paper: overrides, several turns, switching, length; those that were not asked for are empty."""
    overrides = [score for score in evidence.framed if score.framing in FAMILIES]
    exchanges = [score for score in evidence.framed if score.framing in EXCHANGES]
    kept = score_tables.framings("Kept under user-turn overrides", "family", overrides)
    tests = score_tables.paired_tests(evidence.switch_tests)
    return [
        _section(
            "User-turn overrides",
            "The deployer's system prompt stands as ever, and the user's turns speak for a configuration that prefers "
            "the other side. Followed still means the side of the system prompt: its rate is what is kept. `plain` is "
            "the control, the same prompts without such words.",
            "scores.json, with an arm of the framings `overrides`",
            replace(kept, note=_note_on_families(evidence.boundary)) if kept else None,
            figures.kept_by_family(overrides),
        ),
        _section(
            "Several turns",
            "The same prompts after benign exchanges between the user and the assistant, under the same system prompt.",
            "scores.json, with an arm of the framings `exchanges`",
            score_tables.framings("After earlier exchanges", "before the prompt", exchanges),
        ),
        _section(
            "Switching",
            "The share of prompts on which a model does what each configuration asks; greedy, canonical wordings.",
            "switch_rates.json",
            score_tables.switching(evidence.switch_rates),
            replace(tests, title="Paired tests of switching") if tests else None,
        ),
        _section(
            "Length-matched scores",
            "Where one side is long and the other short, a model may have learned a length. Here each configuration "
            "keeps only answers as long as some under every other one, and as many of each length.",
            "length_matched.json",
            score_tables.matched_lengths(evidence.length_matched, evidence.scores),
        ),
    ]


_BOUNDARIES = {
    "strong": "Control tokens part this template's turns, so that a user's role headers are text like any other.",
    "weak": "Plain text parts this template's turns (a weak boundary): a role header that a user writes can be real.",
    None: "How this template parts its turns was not recorded.",
}


def _note_on_families(boundary: str | None) -> str:
    """What a user's control tokens and role headers are to the run's template, and how to read what was kept."""
    return (
        "No control token that a user writes becomes one: the renderer makes it plain text, or refuses it. "
        f"{_BOUNDARIES[boundary]} Other families are words, against which no renderer helps. Where a model can't read "
        "a family (an encoding, a language), a high rate says that it wasn't tried, and many unscored answers that the "
        "model was thrown off."
    )


def _on_the_data(evidence: Evidence) -> list[Section]:
    return [
        _section(
            "Synthesis",
            "The model answers, criticises and rewrites; what fails a gate is dropped, with the reason counted.",
            "synthesis.json",
            synthesis_table(evidence.synthesis),
        ),
        training_section(evidence) if evidence.is_supervised else _preferences_and_training(evidence),
        Section(
            "Samples",
            "Prompts taken by a hash of their id, not by hand; greedy answers as they came.",
            "completions.jsonl",
            samples=tuple(pick_samples(evidence)),
        ),
    ]


def synthesis_table(tasks: Sequence[TaskSynthesis]) -> Table | None:
    """Prompts, pairs, and every reason for which a prompt gave no pair."""
    if not tasks:
        return None
    rows: list[Row] = []
    for task in tasks:
        rows += [Heading(f"task {task.task}"), ("prompts", str(task.prompts)), ("pairs", str(task.pairs))]
        rows += [(f"dropped: {reason.replace('_', ' ')}", str(count)) for reason, count in task.drops.items()]
    return Table("What came of the prompts", ("", "count"), tuple(rows))


def training_section(evidence: Evidence) -> Section:
    """Rows and losses of every model of supervised tuning."""
    metrics = {model: evidence.metrics[model] for model in evidence.models if evidence.metrics[model]}
    return _section(
        "Training",
        "Supervised tuning on demonstrations: the mean negative log-likelihood of a token, in nats.",
        "models/*/metrics.jsonl",
        supervised.losses_table(metrics, evidence.demonstrations),
        supervised.losses_along_training(metrics),
    )


def _preferences_and_training(evidence: Evidence) -> Section:
    def breadth(rows: Sequence[Preference]) -> int:
        return len({row.configuration for row in rows})

    return _section(
        "Preferences and training",
        _alarms(evidence),
        "preferences/*.jsonl, models/*/metrics.jsonl",
        figures.response_lengths(max(evidence.preferences.values(), key=breadth, default=[])),
        figures.logps_along_training(evidence.metrics),
    )


def _alarms(evidence: Evidence) -> str:
    """A sentence for each configuration whose chosen log-probs sank during a training, at its first step."""
    first: dict[tuple[str, str], int] = {}
    for model, steps in evidence.metrics.items():
        for step in steps:
            for name in step.sinking:
                first.setdefault((model, name), step.step)
    if not evidence.metrics:
        return ""
    if not first:
        return "No configuration's chosen log-probs sank far enough to raise the alarm."
    said = "; ".join(f"{label(model)} under {name} from step {step}" for (model, name), step in first.items())
    return f"Alarm: chosen log-probs sank: {said}."


def pick_samples(evidence: Evidence, *, per_task: int = PROMPTS_PER_TASK) -> list[Sample]:
    """The first `per_task` prompts of each task in the order of their hashes; greedy answers, first wordings."""
    shown = [
        c for c in evidence.completions if c.temperature == 0 and c.wordings in ("canonical", "none") and not c.framing
    ]
    exhibits = {verdict.completion_id: verdict.exhibits for verdict in evidence.verdicts}
    samples: list[Sample] = []
    for task in dict.fromkeys(completion.prompt.task for completion in shown):
        prompts = {c.prompt.id: c.prompt for c in shown if c.prompt.task == task}
        for id in sorted(prompts, key=lambda id: sha256(id.encode()).hexdigest())[:per_task]:
            of_prompt = [completion for completion in shown if completion.prompt.id == id]
            columns = {c.configuration: SampleColumn(c.configuration, c.system_prompt) for c in of_prompt}
            responses = {(c.model, c.configuration): _response(c, exhibits, evidence.configurations) for c in of_prompt}
            models = dict.fromkeys(completion.model for completion in of_prompt)
            rows = {label(model): tuple(responses.get((model, name)) for name in columns) for model in models}
            samples.append(Sample(prompts[id], tuple(columns.values()), rows))
    return samples


def _response(
    completion: Completion, exhibits: Mapping[str, Side | None], configurations: Sequence[SafetyConfiguration]
) -> ShownResponse:
    side = exhibits.get(completion.id)
    cut = ", cut by the token limit" if completion.finish_reason == "length" else ""
    if side is None:
        mark = "unscored" if completion.id in exhibits else "not judged"
        return ShownResponse(completion.text, mark + cut, "unscored")
    if not configurations:
        return ShownResponse(completion.text, f"shows the {side.value} side{cut}", "unscored")
    if side is preferred_side(completion.configuration, completion.prompt, configurations):
        return ShownResponse(completion.text, f"followed{cut}", "followed")
    return ShownResponse(completion.text, f"not followed{cut}", "failed")


def _on_the_run(evidence: Evidence) -> list[Section]:
    scores = [*evidence.scores, *evidence.framed]
    every = score_tables.every_score(scores) if scores else None
    tests = score_tables.paired_tests(evidence.tests, first_only=False)
    wordings = _configurations(evidence)
    return [
        _section("Every score and test", "", "scores.json", every, tests, folded=True),
        _section("Configurations", "", "configurations.json", wordings, folded=True),
        _section(
            "Fingerprints",
            "What the run was made from and with.",
            "fingerprints.json",
            fingerprints_table(evidence.fingerprints),
        ),
    ]


def _configurations(evidence: Evidence) -> Table | None:
    """Wordings under their configuration; in supervised tuning they are only used to ask for answers."""
    if not evidence.configurations:
        return None
    rows: list[Row] = []
    first, own = ("asked under", ", or none") if evidence.is_supervised else ("tuned on", "")
    for c in evidence.configurations:
        rows.append(Heading(f"{c.name} (tasks {', '.join(c.tasks)}; prefers {_preference(c)})"))
        rows += [(first, text) for text in c.wordings] or [(first, f"each prompt's own system prompt{own}")]
        rows += [("held out", text) for text in c.held_out_wordings]
        rows += [("unseen", text) for text in c.unseen_wordings]
    return Table("Configurations and their wordings", ("", "system prompt"), tuple(rows))


def _preference(configuration: SafetyConfiguration) -> str:
    prefers = configuration.prefers
    if isinstance(prefers, Side):
        return prefers.value
    return ", ".join([prefers.default.value, *(f"{side.value} for {topic}" for topic, side in prefers.topics.items())])


def fingerprints_table(value: object) -> Table | None:
    """Every fingerprint by its dotted name."""
    rows = tuple(flat(value).items())
    return Table("Fingerprints", ("of", "value"), rows) if rows else None


def flat(value: object, name: str = "") -> dict[str, str]:
    """The values within a JSON value as text, each by its dotted name; what is null or empty has no line."""
    if value is None:
        return {}
    if isinstance(value, dict):
        inner = [(f"{name}.{key}" if name else str(key), each) for key, each in cast(dict[str, Any], value).items()]
    elif isinstance(value, list):
        inner = [(f"{name}.{index}", each) for index, each in enumerate(cast(list[Any], value))]
    else:
        return {name: str(value)}
    return {dotted: text for key, each in inner for dotted, text in flat(each, key).items()}
