"""The recipe's words for judges of harm and for panels."""

import pytest

from cst.errors import RecipeError
from cst.recipe import Recipe
from cst.recipe.judges import PanelSettings, single_judges
from cst.recipe.reading import parse_recipe

CLASSIFIER = "{kind: classifier, path: some/model, high_means: safe, threshold: 0.5}"
GUARD = "{kind: guard, model: guard, style: dynaguard}"


def recipe(judge: str, models: str = "{guard: {kind: local, path: miniature}}") -> Recipe:
    text = f"name: try\nmodel: {{path: miniature}}\nchat_models: {models}\njudge: {judge}"
    return parse_recipe(text, where="try.yaml")


@pytest.mark.parametrize("preset", ["redteam", "redteam-osst"])
def test_a_preset_says_all_but_the_threshold(preset: str) -> None:
    judge = recipe(f"{{kind: classifier, preset: {preset}, threshold: 1.5}}").judge

    assert judge is not None
    assert judge.kind == "classifier"
    assert judge.path == f"safepaca/absolute-harmfulness-predictor-{preset}"
    assert (judge.high_means, judge.output, judge.layout, judge.max_length) == ("harmful", 0, "template", 512)
    assert judge.template == "\n\nHuman: {prompt}\n\nAssistant: {answer}"
    with pytest.raises(RecipeError, match=r"'judge\.threshold' is missing"):
        recipe(f"{{kind: classifier, preset: {preset}}}")


def test_what_is_said_stands_before_what_a_preset_says() -> None:
    judge = recipe("{kind: classifier, preset: redteam, threshold: 1, path: my/own, max_length: 256}").judge

    assert judge is not None
    assert judge.kind == "classifier"
    assert (judge.path, judge.max_length, judge.batch_size) == ("my/own", 256, 128)


@pytest.mark.parametrize(
    ("judge", "says"),
    [
        ("{kind: classifier, preset: redtem, threshold: 1}", "judge.preset='redtem': Input should be 'redteam' or"),
        ("{kind: classifier, path: p, threshold: 1}", "'judge.high_means' is missing"),
        (
            "{kind: classifier, preset: redteam, threshold: 1, template: '{prompt}'}",
            r"must use \{prompt\} and \{answer\}",
        ),
        ("{kind: classifier, preset: redteam, threshold: 1, template: '{prompt}{answer}{x}'}", "and no others"),
        ("{kind: guard, model: guard, style: lama_guard}", "judge.style='lama_guard': Input should be"),
        ("{kind: guard, model: guard, style: llama_guard, system_prompt: p}", "is for style dynaguard"),
        (
            "{kind: guard, model: gard, style: dynaguard}",
            r"kind guard has the model 'gard', but chat_models has only \['guard'\]",
        ),
        (f"{{kind: panel, members: [{CLASSIFIER}]}}", "judge.members=.* at least 2 items"),
        (f"{{kind: panel, members: [{CLASSIFIER}, {{kind: panel}}]}}", r"judge\.members\.1\.kind='panel'"),
        (f"{{kind: panel, members: [{CLASSIFIER}, {GUARD}], rule: most}}", "judge.rule='most'"),
        (f"{{kind: panel, members: [{CLASSIFIER}, {{kind: moderation, fits: 1}}]}}", r"'judge\.members\.1\.fits'"),
        ("{kind: moderation, thresholds: {violence: 2}}", r"judge\.thresholds\.violence=2"),
    ],
)
def test_what_does_not_fit_is_told_in_the_words_of_the_recipe(judge: str, says: str) -> None:
    with pytest.raises(RecipeError, match=says):
        recipe(judge)


def test_an_unknown_guard_in_a_panel_is_refused_too() -> None:
    with pytest.raises(RecipeError, match="the model 'guard', but chat_models has only"):
        recipe(f"{{kind: panel, members: [{CLASSIFIER}, {GUARD}]}}", models="{}")


@pytest.mark.parametrize(
    "judge",
    [CLASSIFIER, GUARD, "{kind: moderation}", f"{{kind: panel, members: [{CLASSIFIER}, {GUARD}], rule: unanimous}}"],
)
def test_a_resolved_recipe_is_itself_a_recipe(judge: str) -> None:
    made = recipe(judge)

    assert Recipe.model_validate_json(made.model_dump_json()) == made


def test_single_judges_are_the_members_or_the_one() -> None:
    panel = recipe(f"{{kind: panel, members: [{CLASSIFIER}, {GUARD}]}}").judge
    one = recipe(CLASSIFIER).judge

    assert isinstance(panel, PanelSettings)
    assert one is not None
    assert single_judges(panel) == panel.members
    assert single_judges(one) == (one,)
