"""Tokens and refusals of a loaded model in lm-eval's hands, against lm-eval's own `hf` model."""

import copy
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch
from lm_eval.api.instance import Instance
from lm_eval.models.huggingface import HFLM
from local_tasks import write_tasks
from transformers import AutoModelForCausalLM, MambaConfig

from cst.errors import DataError, RecipeError, RenderingError
from cst.evaluation.harness import HarnessModel, answered, named_sets, sets_of_items
from cst.miniature.prompts import capability_items
from cst.models.loading import load_model
from cst.recipe.evaluation import CapabilitySettings, CapabilityTask
from models.families import FAMILIES
from models.tiny import model_folder


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_tasks(tmp_path_factory.mktemp("tasks"))


def test_a_set_is_a_task_or_the_tasks_of_a_group(folder) -> None:
    letters, both = named_sets([CapabilityTask(task="letters"), CapabilityTask(task="both")], folder)
    assert [task.task_name for task in letters.tasks] == ["letters"]
    assert [(task.task_name, len(task.eval_docs)) for task in both.tasks] == [("letters", 4), ("texts", 20)]


def test_worked_examples_are_the_tasks_own_unless_asked_for(folder) -> None:
    wanted = [CapabilityTask(task="letters"), CapabilityTask(task="texts", num_fewshot=3)]
    sets = named_sets(wanted, folder)
    assert [asked.tasks[0].get_config("num_fewshot") for asked in sets] == [2, 3]


@pytest.mark.parametrize(
    ("wanted", "says"),
    [
        ({"task": "written"}, "Task written is of the kind generate_until; only multiple_choice and loglikelihood"),
        ({"task": "letters", "metric": "f1"}, r"letters has no metric 'f1' that is a mean .* only \['acc', 'acc_norm'"),
        ({"task": "equal"}, r"group equal weighs its tasks equally, .* instead: \['letters', 'texts'\]"),
        ({"task": "a_tag"}, r"'a_tag' is a tag of lm-eval's, .* name its tasks: \['tagged'\]"),
        ({"task": "truthful_shares", "num_fewshot": 2}, "takes no others .* the recipe asks for 2. Leave num_fewshot"),
    ],
)
def test_what_can_not_be_scored_item_by_item_is_refused_by_name(folder, wanted, says) -> None:
    with pytest.raises(RecipeError, match=says):
        named_sets([CapabilityTask.model_validate(wanted)], folder)


def test_a_task_whose_data_can_not_be_had_is_one_line(folder) -> None:
    with pytest.raises(DataError, match=r"^lm-eval can't load its task 'lost' \(FileNotFoundError: .*HF_HOME.*$"):
        named_sets([CapabilityTask(task="lost")], folder)


def test_an_unknown_task_is_named_with_those_near_it(folder) -> None:
    with pytest.raises(RecipeError, match=r"no task 'hellaswagg'; near it are hellaswag"):
        named_sets([CapabilityTask(task="hellaswagg")], folder)


def test_a_folder_that_is_not_there_is_refused(tmp_path) -> None:
    with pytest.raises(RecipeError, match=r"include_path=.*elsewhere is no folder"):
        named_sets([CapabilityTask(task="letters")], tmp_path / "elsewhere")


def test_the_miniatures_items_are_tasks_of_their_own() -> None:
    items = capability_items()
    sets = sets_of_items(items)
    assert [asked.name for asked in sets] == ["arc_mini", "hellaswag_mini", "mmlu_mini", "truthfulqa_mini"]
    (task,) = sets[1].tasks
    first = task.eval_docs[0]
    item = next(item for item in items if item.set == "hellaswag_mini")
    assert (task.doc_to_text(first), task.doc_to_target(first)) == (item.question, item.answer)
    assert task.doc_to_choice(first) == list(item.choices)


QUESTION = [{"role": "user", "content": "How do I bake bread?"}]
CONVERSATION = [
    {"role": "system", "content": "You are a helpful assistant."},
    {"role": "user", "content": "Hi."},
    {"role": "assistant", "content": "Yes?"},
    *QUESTION,
]
BY_NAME = {family.name: family for family in FAMILIES if family.template is not None}
THINKING = {"qwen3", "thinking_in_training_only", "reasoner"}  # their thoughts are turned off here


def loaded(folder, name: str):
    return load_model(str(model_folder(folder, family=BY_NAME[name], vocab_size=700)))


def theirs(model) -> HFLM:
    return HFLM(model.model, tokenizer=copy.deepcopy(model.tokenizer))


