"""A recipe's split and mix, from the check to the report."""

import json

import pytest

from cst.commands.console import bring
from cst.errors import DataError, RecipeError
from cst.miniature.prompts import configurations, training_prompts
from cst.pipeline import run
from cst.preferences.conditioning import condition
from cst.preferences.exports import export_preferences
from cst.preferences.selection import TaskRows
from cst.recipe_file import parse_recipe
from cst.records import Preference, Prompt, ResponsePair, Score
from cst.stages.row_selection import planned_rows
from cst.store import read_json, read_records, write_records
from cst.workshop import Workshop

SMALL = """
training: {max_steps: 1, learning_rate: 1.0e-3, lora_r: 2}
generation: {max_new_tokens: 4}
judge: {kind: miniature}
"""
TASKS = ("harmless", "over_refusal")


def recipe(text: str, folder):
    words = f"name: try\nmodel: {{path: miniature}}\nconfigurations: miniature\n{text}"
    return parse_recipe(words, where="try.yaml", folder=folder)


@pytest.fixture
def rows(tmp_path) -> list[Preference]:
    """The miniature's rows, of two tasks, in a file."""
    prompts = [p for task in TASKS for p in training_prompts(40, task=task, seed=0)]
    pairs = [ResponsePair(prompt=prompt, original="Here it is.", revised="No.", author="a test") for prompt in prompts]
    made = condition(pairs, configurations())
    write_records(tmp_path / "rows.jsonl", made)
    return made


def test_a_recipe_that_holds_out_a_share_of_its_rows_runs_to_its_report(tmp_path, rows):
    text = "preferences: {path: rows.jsonl, held_out_share: 0.2}\nmixing: {harmless: 1, over_refusal: 0.5}\n"
    split, home = recipe(text + SMALL, tmp_path), tmp_path / "run"
    run(split, home)
    held_out = read_records(home / "held_out_prompts.jsonl", Prompt)
    trained = read_records(home / "preferences/cst.jsonl", Preference)
    counts = [TaskRows.model_validate(row) for row in read_json(home / "preferences/cst.counts.json")]
    scores = [Score.model_validate(score) for score in read_json(home / "scores.json")]

    assert {prompt.text for prompt in held_out} & {row.prompt for row in trained} == set()
    assert {prompt.text for prompt in held_out} < {row.prompt for row in rows}
    assert sum(count.rows for count in counts) == len(rows)
    assert [count.kept for count in counts] == [sum(row.task == count.task for row in trained) for count in counts]
    assert abs(counts[0].kept - 2 * counts[1].kept) <= 4
    assert {score.n + score.unscored for score in scores if score.task == "harmless"} == {
        sum(prompt.task == "harmless" for prompt in held_out)
    }
    assert (home / "report.html").exists()
    assert set(run(split, home).values()) == {"done before"}


def test_what_a_check_tells_is_what_a_run_does(tmp_path, rows):
    text = "preferences: {path: rows.jsonl, held_out_share: 0.2}\nmixing: {harmless: 1, over_refusal: 1}\n"
    split, home = recipe(text, tmp_path), tmp_path / "run"
    held_out, harmless, _ = planned_rows(Workshop(split, home))
    run(split, home, until="condition")
    (counts, _) = read_json(home / "preferences/cst.counts.json")

    n = len(read_records(home / "held_out_prompts.jsonl", Prompt))
    assert held_out == f"{n} prompts held out"
    assert harmless.startswith("cst: harmless: ")
    assert f"of {counts['rows']} rows to train on ({counts['held_out']} held out, {counts['left_out']}" in harmless


def test_the_verb_tells_what_it_left_out_to_people_and_to_machines(tmp_path, rows, capsys):
    mixed, home = recipe("preferences: {path: rows.jsonl}\nmixing: {harmless: 1, over_refusal: 0}", tmp_path), tmp_path
    bring(mixed, home / "run", until="condition", update=False, as_json=False)
    plain = capsys.readouterr().out
    bring(mixed, home / "run", until="condition", update=False, as_json=True)
    counts = json.loads(capsys.readouterr().out)["preferences/cst.counts.json"]

    n = sum(row.task == "over_refusal" for row in rows)
    assert f"cst: over_refusal: 0 of {n} rows to train on (0 held out, {n} left out by the mix)" in plain
    assert counts[1] == {"task": "over_refusal", "rows": n, "held_out": 0, "left_out": n}


def test_rows_that_ask_a_prompt_of_the_held_out_file_are_not_trained_on(tmp_path, rows):
    write_records(tmp_path / "held.jsonl", training_prompts(3, task="harmless", seed=0))
    given = recipe("preferences: {path: rows.jsonl}\nprompts: {held_out: [{kind: file, path: held.jsonl}]}", tmp_path)
    run(given, tmp_path / "run", until="condition")

    assert len(read_records(tmp_path / "run/preferences/cst.jsonl", Preference)) == len(rows) - 3 * 2


def test_training_prompts_are_split_too_and_the_seed_draws_others(tmp_path):
    text = "prompts: {training: [{kind: file, path: p.txt}], held_out_share: 0.3}\nseed: "
    (tmp_path / "p.txt").write_text("\n".join(f"alpha{k} beta{k} gamma{k}" for k in range(100)))
    shops = [Workshop(recipe(f"{text}{seed}", tmp_path), tmp_path / "run") for seed in (0, 0, 1)]
    (training, held_out), again, other = ((list(asked), apart) for asked, apart in (shop.prompts() for shop in shops))

    assert len(training) + len(held_out) == 100
    assert 12 <= len(held_out) <= 48
    assert again == (training, held_out) != other
    assert planned_rows(shops[0]) == [f"{len(held_out)} prompts held out, {len(training)} to synthesize from"]


