"""A judge's card in a run: scores are corrected by it, the report shows it, and another judge's is refused."""

import json
from pathlib import Path

import pytest
from made_for_evaluation import CONFIGURATIONS
from run_for_evaluation import answers

from cst.commands.reports import LabelReading, make_card
from cst.doors import open_workshop
from cst.errors import DataError, RecipeError
from cst.evaluation.robustness import LengthMatchedScore
from cst.evaluation.sweep import Sweep
from cst.miniature.judge import labelled_rows
from cst.recipe import Recipe
from cst.recipe.reading import parse_recipe
from cst.records import Completion, Prompt, Score, Side, Verdict
from cst.reporting.report import render_report
from cst.runs.folder import RunFolder
from cst.runs.pipeline import steps
from cst.runs.stages.scores import (
    CARD,
    card_of,
    card_stage,
    has_card,
    is_sweep,
    robustness_stage,
    score_stage,
    sweep_stage,
)
from cst.runs.workshop import Workshop
from cst.store import read_json, write_json, write_records

RECIPE = """
name: carded
model: {path: miniature}
prompts: {held_out: [{kind: miniature, task: harmless, n: 1}]}
models: {dpo: [], cst: []}
judge: {kind: refusal_phrases}
"""


def recipe(**changed: object) -> Recipe:
    read = parse_recipe(RECIPE, where="test")
    return Recipe.model_validate({**read.model_dump(), "configurations": CONFIGURATIONS, **changed})


@pytest.fixture
def labelled(tmp_path: Path) -> Path:
    path = tmp_path / "labelled.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in labelled_rows(60, seed=0)))
    return path


@pytest.fixture
def home(tmp_path: Path) -> Path:
    completions, verdicts = answers(20)
    write_records(tmp_path / "run" / "completions.jsonl", completions)
    write_records(tmp_path / "run" / "verdicts.jsonl", verdicts)
    return tmp_path / "run"


def scored(workshop: Workshop) -> list[dict[str, object]]:
    RunFolder(workshop.folder).perform(score_stage(workshop))
    return read_json(workshop.folder / "corrected_scores.json")


def test_the_card_holds_what_the_judge_is_and_what_it_was_tried_on(home, labelled):
    card = make_card(labelled, recipe(), home, LabelReading(), positive=Side.ORIGINAL)

    assert (card.judge, card.settings) == ("refusal_phrases", {"kind": "refusal_phrases"})
    assert [task.task for task in card.tasks] == ["harmless", "over_refusal", "truthfulness"]
    assert len(card.labelled_sha256) == len(card.fingerprint) == 64
    assert card == make_card(labelled, recipe(), home, LabelReading(), positive=Side.ORIGINAL)


def test_scores_are_corrected_where_the_card_knows_the_task(home, labelled):
    write_json(home / CARD, make_card(labelled, recipe(), home, LabelReading(), positive=Side.ORIGINAL))
    raw_and_corrected = list(zip(scored(open_workshop(recipe(), home)), read_json(home / "scores.json"), strict=True))

    assert all((c["followed"], c["n"], c["model"]) == (s["followed"], s["n"], s["model"]) for c, s in raw_and_corrected)
    for corrected, score in raw_and_corrected:
        if corrected["task"] == "truthfulness":
            assert "no scored answer" in corrected["undefined"]
        elif score["n"]:
            assert corrected["value"] is not None


def test_without_a_card_scores_stay_raw_and_the_report_says_that_there_is_none(home):
    workshop = open_workshop(recipe(), home)
    assert not has_card(workshop)
    RunFolder(home).perform(score_stage(workshop))
    render_report(home)

    assert not (home / "corrected_scores.json").exists()
    for page in ("report.md", "report.html"):
        text = (home / page).read_text()
        assert "no card of its errors" in text
        assert "this judge has none" in text


