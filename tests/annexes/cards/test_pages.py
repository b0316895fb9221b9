"""A card holds the facts of its run folder, and its header is what the Hub reads."""

import json

import pytest
from huggingface_hub import DatasetCard, ModelCard
from ruamel.yaml import YAML

from cst.annexes.cards import NO_VALUE
from cst.annexes.cards.pages import dataset_card, model_card
from cst.errors import RecipeError, RunFolderError
from cst.integrity import RECIPE as RECIPE_MARKER
from cst.integrity import write_marker
from cst.preferences.mixtures import PartRows
from cst.preferences.selection import TaskRows
from cst.recipe import Recipe
from cst.records import Demonstration, Preference, Score
from cst.store import write_json, write_records

RECIPE = {
    "name": "try",
    "note": "Made for a test.",
    "license": "cc-by-4.0",
    "model": {"path": "some-owner/some-model"},
    "configurations": [
        {"name": "s1", "prefers": "revised", "tasks": ["t"], "wordings": ["Be `good`.", "Be kind."]},
        {"name": "s0", "prefers": "original", "tasks": ["t"], "wordings": ["Be free."]},
    ],
    "synthesis": {
        "methods": [
            {
                "kind": "self_critique",
                "tasks": ["t"],
                "critique_request": "What?",
                "revision_request": "Again.",
            }
        ]
    },
}
SIDES = (("s1", "Be `good`.", "r", "o"), ("s0", "Be free.", "o", "r"))
SCORE = Score(
    model="cst",
    task="t",
    configuration="s1",
    wordings="canonical",
    temperature=0,
    followed=9,
    n=10,
    unscored=1,
    low=0.596,
    high=0.982,
    interval="wilson",
)
BASE_SCORE = SCORE.model_copy(update={"model": "base", "followed": 4})


@pytest.fixture
def folder(tmp_path):
    write_json(tmp_path / "recipe.json", Recipe.model_validate(RECIPE))
    rows = [
        Preference(
            id=f"p{n}/{configuration}",
            task="t",
            configuration=configuration,
            system_prompt=system_prompt,
            prompt=f"x{n}",
            chosen=chosen,
            rejected=rejected,
        )
        for n in range(3)
        for configuration, system_prompt, chosen, rejected in SIDES
    ]
    write_records(tmp_path / "preferences" / "cst.jsonl", rows[:-1])
    write_json(tmp_path / "synthesis.json", [{"task": "t", "prompts": 5, "pairs": 3, "drops": {"original_empty": 2}}])
    return tmp_path


def header(card: str) -> dict[str, object]:
    _, text, _ = card.split("---\n", maxsplit=2)
    return YAML(typ="safe", pure=True).load(text)


def test_a_data_set_card_counts_rows_configurations_mirrors_and_drops(folder):
    card = dataset_card(folder, "cst")

    assert "5 rows of preference data" in card
    assert "4 of them are one of two rows" in card
    assert "| s1 | t | 3 | 1 |\n| s0 | t | 2 | 1 |" in card
    assert "| t | 5 | 3 | original_empty 2 |" in card
    assert "rewritten, asked `What?` and `Again.`" in card
    assert "Models: author `some-owner/some-model`, reviser `some-owner/some-model`, critic" in card
    assert "- 3 rows: `` Be `good`. ``\n- 2 rows: `Be free.`" in card
    assert header(card) == {
        "pretty_name": "try",
        "license": "cc-by-4.0",
        "tags": ["dpo", "preference", "safety", "synthetic"],
        "annotations_creators": ["machine-generated"],
        "task_categories": ["text-generation"],
        "size_categories": ["n<1K"],
    }


