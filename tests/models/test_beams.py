import pytest
import torch
from transformers import AutoModelForCausalLM, GenerationConfig, MambaConfig

from cst.errors import ModelError
from cst.models.adapters import add_lora
from cst.models.beams import beam_search
from cst.models.decoding import decode, greedy
from cst.records import Sampling
from models.tiny import absolute_model, tiny_model

PROMPTS = [[5, 9, 14, 3], [7], [8, 8, 8, 8, 8, 8, 8], [100, 200], [33, 44, 55]]
FOUR = Sampling(num_beams=4)
DRAWN = Sampling(num_beams=3, temperature=2.0, top_k=30, top_p=0.9)
ENDS = frozenset(range(11, 512, 25))


@pytest.fixture(scope="module")
def model():
    """Sure of nothing: some answers end."""
    made = tiny_model().eval()
    with torch.no_grad():
        made.model.norm.weight.mul_(0.3)
    return made


def searched(model, prompts=PROMPTS, limits=None, ends=ENDS, sampling=FOUR, seed=0, check=lambda *_: None):
    limits = limits or [12] * len(prompts)
    return beam_search(
        model, prompts, limits=limits, end_token_ids=ends, sampling=sampling, seed=seed, check=check
    )  # fmt: skip


def straight(model, prompt, ends=ENDS, **settings):
    """What transformers generates for one prompt, up to its end."""
    plain = GenerationConfig(max_new_tokens=12, eos_token_id=sorted(ends), pad_token_id=0, **settings)
    return model.generate(torch.tensor([prompt]), generation_config=plain)[0, len(prompt) :].tolist()


@pytest.mark.parametrize("beams", [2, 4, 7])
def test_a_search_finds_what_transformers_finds_for_one_prompt(model, beams):
    found = searched(model, sampling=Sampling(num_beams=beams))
    assert [list(answer.tokens) for answer in found] == [straight(model, p, num_beams=beams) for p in PROMPTS]
    assert found != decode(model, PROMPTS, limits=[12] * 5, end_token_ids=ENDS, choose=greedy)


def test_an_answer_in_a_batch_is_the_answer_alone(model):
    prompts = [[i, *range(3, 3 + i % 7)] for i in range(20, 60)]
    together = searched(model, prompts)
    assert together == [searched(model, [prompt])[0] for prompt in prompts]
    assert {answer.ended for answer in together} == {True, False}
    for answer in together:
        assert answer.ended == (answer.tokens[-1] in ENDS)
        assert answer.ended or len(answer.tokens) == 12
        assert not ENDS & set(answer.tokens[:-1])


def test_rows_have_their_own_limits(model):
    limits = [1, 12, 5, 3, 12]
    found = searched(model, limits=limits, ends=frozenset({511}))
    alone = [
        searched(model, [prompt], [limit], ends=frozenset({511}))[0]
        for prompt, limit in zip(PROMPTS, limits, strict=True)
    ]
    assert found == alone
    assert [len(answer.tokens) for answer in found] == limits


def test_the_answer_is_likelier_than_the_greedy_one(model):
    """A control: a search of one beam would find the greedy answer."""

    def mean_logp(prompt, tokens):
        with torch.no_grad():
            logps = model(torch.tensor([prompt + tokens])).logits[0].log_softmax(-1)
        return sum(float(logps[len(prompt) - 1 + i, token]) for i, token in enumerate(tokens)) / len(tokens)

    greedily = decode(model, PROMPTS, limits=[12] * 5, end_token_ids=ENDS, choose=greedy)
    for prompt, best, first in zip(PROMPTS, searched(model), greedily, strict=True):
        assert mean_logp(prompt, list(best.tokens)) >= mean_logp(prompt, list(first.tokens)) - 1e-5


def test_the_models_own_generation_settings_decide_nothing_and_stay(model):
    before, kept = searched(model), model.generation_config
    own = GenerationConfig(
        do_sample=True, temperature=5.0, repetition_penalty=9.0, max_length=3, suppress_tokens=[3, 5],
        bad_words_ids=[[7]], min_p=0.5, forced_eos_token_id=9, no_repeat_ngram_size=1, early_stopping=True,
    )  # fmt: skip
    model.generation_config = own
    leaked = [straight(model, prompt, num_beams=4) for prompt in PROMPTS]
    assert searched(model) == before
    assert model.generation_config is own
    model.generation_config = kept
    assert leaked != [list(answer.tokens) for answer in before]


def test_draws_are_decided_by_the_seed_and_leave_the_global_generator_alone(model):
    first = searched(model, sampling=DRAWN)
    torch.manual_seed(5)
    state = torch.get_rng_state()
    assert searched(model, sampling=DRAWN) == first
    assert torch.equal(torch.get_rng_state(), state)
    assert searched(model, sampling=DRAWN, seed=1) != first
    assert first != searched(model, sampling=Sampling(num_beams=3))


def test_draws_are_those_of_transformers(model):
    (found,) = searched(model, PROMPTS[:1], sampling=DRAWN, seed=3)
    with torch.random.fork_rng():
        torch.manual_seed(3)
        settings = {"num_beams": 3, "do_sample": True, "temperature": 2.0, "top_k": 30, "top_p": 0.9}
        assert list(found.tokens) == straight(model, PROMPTS[0], **settings)


def test_absolute_positions_ignore_padding():
    absolute = absolute_model()
    assert searched(absolute) == [searched(absolute, [prompt])[0] for prompt in PROMPTS]


def test_an_adapter_is_searched_with(model):
    wrapped = add_lora(tiny_model().eval(), r=2, alpha=4, dropout=0.0, target_modules="all-linear", seed=0)
    before = searched(wrapped)
    with torch.no_grad():
        for name, parameter in wrapped.named_parameters():
            if "lora_B" in name:
                parameter.fill_(0.5)
    after = searched(wrapped)
    assert before == searched(tiny_model().eval())
    assert before != after
    assert after == searched(wrapped.merge_and_unload())


def test_the_scores_of_each_step_are_looked_at(model):
    seen = []
    searched(model, limits=[2, 3, 3, 3, 3], check=lambda scores, rows, step: seen.append((len(scores), rows, step)))
    assert seen[0] == (4, [0] * 4, 0)
    assert [step for _, _, step in seen] == [0, 1, 0, 1, 2]
    assert seen[-1][:2] == (16, [1] * 4 + [2] * 4 + [3] * 4 + [4] * 4)


def test_a_model_without_a_key_value_cache_is_refused():
    recurrent = AutoModelForCausalLM.from_config(MambaConfig(vocab_size=300, hidden_size=16, num_hidden_layers=1))
    with pytest.raises(ModelError, match="MambaForCausalLM keeps no key-value cache"):
        searched(recurrent.eval())