def test_pairs_are_mixed_for_each_model_by_the_tasks_that_it_speaks_of(tmp_path):
    prompts = [*training_prompts(8, task="harmless", seed=0), *training_prompts(4, task="truthfulness", seed=0)]
    pairs = [ResponsePair(prompt=prompt, original="Here it is.", revised="No.", author="a test") for prompt in prompts]
    mixed = recipe("mixing: {harmless: 1, truthfulness: 1}\nmodels: {safe: [harmless], all: []}", tmp_path)
    write_records(tmp_path / "run/pairs.jsonl", pairs)
    run(mixed, tmp_path / "run", until="condition")
    safe, both = (read_json(tmp_path / f"run/preferences/{name}.counts.json") for name in ("safe", "all"))

    assert safe == [{"task": "harmless", "rows": 8, "held_out": 0, "left_out": 0}]
    assert [row["left_out"] for row in both] == [8, 0]
    assert planned_rows(Workshop(mixed, tmp_path)) == [
        "mixing: harmless 50.0% of the rows", "mixing: truthfulness 50.0% of the rows"
    ]  # fmt: skip


def test_a_model_is_trained_on_the_rows_of_the_configurations_that_it_names(tmp_path, rows):
    export_preferences(tmp_path / "rows.json", rows, format="paper")
    text = "preferences: {path: rows.json}\nmodels: {safe: [harmless], both: [harmless, uncensored], all: []}\nmixing: "
    named = recipe(f"{text}{{harmless: 1, over_refusal: 1}}", tmp_path)
    run(named, tmp_path / "run", until="condition")
    made = {name: read_records(tmp_path / f"run/preferences/{name}.jsonl", Preference) for name in named.models}

    assert {row.configuration for row in made["safe"]} == {"harmless"}
    assert {row.system_prompt for row in made["safe"]} <= set(configurations()[0].wordings)
    assert len(made["both"]) == len(made["all"]) == 2 * len(made["safe"]) == len(rows)
    told = planned_rows(Workshop(named, tmp_path))
    assert told[1:3] == [
        f"safe: {task}: 40 of 40 rows to train on (0 held out, 0 left out by the mix)" for task in TASKS
    ]
    assert len(told) == 1 + 2 * len(made)


def test_rows_of_no_configuration_are_refused_where_a_model_names_its_own(tmp_path, rows):
    export_preferences(tmp_path / "rows.json", rows, format="paper")
    text = "preferences: {path: rows.json}\nmodels: {dpo: [safe]}\nconfigurations: "
    words = "[{name: safe, prefers: revised, tasks: [harmless, over_refusal], wordings: [Be safe.]}]"
    other = parse_recipe(f"name: try\nmodel: {{path: miniature}}\n{text}{words}", where="try.yaml", folder=tmp_path)
    with pytest.raises(DataError, match=r"160 of 160 rows stand under no configuration.* Add it to a configuration's"):
        run(other, tmp_path / "run", until="condition")


def test_a_task_without_rows_is_refused_with_those_that_have_some(tmp_path, rows):
    unknown = recipe("preferences: {path: rows.jsonl}\nmixing: {harmles: 1}", tmp_path)
    with pytest.raises(DataError, match=r"\['harmles'\], but there are only rows of \['harmless', 'over_refusal'\]"):
        run(unknown, tmp_path / "run", until="condition")


def test_a_model_whose_tasks_have_no_weight_is_refused_and_not_trained_on_all_rows(tmp_path):
    prompts = training_prompts(4, task="truthfulness", seed=0)
    pairs = [ResponsePair(prompt=prompt, original="Here it is.", revised="No.", author="a test") for prompt in prompts]
    write_records(tmp_path / "run/pairs.jsonl", pairs)
    with pytest.raises(DataError, match=r"The tasks \['truthfulness'\] have no weight, only \[\]"):
        run(recipe("mixing: {harmless: 1}\nmodels: {cst: [honest]}", tmp_path), tmp_path / "run", until="condition")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("prompts: {held_out_share: 0.1}", "holds out of prompts.training, which names no prompts"),
        ("prompts: {held_out_share: 1}", "prompts.held_out_share"),
        ("preferences: {path: x, held_out_share: -0.1}", "preferences.held_out_share"),
        ("mixing: {a: 0, b: 0}", "mixing gives no task a weight above 0"),
        ("mixing: {a: -1}", "mixing.a"),
        ("mixing: {a: .inf}", "mixing.a"),
        (
            "synthesis: {methods: [{kind: contrast, tasks: [t]}]}\nmixing: {a: 1}",
            r"\['a'\], and synthesis makes .* \['t'\]",
        ),
        ("synthesis: {methods: [{kind: contrast, tasks: [t, u]}]}\nmixing: {t: 1}", "give each of these a weight"),
    ],
)
def test_what_can_not_be_is_refused_in_the_recipe(text, said):
    with pytest.raises(RecipeError, match=said):
        parse_recipe(f"name: try\nmodel: {{path: miniature}}\n{text}", where="try.yaml")
