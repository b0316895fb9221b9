"""YAML 1.2 in, a recipe or one clear sentence out."""

from pathlib import Path

import pytest

from cst.errors import RecipeError
from cst.recipe import Recipe
from cst.recipe.reading import load_recipe, parse_recipe

SMALLEST = "name: x\nmodel: {path: miniature}\n"
FOLDER = Path("/recipes")


def parse(yaml: str, *overrides: str) -> Recipe:
    return parse_recipe(SMALLEST + yaml, overrides, where="r.yaml", folder=FOLDER)


def complaint(yaml: str, *overrides: str) -> str:
    with pytest.raises(RecipeError) as refusal:
        parse(yaml, *overrides)
    message = str(refusal.value)
    assert "\n" not in message
    return message


def test_numbers_and_words_are_read_as_yaml_1_2():
    recipe = parse("training: {learning_rate: 5e-6}\nnote: no\n")

    assert recipe.training.learning_rate == 5e-6
    assert recipe.note == "no"


@pytest.mark.parametrize(("written", "read"), [("auto", "auto"), ("true", True), ("false", False)])
def test_recomputation_is_a_word_or_a_truth_value(written: str, read: object):
    assert parse(f"training: {{gradient_checkpointing: {written}}}").training.gradient_checkpointing is read
    assert parse("", f"training.gradient_checkpointing={written}").training.gradient_checkpointing is read


def test_of_two_equal_keys_none_is_kept():
    assert complaint("name: y").startswith('r.yaml:3 is not YAML 1.2: found duplicate key "name"')


@pytest.mark.parametrize(
    ("yaml", "says"),
    [
        ("training: {beeta: 0.2}", "r.yaml: unknown key 'training.beeta'. Did you mean 'beta'?"),
        ("trainng: {}", "r.yaml: unknown key 'trainng'. Did you mean 'training'?"),
        (
            "prompts: {held_out: [{kind: file, pth: a}]}",
            "r.yaml: unknown key 'prompts.held_out.0.pth'. Did you mean 'path'?",
        ),
        (
            "synthesis: {methods: [{kind: contrast, tasks: [t], revised_prefx: a}]}",
            "r.yaml: unknown key 'synthesis.methods.0.revised_prefx'. Did you mean 'revised_prefix'?",
        ),
        (
            "configurations: [{name: s, prefer: original, tasks: [t]}]",
            "r.yaml: unknown key 'configurations.0.prefer'. Did you mean 'prefers'?",
        ),
        (
            "chat_models: {local: {kind: endpoint, base_url: []}}",
            "r.yaml: unknown key 'chat_models.local.base_url'. Did you mean 'base_urls'?",
        ),
        ("genration: {}", "r.yaml: unknown key 'genration'. Did you mean 'generation'?"),
        (
            "prompts: {qqq: 1}",
            "r.yaml: unknown key 'prompts.qqq'. Known keys here: held_out, held_out_share, training.",
        ),
    ],
)
def test_a_misspelt_key_names_the_nearest_right_one(yaml, says):
    assert complaint(yaml) == says


@pytest.mark.parametrize(
    ("yaml", "says"),
    [
        ("training: {beta: -1}", "r.yaml: training.beta=-1: Input should be greater than 0."),
        ("training: {beta: .nan}", "r.yaml: training.beta=nan: Input should be a finite number."),
        ("training: 3", "r.yaml: training=3: Input should be a valid dictionary"),
        ("judge: {kind: me}", "r.yaml: judge.kind='me': Input should be one of 'miniature'"),
        (
            "prompts: {training: [{kind: fil}]}",
            "r.yaml: prompts.training.0.kind='fil': Input should be one of 'miniature', 'file'",
        ),
        ("prompts: {training: [{n: 3}]}", "r.yaml: key 'prompts.training.0.kind' is missing"),
        (
            "prompts: {training: [{kind: miniature, task: harmless}]}",
            "r.yaml: key 'prompts.training.0.n' is missing. Add it; docs/recipes.md",
        ),
        (
            "chat_models: {a: {kind: endpoint, model: m, base_urls: ['http://a'], api_key_env: sk-0123}}",
            "r.yaml: chat_models.a.api_key_env (its value is not shown): String should match pattern",
        ),
        ("configurations: minature", "r.yaml: configurations='minature': Input should be"),
        ("models: {base: []}", "r.yaml: models.base is the start model's own name; choose another."),
    ],
)
def test_a_value_that_does_not_fit_is_named_with_its_key(yaml, says):
    assert complaint(yaml).startswith(says)