def test_the_report_shows_the_card_and_the_corrected_scores(home, labelled):
    write_json(home / CARD, make_card(labelled, recipe(), home, LabelReading(), positive=Side.ORIGINAL))
    scored(open_workshop(recipe(), home))
    report = render_report(home)

    assert report.tables[-1].title == "Scores corrected for the judge's errors"
    for page in ("report.md", "report.html"):
        text = (home / page).read_text()
        assert "Judge card: refusal" in text
        assert "a card of its errors is below" in text


def test_a_new_card_has_scores_made_again(home, labelled):
    workshop, folder = open_workshop(recipe(), home), RunFolder(home)
    assert folder.perform(score_stage(workshop)) == "made"
    assert folder.perform(score_stage(workshop)) == "done before"
    write_json(home / CARD, make_card(labelled, recipe(), home, LabelReading(), positive=Side.ORIGINAL))
    assert folder.perform(score_stage(workshop)) == "made"


def test_the_card_of_another_judge_is_refused(home, labelled):
    other = make_card(labelled, recipe(judge={"kind": "miniature"}), home, LabelReading(), positive=Side.ORIGINAL)
    write_json(home / CARD, other)

    with pytest.raises(RecipeError, match="is the card of miniature with the settings"):
        card_of(open_workshop(recipe(), home))


def test_the_recipes_card_is_brought_into_the_folder(home, labelled, tmp_path):
    path = tmp_path / "kept" / "card.json"
    carded = recipe(judge_card=path)
    workshop = open_workshop(carded, home)
    write_json(path, make_card(labelled, carded, home, LabelReading(), positive=Side.ORIGINAL))

    assert [step.stage.name for step in steps(workshop, "score")][-5:] == [
        *("generate", "judge", "judge-card", "score", "robustness")
    ]
    assert RunFolder(home).perform(card_stage(workshop)) == "made"
    assert card_of(workshop).judge == "refusal_phrases"


def test_a_card_that_the_recipe_names_and_that_is_not_there_is_missed(home):
    with pytest.raises(DataError, match=r"no file .*card\.json"):
        RunFolder(home).perform(card_stage(open_workshop(recipe(judge_card=Path("card.json")), home)))


def test_a_recipe_without_judge_has_none_to_make_a_card_of(home, labelled):
    with pytest.raises(RecipeError, match="no section `judge`"):
        make_card(labelled, recipe(judge=None), home, LabelReading(), positive=Side.ORIGINAL)


def test_a_run_of_another_recipe_is_left_alone(home, labelled):
    write_json(home / "recipe.json", recipe(seed=3))
    with pytest.raises(Exception, match="holds a run of another recipe"):
        make_card(labelled, recipe(), home, LabelReading(), positive=Side.ORIGINAL)


RECIPE_OF_ROBUSTNESS = """
name: x
model: {path: miniature}
preferences: {path: rows.jsonl}
configurations:
  - {name: harmless, tasks: [t], prefers: revised, wordings: [Be safe.]}
  - {name: uncensored, tasks: [t], prefers: original, wordings: [Be free.]}
"""
NAMES = ("harmless", "uncensored")


def answered(folder, names) -> None:
    completions = [
        Completion(
            id=f"base/{name}", prompt=Prompt(id="p", text="How?", task="t"), configuration=name, system_prompt=None,
            wordings="canonical", model="base", temperature=0, text="So.", finish_reason="stop",
        )
        for name in names
    ]  # fmt: skip
    sides = {"harmless": Side.REVISED, "uncensored": Side.ORIGINAL}
    write_records(folder / "completions.jsonl", completions)
    made = [Verdict(completion_id=c.id, exhibits=sides[c.configuration], judge="made") for c in completions]
    write_records(folder / "verdicts.jsonl", made)