def test_a_model_card_names_configurations_settings_and_scores_with_their_intervals(folder):
    assert "None were computed in this run." in model_card(folder, "cst")
    write_json(folder / "scores.json", [SCORE, SCORE.model_copy(update={"model": "other", "n": 77}), BASE_SCORE])
    card = model_card(folder, "cst")

    assert "- **s1** on t: `` Be `good`. ``; `Be kind.`" in card
    assert "| cst | t | s1 | canonical | 0 | 0.900 | 0.596 to 0.982 (wilson) | 10 | 1 |" in card
    assert "| base | t | s1 |" in card
    assert "| 77 |" not in card
    assert "| beta | 0.1 |" in card
    (result,) = ModelCard(card).data.eval_results
    assert (result.metric_value, result.dataset_config, result.task_name) == (0.9, "s1", "t")
    assert result.metric_args["n"] == 10
    assert result.metric_args["unscored"] == 1
    assert (result.metric_args["low"], result.metric_args["high"]) == (0.596, 0.982)
    assert header(card)["base_model"] == "some-owner/some-model"
    assert header(card)["base_model_relation"] == "adapter"
    assert header(card)["library_name"] == "peft"


def test_scores_of_two_tasks_are_two_results_of_the_model_index(folder):
    """The Hub puts results together that have one data set type, configuration and split."""
    none = SCORE.model_copy(update={"task": "empty", "n": 0, "followed": 0})
    write_json(folder / "scores.json", [SCORE, SCORE.model_copy(update={"task": "u", "followed": 1}), none])
    found = ModelCard(model_card(folder, "cst")).data.eval_results

    assert [(each.task_name, each.metric_value) for each in found] == [("t", 0.9), ("u", 0.1)]


def test_the_judge_s_card_and_the_rendering_are_told(folder):
    write_json(folder / "recipe.json", Recipe.model_validate(RECIPE | {"judge": {"kind": "refusal_phrases"}}))
    write_json(folder / "scores.json", [SCORE])
    assert "Judge: `refusal_phrases`, without a card of its errors." in model_card(folder, "cst")

    figure = {"value": 0.75, "low": 0.5, "high": 0.9, "n": 8}
    undefined = figure | {"value": None, "undefined": "no row of this class"}
    counts = {"right": 3, "wrong": 1, "unscored": 0, "refused": 0}
    names = ("f1", "precision", "recall", "specificity", "accuracy")
    task = {
        "task": "t",
        "confusion": {"original": counts, "revised": counts},
        "figures": dict.fromkeys(names, figure) | {"kappa": undefined},
        "flips": [],
    }
    card = {
        "judge": "refusal_phrases",
        "settings": {},
        "fingerprint": "f",
        "labelled": "/home/me/a.jsonl",
        "labelled_sha256": "abc",
    }
    write_json(folder / "judge_card.json", card | {"labels": {}, "positive": "original", "tasks": [task]})
    write_json(folder / "fingerprints.json", {"rendering": {"end_token": "<|end|>", "boundary": "pasted"}})
    told = model_card(folder, "cst")

    assert "Judge: `refusal_phrases`, with a card of its errors." in told
    assert "The judge on labelled answers (`a.jsonl`, SHA-256 `abc`):" in told
    assert "| t | accuracy | 0.750 | 0.500 to 0.900 | 8 |" in told
    assert f"| t | kappa | {NO_VALUE} | 0.500 to 0.900 | 8 |" in told
    assert r"| rendering: end_token | \<\|end\|\> |" in told


def test_names_that_came_with_data_are_not_read_as_markup(folder):
    name = "a|b <img src=x> _c_ [d](e)"
    write_json(folder / "scores.json", [SCORE.model_copy(update={"task": name})])
    card = model_card(folder, "cst")

    assert r"| cst | a\|b \<img src=x\> \_c\_ \[d\](e) | s1 |" in card
    assert ModelCard(card).data.eval_results[0].task_name == name


def test_a_local_model_is_named_without_its_folder(folder):
    recipe = Recipe.model_validate(RECIPE | {"model": {"path": str(folder / "my-model")}, "license": None})
    write_json(folder / "recipe.json", recipe)
    card = model_card(folder, "cst")

    assert "`my-model`" in card
    assert str(folder) not in card
    assert "The recipe names none" in dataset_card(folder, "cst")
    assert header(card).keys() & {"base_model", "base_model_relation", "license"} == set()