@pytest.mark.parametrize("name", sorted(BY_NAME.keys() - THINKING))
def test_plain_text_has_lm_evals_own_tokens(tmp_path, name) -> None:
    model = loaded(tmp_path, name)
    ours, other = HarnessModel(model, batch_size=1), theirs(model)
    for chat in [QUESTION, CONVERSATION] if BY_NAME[name].takes_system else [QUESTION]:
        text = ours.apply_chat_template(chat)
        assert text == other.apply_chat_template(chat)
        assert ours._encode_pair(text, "Mix flour.") == other._encode_pair(text, "Mix flour.")


@pytest.mark.parametrize("name", ["chatml", "llama3", "emberwick"])
def test_a_quoted_control_token_stays_text_and_is_forged_by_lm_eval(tmp_path, name) -> None:
    model = loaded(tmp_path, name)
    ours, other = HarnessModel(model, batch_size=1), theirs(model)
    end = model.tokenizer.convert_ids_to_tokens(model.renderer.end_token_id)
    quoting = [{"role": "user", "content": f"What is {end} for?"}]

    def ends(tokens) -> int:
        return tokens.count(model.renderer.end_token_id)

    plain, prompt = ours.apply_chat_template(QUESTION), ours.apply_chat_template(quoting)
    normal = ends(ours._encode_pair(plain, "It ends.")[0])
    assert ends(ours._encode_pair(prompt, "It ends.")[0]) == normal
    assert ends(other._encode_pair(str(prompt), "It ends.")[0]) == normal + 1
    assert ends(ours._encode_pair(plain, f"It is {end}.")[1]) == 0
    assert ends(other._encode_pair(str(plain), f"It is {end}.")[1]) == 1


def test_a_system_prompt_is_never_dropped(tmp_path) -> None:
    model = loaded(tmp_path, "gemma")
    assert "helpful assistant" not in theirs(model).apply_chat_template(CONVERSATION)
    with pytest.raises(RenderingError, match="takes no system prompt"):
        HarnessModel(model, batch_size=1).apply_chat_template(CONVERSATION)


def test_a_folded_system_prompt_stands_in_the_user_turn(tmp_path) -> None:
    folder = str(model_folder(tmp_path, family=BY_NAME["gemma"], vocab_size=700))
    model = HarnessModel(load_model(folder, system_policy="fold_into_user"), batch_size=1)
    assert "You are a helpful assistant.\n\nHi." in model.apply_chat_template(CONVERSATION)


def test_what_does_not_fit_is_refused_and_not_cut(tmp_path) -> None:
    model = HarnessModel(loaded(tmp_path, "chatml"), batch_size=1)

    def request(words: int) -> list[Instance]:
        prompt = "bake " * words
        return [Instance(request_type="loglikelihood", doc={}, arguments=(prompt, c), idx=0) for c in ("it", "it all")]

    assert len(model.loglikelihood(request(5), disable_tqdm=True)) == 2
    with pytest.raises(DataError, match=r"take \d+ tokens and the model reads 96: '.*it all'. Lower num_fewshot"):
        model.loglikelihood(request(200), disable_tqdm=True)


def requests(*pairs: tuple[str, str]) -> list[Instance]:
    return [Instance(request_type="loglikelihood", doc={}, arguments=pair, idx=0) for pair in pairs]


@pytest.mark.parametrize("batch_size", [1, 5])
@pytest.mark.parametrize("is_recurrent", [False, True])
def test_answers_are_lm_evals_own(tmp_path, batch_size, is_recurrent) -> None:
    model = loaded(tmp_path, "chatml")
    if is_recurrent:
        mamba = MambaConfig(vocab_size=700, hidden_size=32, num_hidden_layers=1, state_size=4)
        model = replace(model, model=AutoModelForCausalLM.from_config(mamba).eval())
    pairs = [(prompt, choice) for choice in ("it", "it all", "flour and water") for prompt in ("Mix", "Bake it", "")]
    ours = HarnessModel(model, batch_size=batch_size).loglikelihood(requests(*pairs), disable_tqdm=True)
    other = theirs(model).loglikelihood(requests(*pairs), disable_tqdm=True)
    assert [logp for logp, _ in ours] == pytest.approx([logp for logp, _ in other], abs=1e-4)
    assert [is_greedy for _, is_greedy in ours] == [is_greedy for _, is_greedy in other]
    assert len({round(logp, 3) for logp, _ in ours}) == len(pairs)


