"""Tokens and refusals of a loaded model in lm-eval's hands, against lm-eval's own `hf` model."""

import copy
from dataclasses import replace

import pytest
from lm_eval.api.instance import Instance
from lm_eval.models.huggingface import HFLM
from transformers import AutoModelForCausalLM, MambaConfig

from cst.errors import DataError, RenderingError
from cst.evaluation.harness_model import HarnessModel
from cst.models.loading import load_model
from models.families import FAMILIES
from models.tiny import model_folder

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