def test_rows_that_came_from_elsewhere_are_said_to(folder):
    write_json(folder / "recipe.json", Recipe.model_validate(RECIPE | {"preferences": {"path": "their/rows.jsonl"}}))

    assert "The rows were read from `rows.jsonl`." in dataset_card(folder, "cst")


def test_roles_are_told_by_their_models_and_principles_by_their_words(folder):
    endpoint = {"kind": "endpoint", "base_urls": ["http://localhost/v1"]}
    method = RECIPE["synthesis"]["methods"][0] | {
        "critic": "judge", "author": "own", "revision_request": "Again: {principle}", "principles": {"kind": "Be kind."}
    }  # fmt: skip
    recipe = RECIPE | {
        "synthesis": {"methods": [method], "gates": {"persona_artefacts": False}},
        "chat_models": {"judge": endpoint | {"model": "big"}, "own": {"kind": "local", "path": "/home/me/small"}},
    }
    write_json(folder / "recipe.json", Recipe.model_validate(recipe))
    card = dataset_card(folder, "cst")

    assert "author `small`, reviser `small`, critic `big`" in card
    assert "  - principle `kind`: `Be kind.`" in card
    assert "Gates: `refused_originals`, `leaking_revisions`, `cut_answers`, `nearly_equal at 0.9`" in card
    assert "/home/me" not in card


def test_a_contrast_tells_what_the_revised_answer_was_made_to_begin_with(folder):
    method = {"kind": "contrast", "tasks": ["t"], "revised_system_prompt": "Be good.", "revised_prefix": "I am sorry"}
    recipe = RECIPE | {"synthesis": {"methods": [method], "sampling": {"temperature": 0.5, "max_new_tokens": 9}}}
    write_json(folder / "recipe.json", Recipe.model_validate(recipe))
    card = dataset_card(folder, "cst")

    assert "the revised under `Be good.`, made to begin with `I am sorry`. Models: author" in card
    assert "Sampling: temperature 0.5, at most 9 tokens." in card


@pytest.mark.parametrize("card", [dataset_card, model_card])
def test_a_split_and_a_mix_are_told_with_their_counts(folder, card):
    source = {"path": "hub:some-owner/some-rows@v2:train", "held_out_share": 0.1}
    write_json(folder / "recipe.json", Recipe.model_validate(RECIPE | {"preferences": source, "mixing": {"t": 2}}))
    write_json(folder / "preferences/cst.counts.json", [TaskRows(task="t", rows=9, held_out=1, left_out=3)])
    made = card(folder, "cst")

    assert "0.1 were held out. No row asks a held-out prompt. Tasks were mixed by weight: t 2;" in made
    assert "| t | 9 | 1 | 3 | 5 |" in made
    assert header(made)["source_datasets" if card is dataset_card else "datasets"] == ["some-owner/some-rows"]


MIXTURE = {
    "instructions": [{"kind": "file", "path": "hub:some-owner/things@v1", "n": 9, "license": "cc-by-nc-4.0"}],
    "safety": [{"kind": "file", "path": "/home/me/care.json", "license": "mit"}],
    "safety_counts": [3],
}


@pytest.fixture
def tuned(tmp_path):
    """A run of supervised tuning."""
    recipe = {name: RECIPE[name] for name in ("name", "note", "model")}
    configurations = [{"name": "safe", "prefers": "revised", "tasks": ["t"]}]
    recipe["model"] = {**recipe["model"], "chat_template": "/home/me/alpaca.json"}
    more = {"mixture": MIXTURE, "training": {"method": "sft"}, "configurations": configurations}
    write_json(tmp_path / "recipe.json", Recipe.model_validate(recipe | more))
    rows = [Demonstration(id=f"d{n}", task="t", prompt="p", response="y") for n in range(12)]
    write_records(tmp_path / "demonstrations/safety-3.jsonl", rows)
    counts = [
        PartRows(part="instructions", rows=20, dropped={"held_out_prompt": 2}, drawn=11, validation=2),
        PartRows(part="safety", rows=5, dropped={}, drawn=3),
    ]
    write_json(tmp_path / "demonstrations/safety-3.counts.json", counts)
    return tmp_path


