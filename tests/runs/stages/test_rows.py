"""A recipe's split and mix, from the check to the report."""

import json

import pytest

from cst.commands.console import bring
from cst.commands.rows import export
from cst.commands.verbs import check
from cst.doors import open_workshop, run
from cst.errors import DataError, RecipeError, RunFolderError
from cst.miniature.prompts import configurations, training_prompts
from cst.preferences.conditioning import condition
from cst.preferences.exports import export_preferences
from cst.preferences.mixtures import PartRows
from cst.preferences.selection import TaskRows
from cst.recipe.reading import parse_recipe
from cst.records import Demonstration, Preference, Prompt, ResponsePair, Score
from cst.runs.stages.rows import planned_rows
from cst.store import read_json, read_records, write_records

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
    held_out, harmless, _ = planned_rows(open_workshop(split, home))
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
    shops = [open_workshop(recipe(f"{text}{seed}", tmp_path), tmp_path / "run") for seed in (0, 0, 1)]
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
    assert planned_rows(open_workshop(mixed, tmp_path)) == [
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
    told = planned_rows(open_workshop(named, tmp_path))
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
        ("prompts: {held_out_share: 0.1}", "splits prompts.training, which is empty"),
        ("prompts: {held_out_share: 1}", "prompts.held_out_share"),
        ("preferences: {path: x, held_out_share: -0.1}", "preferences.held_out_share"),
        ("mixing: {a: 0, b: 0}", "mixing gives no task a weight above 0"),
        ("mixing: {a: -1}", "mixing.a"),
        ("mixing: {a: .inf}", "mixing.a"),
        (
            "synthesis: {methods: [{kind: contrast, tasks: [t]}]}\nmixing: {a: 1}",
            r"\['a'\], but synthesis makes .* \['t'\]",
        ),
        ("synthesis: {methods: [{kind: contrast, tasks: [t, u]}]}\nmixing: {t: 1}", "give each of these a weight"),
    ],
)
def test_what_can_not_be_is_refused_in_the_recipe(text, said):
    with pytest.raises(RecipeError, match=said):
        parse_recipe(f"name: try\nmodel: {{path: miniature}}\n{text}", where="try.yaml")


RECIPE = """
name: try
model: {path: miniature}
mixture:
  instructions: [{kind: file, path: things.json, n: 40, license: cc-by-nc-4.0}]
  safety: [{kind: file, path: care.jsonl, license: mit}]
  safety_counts: [0, 4, 9]
  validation_rows: 10
prompts: {held_out: [{kind: file, path: test.txt, task: harmless}]}
configurations: [{name: safe, tasks: [harmless], prefers: revised}]
training: {method: sft}
judge: {kind: refusal_phrases}
"""


def words(name: str, number: int) -> str:
    return " ".join(f"{name}{number}{letter}" for letter in "abcd")


@pytest.fixture
def folder(tmp_path):
    things = [{"instruction": words("thing", n), "input": "", "output": f"So {n}."} for n in range(50)]
    (tmp_path / "things.json").write_text(json.dumps(things))
    care = [{"prompt": words("care", n), "response": f"No {n}."} for n in range(12)]
    (tmp_path / "care.jsonl").write_text("".join(json.dumps(row) + "\n" for row in care))
    (tmp_path / "test.txt").write_text(f"{words('care', 3)}\n{words('ask', 1)}\n")
    return tmp_path


def recipe_of_mixture(folder, *overrides: str):
    return parse_recipe(RECIPE, overrides, where="try.yaml", folder=folder)


def conditioned(folder, *overrides: str, update: bool = False):
    return run(recipe_of_mixture(folder, *overrides), folder / "run", until="condition", update=update)


def rows_of_mixture(folder, model: str, of: str = "demonstrations") -> list[Demonstration]:
    return read_records(folder / "run" / of / f"{model}.jsonl", Demonstration)


def test_each_model_has_its_rows_and_those_for_its_validation(folder):
    assert set(conditioned(folder).values()) == {"made"}
    for model, n in (("safety-0", 0), ("safety-4", 4), ("safety-9", 9)):
        trained, apart = rows_of_mixture(folder, model), rows_of_mixture(folder, model, "validation")

        assert (len(trained) + len(apart), len(apart)) == (40 + n, 10)
        assert sum(row.task == "safety" for row in [*trained, *apart]) == n
        assert not {row.id for row in trained} & {row.id for row in apart}
    assert {row.source for row in rows_of_mixture(folder, "safety-9")} == {"things.json", "care.jsonl"}