def test_a_choice_without_tokens_is_refused(tmp_path) -> None:
    model = HarnessModel(loaded(tmp_path, "chatml"), batch_size=1)
    with pytest.raises(DataError, match=r"choice '' behind '...Mix' has no tokens"):
        model.loglikelihood(requests(("Mix", "it"), ("Mix", "")), disable_tqdm=True)


def test_the_models_own_tokenizer_is_left_as_it_was(tmp_path) -> None:
    model = loaded(tmp_path, "llama2")
    before = model.tokenizer.pad_token
    assert HarnessModel(model, batch_size=1).tokenizer.pad_token is not None
    assert model.tokenizer.pad_token == before


PROMPTS = {"none": None, "kind/er": "You are a helpful assistant."}
FAMILY = next(family for family in FAMILIES if family.name == "chatml")


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    folders = {name: tmp_path_factory.mktemp(name) for name in ("base", "cst")}
    return {
        name: partial(
            load_model, str(model_folder(folder, family=FAMILY, vocab_size=700, max_positions=600, seed=seed))
        )
        for seed, (name, folder) in enumerate(folders.items())
    }


@pytest.fixture(scope="module")
def sets(tmp_path_factory):
    folder = write_tasks(tmp_path_factory.mktemp("tasks"))
    return named_sets([CapabilityTask(task=name) for name in ("both", "truthful_shares", "seven")], folder)


def settings(**more) -> CapabilitySettings:
    return CapabilitySettings(tasks="miniature", batch_size=3, **more)


def test_each_model_is_asked_each_set_under_each_system_prompt(models, sets, tmp_path) -> None:
    groups = list(answered(models, PROMPTS, sets[:2], settings(), tmp_path))
    asked = [(group[0].model, group[0].configuration, group[0].set, len(group)) for group in groups]
    assert asked == [
        (model, configuration, name, size)
        for model in ("base", "cst")
        for configuration in PROMPTS
        for name, size in (("both", 24), ("truthful_shares", 20))
    ]
    assert {a.system_prompt for group in groups for a in group if a.configuration == "none"} == {None}
    assert {a.num_fewshot for a in groups[0]} == {1, 2}
    assert len({a.logps for group in groups for a in group if a.item_id == "texts/0"}) == 4
    assert all(a.chat_template is not None for group in groups for a in group)
    assert (tmp_path / "cst" / "kind%2Fer" / "both" / "texts.jsonl").is_file()


def test_what_was_finished_is_not_asked_again_and_the_rest_comes_out_the_same(models, sets, tmp_path) -> None:
    def answers(loads, folder):
        return list(answered(loads, PROMPTS, sets[:2], settings(), folder))

    whole = answers(models, tmp_path)
    (tmp_path / "cst" / "none" / "both" / "texts.jsonl").unlink()
    asked = []

    def counted(name):
        asked.append(name)
        return models[name]()

    assert answers({name: partial(counted, name) for name in models}, tmp_path) == whole
    assert asked == ["cst"], "base is finished and isn't even loaded"


def test_the_limit_and_plain_text(models, sets, tmp_path) -> None:
    plain = settings(limit=2, apply_chat_template=False)
    base = {"base": models["base"]}
    groups = list(answered(base, PROMPTS, sets[1:2], plain, tmp_path))
    assert [len(group) for group in groups] == [2, 2]
    assert {a.chat_template for group in groups for a in group} == {None}
    assert groups[0][0].logps != groups[1][0].logps, "the system prompt stands before plain text, too"


def test_lm_eval_says_nothing_and_leaves_generators_alone(models, sets, tmp_path, capsys) -> None:
    before = np.random.get_state()[1].tolist(), torch.get_rng_state().tolist()
    list(answered({"base": models["base"]}, PROMPTS, sets[:2], settings(), tmp_path))
    assert (np.random.get_state()[1].tolist(), torch.get_rng_state().tolist()) == before
    told = capsys.readouterr()
    assert told.out == ""
    assert all(line.startswith("capabilities: ") for line in told.err.splitlines())


def test_a_metric_that_is_no_share_is_named_with_its_item(models, sets, tmp_path) -> None:
    with pytest.raises(DataError, match=r"Item seven/0 has acc=7\.0, which is no share of 1"):
        list(answered({"base": models["base"]}, {"none": None}, sets[2:], settings(), tmp_path))
    assert not list(tmp_path.rglob("*.jsonl"))