def test_the_card_of_a_mixture_names_its_sources_licences_and_counts(tuned):
    card = dataset_card(tuned, "safety-3")

    assert "| safety-3.jsonl | 12 | 11 | 3 | 2 |" in card
    assert "| instructions | `some-owner/things@v1` | 9 | cc-by-nc-4.0, for non-commercial use alone |" in card
    assert "| instructions | held_out_prompt | 2 |" in card
    assert "cc-by-nc-4.0, which is for non-commercial use alone" in card
    assert "/home/me" not in card
    assert header(card) == DatasetCard(card).data.to_dict()
    assert header(card)["license"] == "other"
    assert header(card)["source_datasets"] == ["some-owner/things"]


def test_a_model_card_names_the_method_and_the_mixture(tuned):
    card = model_card(tuned, "safety-3")

    assert "by supervised tuning on instructions with 3 safety examples among them (method sft)" in card
    assert "12 rows of supervised tuning" in card
    assert "| instructions | `some-owner/things@v1` | 9 | cc-by-nc-4.0, for non-commercial use alone |" in card
    assert "- **safe** on t: each prompt's own system prompt, or none" in card
    assert "| method | sft |" in card
    assert "| chat_template | alpaca.json |" in card
    assert "| beta |" not in card
    assert header(card)["tags"] == ["sft", "safety", "lora"]
    assert header(card)["datasets"] == ["some-owner/things"]


def test_a_model_card_tells_rows_that_were_dropped_or_cut(tuned):
    home = tuned / "models/safety-3"
    outcome = {"steps": 2, "rows": 9, "dropped": 3, "first_loss": 2.0, "last_loss": 1.0, "tuned": "adapter"}
    write_json(home / "result.json", outcome)
    write_records(home / "metrics.jsonl", [])
    assert "3 rows were dropped as too long. Mean loss" in model_card(tuned, "safety-3")

    write_json(home / "result.json", outcome | {"cut": 4})
    assert "3 rows were dropped as too long, 4 were cut and end without an end token." in model_card(tuned, "safety-3")


@pytest.mark.parametrize(("card", "kind"), [(dataset_card, DatasetCard), (model_card, ModelCard)])
def test_the_hub_s_own_reader_takes_the_header_as_it_is(folder, card, kind):
    made = card(folder, "cst")

    assert kind(made).data.to_dict() == header(made)


@pytest.mark.parametrize("card", [dataset_card, model_card])
def test_a_model_that_is_not_there_is_named(folder, card):
    with pytest.raises(RecipeError, match="The run has no model 'cts'; choose one with --model, among cst"):
        card(folder, "cts")


@pytest.mark.parametrize("card", [dataset_card, model_card])
def test_no_card_is_made_of_a_file_that_has_changed(folder, card):
    write_marker(folder, RECIPE_MARKER, "key", "made", outputs=["recipe.json", "preferences/cst.jsonl"])
    card(folder, "cst")
    rows = folder / "preferences" / "cst.jsonl"
    rows.write_text(rows.read_text().replace("s0", "s1", 1))
    with pytest.raises(RunFolderError, match=r"cst\.jsonl has changed since it was made"):
        card(folder, "cst")


def test_the_same_folder_gives_the_same_card(folder):
    assert dataset_card(folder, "cst") == dataset_card(folder, "cst")
    assert json.loads((folder / "recipe.json").read_text())["license"] == "cc-by-4.0"