def test_what_is_held_out_is_never_trained_on(folder):
    conditioned(folder)
    counts = [PartRows.model_validate(row) for row in read_json(folder / "run/demonstrations/safety-9.counts.json")]
    seen = {row.prompt for of in ("demonstrations", "validation") for row in rows_of_mixture(folder, "safety-9", of)}

    assert words("care", 3) not in seen
    assert counts[1].dropped == {"held_out_prompt": 1}
    assert (counts[1].rows, counts[1].drawn, counts[0].validation + counts[1].validation) == (12, 9, 10)


def test_a_second_run_has_nothing_to_do_and_another_number_makes_one_more_model(folder):
    conditioned(folder)
    assert set(conditioned(folder).values()) == {"done before"}
    one_more = "mixture.safety_counts=[0, 4, 9, 11]"
    with pytest.raises(RunFolderError, match=r"changed: mixture, models"):
        conditioned(folder, one_more)
    outcomes = conditioned(folder, one_more, update=True)

    assert [name for name, outcome in outcomes.items() if outcome == "made"] == ["condition-safety-11"]


@pytest.mark.parametrize("change", ["mixture.seed=1", "mixture.validation_rows=9", "seed=1"])
def test_another_seed_or_split_makes_all_rows_again(folder, change):
    conditioned(folder)
    outcomes = conditioned(folder, change, update=True)

    assert {outcomes[f"condition-safety-{n}"] for n in (0, 4, 9)} == {"made"}


def test_a_changed_source_is_noticed_and_a_licence_changes_no_row(folder):
    conditioned(folder)
    sources = "mixture.safety=[{kind: file, path: PATH, license: cc0-1.0}]".replace("PATH", str(folder / "care.jsonl"))
    assert set(conditioned(folder, sources, update=True).values()) == {"done before"}
    (folder / "care.jsonl").write_text((folder / "care.jsonl").read_text().replace("No 1.", "Never."))
    outcomes = conditioned(folder, sources, update=True)

    assert {outcomes[f"condition-safety-{n}"] for n in (0, 4, 9)} == {"made"}


def test_too_few_safety_examples_are_told_by_the_recipe_s_key(folder):
    (folder / "care.jsonl").write_text(json.dumps({"prompt": "p", "response": "y"}))
    with pytest.raises(DataError, match=r"mixture\.safety_counts=4 asks for 4 safety examples, and there are 1 that"):
        conditioned(folder)


def test_check_and_condition_name_the_mixture(folder, capsys):
    (folder / "try.yaml").write_text(RECIPE)
    check(folder / "try.yaml", [], as_json=False)
    told = capsys.readouterr().out
    assert "instructions: 40 rows of things.json (cc-by-nc-4.0)" in told
    assert "safety: all rows of care.jsonl (mit)" in told
    assert "safety-4: supervised tuning with 4 safety examples" in told
    assert "10 rows of each mixture set apart for the validation loss" in told
    assert "pairs" not in told

    bring(recipe_of_mixture(folder), folder / "run", until="condition", update=False, as_json=False)
    assert "safety-4: safety: 4 of 12 rows" in capsys.readouterr().out
    bring(recipe_of_mixture(folder), folder / "run", until="condition", update=False, as_json=True)
    assert "demonstrations/safety-4.counts.json" in json.loads(capsys.readouterr().out)


def test_a_model_s_rows_are_exported_in_the_columns_of_another_tool(folder):
    conditioned(folder)
    export(
        str(folder / "run/demonstrations/safety-0.jsonl"),
        folder / "out.json",
        format="instruction-output",
        plain=True,
    )
    written, original = (json.loads((folder / name).read_text()) for name in ("out.json", "things.json"))

    assert len(written) == 30
    assert all(row in original for row in written)


def test_without_safety_there_is_one_model(folder):
    outcomes = conditioned(folder, "mixture.safety=[]", "mixture.validation_rows=0")

    assert "condition-sft" in outcomes
    assert len(rows_of_mixture(folder, "sft")) == 40
    assert not (folder / "run/validation").exists()


def test_held_out_prompts_without_a_configuration_are_refused_before_anything_is_made(folder):
    with pytest.raises(RecipeError, match="has held-out prompts and no configurations, by which answers are scored"):
        run(recipe_of_mixture(folder, "configurations=[]"), folder / "run")
    assert "condition-safety-0" in conditioned(folder, "configurations=[]", update=True)