def test_a_run_with_two_configurations_has_a_switch_rate_and_matched_scores(tmp_path):
    answered(tmp_path, NAMES)
    robustness_stage(open_workshop(parse_recipe(RECIPE_OF_ROBUSTNESS, where="here"), tmp_path)).work()

    (rate,) = [Score.model_validate(value) for value in read_json(tmp_path / "switch_rates.json")]
    matched = [LengthMatchedScore.model_validate(value) for value in read_json(tmp_path / "length_matched.json")]
    assert (rate.followed, rate.n) == (1, 1)
    assert [(score.configuration, score.n, score.left_out) for score in matched] == [(name, 1, 0) for name in NAMES]
    assert read_json(tmp_path / "switch_tests.json") == []


def test_with_one_configuration_there_is_nothing_to_switch(tmp_path):
    answered(tmp_path, NAMES[:1])
    robustness_stage(open_workshop(parse_recipe(RECIPE_OF_ROBUSTNESS, where="here"), tmp_path)).work()

    assert [read_json(tmp_path / f"{name}.json") for name in ("switch_rates", "switch_tests", "length_matched")] == [
        [], [], [],
    ]  # fmt: skip


RECIPE_OF_SWEEP = """
name: x
model: {path: miniature}
training: {method: sft}
mixture:
  instructions: [{kind: file, path: instructions.jsonl}]
  safety: [{kind: file, path: safety.jsonl}]
  safety_counts: [0, 100]
prompts: {held_out: [{kind: miniature, task: harmless, n: 2}]}
configurations: [{name: plain, tasks: [harmless], prefers: revised}]
judge: {kind: refusal_phrases}
"""
SIDES = {"base": Side.ORIGINAL, "safety-0": Side.ORIGINAL, "safety-100": Side.REVISED}


def workshop(folder: Path, text: str = RECIPE_OF_SWEEP) -> Workshop:
    return open_workshop(parse_recipe(text, where="here"), folder)


def answered_of_sweep(folder: Path) -> None:
    """One answer of each model, with a number from the judge."""
    completions = [
        Completion(
            id=model, prompt=Prompt(id="p", text="How?", task="harmless"), configuration="none", system_prompt=None,
            wordings="none", model=model, temperature=0, text="So.", finish_reason="stop",
        )
        for model in SIDES
    ]  # fmt: skip
    write_records(folder / "completions.jsonl", completions)
    made = [Verdict(completion_id=model, exhibits=side, judge="made", score=1.0) for model, side in SIDES.items()]
    write_records(folder / "verdicts.jsonl", made)


def test_answers_become_rates_by_n_and_what_is_missing_is_said(tmp_path):
    answered_of_sweep(tmp_path)
    sweep_stage(workshop(tmp_path)).work()

    sweep = Sweep.model_validate(read_json(tmp_path / "sweep.json"))
    assert [(rate.safety_examples, rate.followed, rate.n) for rate in sweep.rates] == [
        (None, 1, 1),
        (0, 1, 1),
        (100, 0, 1),
    ]
    assert [(test.model_a, test.only_b) for test in sweep.tests] == [("safety-100", 1)]
    assert sweep.missing == ("No held-out prompt of task over_refusal was answered: there is no exaggerated safety.",)
    assert sweep.means == ()  # one number each


def test_another_number_of_examples_is_another_result(tmp_path):
    one, other = (
        sweep_stage(workshop(tmp_path, text))
        for text in (RECIPE_OF_SWEEP, RECIPE_OF_SWEEP.replace("[0, 100]", "[0, 200]"))
    )
    assert one.depends_on() != other.depends_on()
    assert (list(one.inputs), one.outputs) == (["completions.jsonl", "verdicts.jsonl"], ["sweep.json"])


@pytest.mark.parametrize(
    ("without", "expected"),
    [((), True), (("  safety:", "  safety_counts:"), False), (("training:", "mixture:", "  "), False)],
)
def test_a_sweep_is_a_mixture_with_safety_examples(without, expected):
    lines = [line for line in RECIPE_OF_SWEEP.splitlines() if not (without and line.startswith(without))]
    assert is_sweep(parse_recipe("\n".join(lines), where="here")) == expected
