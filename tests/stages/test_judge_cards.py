"""A judge's card in a run: scores are corrected by it, the report shows it, and another judge's is refused."""

import json
from pathlib import Path

import pytest
from made_for_evaluation import CONFIGURATIONS
from run_for_evaluation import answers

from cst.commands.judge_card import make_card
from cst.errors import DataError, RecipeError
from cst.evaluation.report import render_report
from cst.labelled_answers import LabelReading
from cst.miniature.judge import labelled_rows
from cst.pipeline import steps
from cst.recipe import Recipe
from cst.recipe_file import parse_recipe
from cst.records import Side
from cst.run_folder import RunFolder
from cst.stages.judge_cards import CARD, card_of, card_stage, has_card
from cst.stages.scores import score_stage
from cst.store import read_json, write_json, write_records
from cst.workshop import Workshop

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
    raw_and_corrected = list(zip(scored(Workshop(recipe(), home)), read_json(home / "scores.json"), strict=True))

    assert all((c["followed"], c["n"], c["model"]) == (s["followed"], s["n"], s["model"]) for c, s in raw_and_corrected)
    for corrected, score in raw_and_corrected:
        if corrected["task"] == "truthfulness":
            assert "no scored answer" in corrected["undefined"]
        elif score["n"]:
            assert corrected["value"] is not None


def test_without_a_card_scores_stay_raw_and_the_report_says_that_there_is_none(home):
    workshop = Workshop(recipe(), home)
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
    scored(Workshop(recipe(), home))
    report = render_report(home)

    assert report.tables[-1].title == "Scores corrected for the judge's errors"
    for page in ("report.md", "report.html"):
        text = (home / page).read_text()
        assert "Judge card: refusal" in text
        assert "a card of its errors is below" in text


def test_a_new_card_has_scores_made_again(home, labelled):
    workshop, folder = Workshop(recipe(), home), RunFolder(home)
    assert folder.perform(score_stage(workshop)) == "made"
    assert folder.perform(score_stage(workshop)) == "done before"
    write_json(home / CARD, make_card(labelled, recipe(), home, LabelReading(), positive=Side.ORIGINAL))
    assert folder.perform(score_stage(workshop)) == "made"


def test_the_card_of_another_judge_is_refused(home, labelled):
    other = make_card(labelled, recipe(judge={"kind": "miniature"}), home, LabelReading(), positive=Side.ORIGINAL)
    write_json(home / CARD, other)

    with pytest.raises(RecipeError, match="is the card of miniature with the settings"):
        card_of(Workshop(recipe(), home))


def test_the_recipes_card_is_brought_into_the_folder(home, labelled, tmp_path):
    path = tmp_path / "kept" / "card.json"
    carded = recipe(judge_card=path)
    workshop = Workshop(carded, home)
    write_json(path, make_card(labelled, carded, home, LabelReading(), positive=Side.ORIGINAL))

    assert [step.stage.name for step in steps(workshop, "score")][-5:] == [
        *("generate", "judge", "judge-card", "score", "robustness")
    ]
    assert RunFolder(home).perform(card_stage(workshop)) == "made"
    assert card_of(workshop).judge == "refusal_phrases"


def test_a_card_that_the_recipe_names_and_that_is_not_there_is_missed(home):
    with pytest.raises(DataError, match=r"no file .*card\.json"):
        RunFolder(home).perform(card_stage(Workshop(recipe(judge_card=Path("card.json")), home)))


def test_a_recipe_without_judge_has_none_to_make_a_card_of(home, labelled):
    with pytest.raises(RecipeError, match="no section `judge`"):
        make_card(labelled, recipe(judge=None), home, LabelReading(), positive=Side.ORIGINAL)


def test_a_run_of_another_recipe_is_left_alone(home, labelled):
    write_json(home / "recipe.json", recipe(seed=3))
    with pytest.raises(Exception, match="holds a run of another recipe"):
        make_card(labelled, recipe(), home, LabelReading(), positive=Side.ORIGINAL)
