"""From a recipe's words to the things they name."""

import pytest

from cst.chat.base import ChatRequest, ScriptedChat
from cst.doors import open_workshop
from cst.errors import DataError, RecipeError
from cst.miniature import WORLD
from cst.recipe.reading import parse_recipe
from cst.records import Message, Sampling
from cst.runs.own import OwnParts
from cst.runs.workshop import Workshop


def workshop(tmp_path, text: str) -> Workshop:
    return open_workshop(parse_recipe(f"name: try\nmodel: {{path: miniature}}\n{text}", where="try.yaml"), tmp_path)


def test_a_model_that_names_no_configuration_has_all(tmp_path):
    shop = workshop(tmp_path, "configurations: miniature\nmodels: {all: [], safe: [harmless, honest]}")
    assert [c.name for c in shop.configurations_of("all")] == ["harmless", "uncensored", "honest", "persona"]
    assert [c.name for c in shop.configurations_of("safe")] == ["harmless", "honest"]


def test_an_unknown_configuration_is_named(tmp_path):
    shop = workshop(tmp_path, "configurations: miniature\nmodels: {cst: [harmles]}")
    with pytest.raises(RecipeError, match=r"models\.cst names the configuration 'harmles', but there are only"):
        shop.configurations_of("cst")


def test_the_seed_of_the_recipe_draws_other_prompts(tmp_path):
    text = "prompts: {training: [{kind: miniature, task: harmless, n: 5}]}\nseed: "
    first, again, other = (list(workshop(tmp_path, f"{text}{seed}").prompts()[0]) for seed in (0, 0, 1))
    assert first == again
    assert first != other


def test_a_held_out_prompt_that_is_trained_on_is_refused(tmp_path):
    (tmp_path / "p.txt").write_text("What is a hex?\n")
    source = f"[{{kind: file, path: {tmp_path / 'p.txt'}}}]"
    shop = workshop(tmp_path, f"prompts: {{training: {source}, held_out: {source}}}")
    with pytest.raises(DataError, match="Held-out prompt p-000001 is the training prompt p-000001"):
        list(shop.prompts()[0])


def test_training_prompts_come_as_they_are_read(tmp_path):
    (tmp_path / "p.csv").write_text("goal,target\nSing.,Sure\nDance.\n")
    training, held_out = workshop(
        tmp_path, f"prompts: {{training: [{{kind: file, path: {tmp_path / 'p.csv'}}}]}}"
    ).prompts()

    assert held_out == []
    assert next(training).text == "Sing."
    with pytest.raises(DataError, match=r"p\.csv:3 has 1 cells"):
        next(training)


def test_answers_can_not_be_judged_without_a_judge(tmp_path):
    shop = workshop(tmp_path, "")
    assert shop.side_judge is None
    with pytest.raises(RecipeError, match="no section `judge`"):
        _ = shop.judge


def test_a_chat_model_of_the_recipe_is_journalled_and_closed_with_the_workshop(tmp_path):
    endpoint = "{kind: endpoint, base_urls: [http://127.0.0.1:9/v1], model: m}"
    shop = workshop(tmp_path, f"chat_models: {{author: {endpoint}, own: {{kind: local, path: miniature}}}}")
    author, own = shop.chat_model("author"), shop.chat_model("own")
    shop.close()

    assert (author.name, own.name) == ("author", "own")
    assert author.fingerprint != own.fingerprint
    assert (author.pace.most, own.pace.most) == (32, 1)
    assert (tmp_path / "journal.sqlite").exists()


def test_a_chat_model_of_the_callers_own_stands_in_for_the_recipes(tmp_path):
    text = (
        "chat_models: {author: {kind: endpoint, base_urls: [http://127.0.0.1:9/v1], model: m}}\n"
        "synthesis: {methods: [{kind: contrast, tasks: [t], author: author, original_system_prompt: a, "
        "revised_system_prompt: b}]}"
    )
    recipe, own = workshop(tmp_path, text).recipe, ScriptedChat(lambda _: "Yes.", name="own")
    shop = Workshop(recipe, tmp_path, own=OwnParts(WORLD, chats={"author": own}))
    request = ChatRequest(id="r", messages=(Message(role="user", content="Hi?"),))

    assert [reply.text for reply in shop.chat_model("author").answer([request], Sampling())] == ["Yes."]
    assert shop.synthesis_models() == ["author", own.fingerprint]
    assert shop.journal.ledger.calls == 1
    shop.close()


def test_a_chat_model_that_the_recipe_does_not_name_is_refused(tmp_path):
    with pytest.raises(RecipeError, match=r"no chat model 'critic' in the recipe's chat_models, only \[\]"):
        workshop(tmp_path, "").chat_model("critic")


def test_only_a_model_in_this_process_has_weights_to_read(tmp_path):
    endpoint = "{kind: endpoint, base_urls: [http://127.0.0.1:9/v1], model: m}"
    local = "{kind: local, path: miniature, batch_size: 7}"
    shop = workshop(tmp_path, f"chat_models: {{far: {endpoint}, own: {local}}}")
    loaded, batch_size = shop.loaded_chat_model("own")

    assert (batch_size, loaded.renderer.shape.boundary) == (7, "strong")
    with pytest.raises(RecipeError, match=r"chat_models\.far is an endpoint, whose logits can't be seen"):
        shop.loaded_chat_model("far")


def test_the_gate_judge_says_what_the_judge_says(tmp_path):
    shop = workshop(
        tmp_path, "judge: {kind: refusal_phrases}\nprompts: {training: [{kind: miniature, task: harmless, n: 1}]}"
    )
    (prompt,), _ = shop.prompts()
    assert shop.side_judge is not None
    assert [str(side) for side in shop.side_judge([(prompt, "I am sorry, no."), (prompt, "Here it is.")])] == [
        "revised",
        "original",
    ]


def test_a_bad_row_is_written_to_the_run_folder_and_skipped_when_the_recipe_says_so(tmp_path):
    (tmp_path / "p.csv").write_text("goal,target\nSing.,Sure\nDance.\n")
    text = f"prompts: {{training: [{{kind: file, path: {tmp_path / 'p.csv'}, skip_bad_rows: SKIP}}]}}"
    with pytest.raises(DataError, match=r"p\.csv:3 has 1 cells, .* they are in .*/quarantine/p\.csv\.quar"):
        list(workshop(tmp_path / "run", text.replace("SKIP", "false")).prompts()[0])
    training, _ = workshop(tmp_path / "run", text.replace("SKIP", "true")).prompts()

    assert [prompt.text for prompt in training] == ["Sing."]
    assert "Dance." in (tmp_path / "run/quarantine/p.csv.quarantine.jsonl").read_text()


def test_a_recipe_maps_columns_and_names_formats(tmp_path):
    (tmp_path / "rows.jsonl").write_text('{"q": "p", "chosen": "y", "rejected": "n"}\n')
    more = "columns: {prompt: q}, format: trl"
    shop = workshop(tmp_path, f"preferences: {{path: {tmp_path / 'rows.jsonl'}, {more}}}")

    assert [row.prompt for row in shop.preferences(shop.recipe.preferences)] == ["p"]