def test_where_two_shapes_are_possible_both_are_told():
    message = complaint("training: {lora_target_modules: all_linear}")

    assert "'all-linear'" in message
    assert "valid tuple" in message


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "r.yaml holds NoneType, but must be a mapping, such as"),
        ("- a", "r.yaml holds list, but must be a mapping"),
        ("name: [", "r.yaml:1 is not YAML 1.2"),
        ("a: 1\n\tb: 2", "r.yaml:2 is not YAML 1.2: found character '\\t'"),
        ("a: \x00", "r.yaml is not YAML 1.2: unacceptable character #x0000"),
        ("a: !!python/object:os.system {}", "r.yaml:1 is not YAML 1.2: could not determine a constructor"),
        ("name: x", "r.yaml: key 'model' is missing."),
    ],
)
def test_what_is_no_recipe_is_refused_in_one_sentence(text, says):
    with pytest.raises(RecipeError) as refusal:
        parse_recipe(text, where="r.yaml")

    assert str(refusal.value).startswith(says)


def test_overrides_are_read_as_yaml_and_pass_through_the_same_schema():
    recipe = parse(
        "training: {beta: 0.3}", "training.beta=0.2", "training.learning_rate=5e-6", "training.report_to=[wandb]"
    )

    assert recipe.training.beta == 0.2
    assert recipe.training.learning_rate == 5e-6
    assert recipe.training.report_to == ("wandb",)


@pytest.mark.parametrize(
    ("override", "says"),
    [
        ("training.beta", "--set 'training.beta' can't be read; write section.key=value, such as training.beta=0.2."),
        ("=3", "--set '=3' can't be read"),
        ("training.=3", "--set 'training.=3' can't be read"),
        ("training.batas=1", "r.yaml with --set training.batas=1: unknown key 'training.batas'. Did you mean 'beta'?"),
        (
            "training.beta=-1",
            "r.yaml with --set training.beta=-1: training.beta=-1: Input should be greater than 0.",
        ),
        ("judge.kind=me", "r.yaml with --set judge.kind=me: judge.kind='me': Input should be one of 'miniature'"),
        ("model.path.x=1", "--set 'model.path.x=1': model.path has no keys of its own in this recipe."),
        ("name=[", "--set name=[:1 is not YAML 1.2"),
    ],
)
def test_a_bad_override_is_refused_in_its_own_words(override, says):
    assert complaint("", override).startswith(says)


def test_an_override_opens_a_section_that_the_recipe_leaves_out():
    recipe = parse("", "judge.kind=refusal_phrases", "capabilities.tasks=miniature")

    assert recipe.judge is not None
    assert recipe.judge.kind == "refusal_phrases"
    assert recipe.capabilities is not None


def test_overrides_change_nothing_else():
    yaml = "training: {report_to: [wandb], lora_target_modules: [q_proj]}\nconfigurations: miniature\n"
    changed = parse(yaml, "training.beta=0.2")

    assert changed.model_copy(update={"training": parse(yaml).training}) == parse(yaml)
    assert changed.training.model_copy(update={"beta": 0.1}) == parse(yaml).training


def test_relative_paths_start_at_the_recipes_folder_and_absolute_ones_stay():
    recipe = parse("preferences: {path: data/a.json}\ncapabilities: {tasks: [{task: t}], include_path: /elsewhere}")
    own = parse("capabilities: {tasks: [{task: t}], include_path: tasks}")

    assert recipe.preferences is not None
    assert recipe.preferences.path == FOLDER / "data" / "a.json"
    assert recipe.capabilities is not None
    assert recipe.capabilities.include_path == Path("/elsewhere")
    assert own.capabilities is not None
    assert own.capabilities.include_path == FOLDER / "tasks"


def test_a_path_in_an_override_is_meant_from_where_the_command_stands():
    recipe = parse("preferences: {path: a.json}", "preferences.path=data/b.json")

    assert recipe.preferences is not None
    assert recipe.preferences.path == Path("data/b.json")


def test_a_file_is_read_with_its_own_folder(tmp_path):
    (tmp_path / "r.yaml").write_text(SMALLEST + "preferences: {path: a.json}")
    recipe = load_recipe(tmp_path / "r.yaml", ["training.beta=0.5"])

    assert recipe.preferences is not None
    assert recipe.preferences.path == tmp_path / "a.json"
    assert recipe.training.beta == 0.5


def test_a_recipe_that_can_not_be_read_is_named(tmp_path):
    (tmp_path / "latin.yaml").write_bytes("name: né".encode("latin-1"))

    refusals = {"none.yaml": "There is no recipe file .*none", ".": "is a folder", "latin.yaml": "is not UTF-8"}
    for name, says in refusals.items():
        with pytest.raises(RecipeError, match=says):
            load_recipe(tmp_path / name)


@pytest.mark.parametrize("name", ["hub:owner/name", "hub:owner/name:test", "hub:owner/name:main:test"])
def test_a_data_set_of_the_hub_is_not_taken_for_a_path(name):
    recipe = parse_recipe(f"name: x\nmodel: {{path: m}}\npreferences: {{path: '{name}'}}", where="r", folder=Path("/f"))

    assert recipe.preferences is not None
    assert str(recipe.preferences.path) == name
    assert Recipe.model_validate_json(recipe.model_dump_json()) == recipe
