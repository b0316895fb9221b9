import pytest
import torch
from transformers import (
    AutoModelForCausalLM,
    GenerationConfig,
    LogitsProcessorList,
    MambaConfig,
    MistralConfig,
    TemperatureLogitsWarper,
    TopKLogitsWarper,
    TopPLogitsWarper,
)

from cst.errors import ModelError
from cst.models.adapters import add_lora
from cst.models.decoding import chances, decode, drawn, uniform_stream
from cst.records import Sampling
from cst.store import fingerprint
from models.tiny import absolute_model, tiny_model

PROMPTS = [[5, 9, 14, 3], [7], [8, 8, 8, 8, 8, 8, 8], [100, 200], [33, 44, 55]]
ALIKE = [[*([30 + system] * 30), *range(50 * i, 51 * i)] for system in (1, 2) for i in range(1, 6)]
"""Ten prompts that begin in one of two ways, of unequal length."""
NO_END: frozenset[int] = frozenset()
FOUR = Sampling(num_beams=4)
DRAWN = Sampling(num_beams=3, temperature=2.0, top_k=30, top_p=0.9)
ENDS = frozenset(range(11, 512, 25))


@pytest.fixture(scope="module")
def model():
    return tiny_model().eval()


@pytest.fixture(scope="module")
def unsure():
    """Sure of nothing: some answers end."""
    made = tiny_model().eval()
    with torch.no_grad():
        made.model.norm.weight.mul_(0.3)
    return made


WARM = Sampling(temperature=1.0)


def all_of(model, prompts=PROMPTS, limits=None, ends=NO_END, sampling=None, seeds=range(5), check=lambda *_: None):
    return decode(
        model, prompts, limits=limits or [12] * len(prompts), end_token_ids=ends,
        sampling=sampling, seeds=list(seeds), check=check,
    )  # fmt: skip


def test_what_a_row_draws_depends_on_its_seed_alone(model) -> None:
    """Not on its neighbours, their lengths, its place, or the global generator."""
    ends = frozenset(range(0, 512, 9))
    together = all_of(model, ends=ends, sampling=WARM)
    assert {answer.ended for answer in together} == {True, False}
    torch.manual_seed(5)
    state = torch.get_rng_state()
    backwards = all_of(model, PROMPTS[::-1], ends=ends, sampling=WARM, seeds=range(4, -1, -1))
    assert torch.equal(torch.get_rng_state(), state)
    assert backwards[::-1] == together
    for i, prompt in enumerate(PROMPTS):
        assert all_of(model, [prompt], ends=ends, sampling=WARM, seeds=[i]) == [together[i]]
    assert all_of(model, ends=ends, sampling=WARM, seeds=range(1, 6)) != together


def test_a_shorter_limit_cuts_what_a_row_draws(model) -> None:
    limits = [1, 12, 5, 3, 12]
    for cut, full in zip(all_of(model, limits=limits, sampling=WARM), all_of(model, sampling=WARM), strict=True):
        assert full.tokens[: len(cut.tokens)] == cut.tokens


def test_rows_draw_as_if_by_hand(model) -> None:
    tokens, stream = list(PROMPTS[0]), uniform_stream(7, 12)
    with torch.no_grad():
        for step in range(12):
            logits = model(torch.tensor([tokens])).logits[:, -1]
            tokens.append(int(drawn(logits, stream[step : step + 1], WARM)))
    (answer,) = all_of(model, PROMPTS[:1], sampling=WARM, seeds=[7])
    assert answer.tokens == tuple(tokens[len(PROMPTS[0]) :])


def test_greedy_is_what_transformers_generates(model) -> None:
    plain = GenerationConfig(max_new_tokens=12, do_sample=False, eos_token_id=None, pad_token_id=0)
    for prompt, answer in zip(PROMPTS, all_of(model), strict=True):
        expected = model.generate(torch.tensor([prompt]), generation_config=plain)[0, len(prompt) :]
        assert list(answer.tokens) == expected.tolist()


def test_greedy_is_the_argmax_without_a_cache(model) -> None:
    tokens = list(PROMPTS[0])
    with torch.no_grad():
        for _ in range(12):
            tokens.append(int(model(torch.tensor([tokens])).logits[0, -1].argmax()))
    assert tuple(tokens[len(PROMPTS[0]) :]) == all_of(model)[0].tokens


def test_rows_have_their_own_limits(model) -> None:
    whole = all_of(model)
    limits = [1, 12, 5, 3, 12]
    for answer, full, limit in zip(all_of(model, limits=limits), whole, limits, strict=True):
        assert answer.tokens == full.tokens[:limit]
        assert not answer.ended


def test_an_answer_ends_at_its_first_end_token(model) -> None:
    whole = all_of(model)
    ends = frozenset({whole[0].tokens[3], whole[2].tokens[0]})
    for answer, full in zip(all_of(model, ends=ends), whole, strict=True):
        stops = [i for i, token in enumerate(full.tokens) if token in ends]
        assert answer.tokens == (full.tokens[: stops[0] + 1] if stops else full.tokens)
        assert answer.ended == bool(stops)


@pytest.mark.parametrize("sampling", [None, WARM, FOUR])
def test_the_models_own_generation_settings_decide_nothing_and_stay(unsure, sampling) -> None:
    before, kept = all_of(unsure, sampling=sampling), unsure.generation_config
    own = GenerationConfig(
        do_sample=True, temperature=5.0, repetition_penalty=9.0, max_length=3, suppress_tokens=[3, 5],
        bad_words_ids=[[7]], min_p=0.5, forced_eos_token_id=9, no_repeat_ngram_size=1, eos_token_id=list(range(400)),
    )  # fmt: skip
    unsure.generation_config, told = own, own.to_dict()
    try:
        assert all_of(unsure, sampling=sampling) == before
        assert unsure.generation_config is own and own.to_dict() == told
        leaked = straight(unsure, PROMPTS[0], num_beams=4 if sampling is FOUR else 1)
    finally:
        unsure.generation_config = kept
    assert leaked != list(before[0].tokens)  # the control: given to `generate` itself, they decide


def test_nothing_is_written_to_the_model(model) -> None:
    before = dict(vars(model))
    for sampling in (None, WARM, FOUR):
        all_of(model, sampling=sampling)
    assert vars(model) == before


def test_a_stream_is_decided_by_its_seed() -> None:
    stream = uniform_stream(3, 100)
    assert torch.equal(stream, uniform_stream(3, 100))
    assert torch.equal(stream[:10], uniform_stream(3, 10))
    assert not torch.equal(stream, uniform_stream(4, 100))
    assert all(0 <= quantile < 1 for quantile in stream.tolist())


def test_draws_follow_the_probabilities() -> None:
    logits = torch.tensor([[0.0, 1.0, 2.0, -1.0]]).expand(20_000, -1)
    tokens = drawn(logits, uniform_stream(0, 20_000), Sampling(temperature=0.7))
    shares = torch.bincount(tokens, minlength=4) / 20_000
    assert torch.allclose(shares, (logits[0] / 0.7).softmax(-1), atol=0.01)


def test_the_nucleus_is_the_smallest_set_that_holds_the_mass() -> None:
    logits = torch.tensor([0.5, 0.05, 0.3, 0.15]).log()[None].expand(2_000, -1)
    quantiles = uniform_stream(0, 2_000)
    for top_p, kept in ((0.45, {0}), (0.5, {0}), (0.51, {0, 2}), (0.94, {0, 2, 3}), (0.96, {0, 1, 2, 3})):
        tokens = drawn(logits, quantiles, Sampling(temperature=1.0, top_p=top_p))
        assert set(tokens.tolist()) == kept


@pytest.mark.parametrize("temperature", [0.1, 0.7, 2.0])
@pytest.mark.parametrize(
    ("top_k", "top_p"), [(0, 1.0), (1, 1.0), (40, 0.75), (40, 1.0), (0, 0.75), (3, 0.3), (500, 0.9)]
)
def test_chances_are_those_of_transformers(temperature: float, top_k: int, top_p: float) -> None:
    logits = torch.randn(50, 300, generator=torch.Generator().manual_seed(0)) * 3
    warpers = LogitsProcessorList([TemperatureLogitsWarper(temperature)])
    warpers += [TopKLogitsWarper(top_k)] if top_k else []
    warpers += [TopPLogitsWarper(top_p)] if top_p < 1 else []
    expected = warpers(torch.zeros(50, 1, dtype=torch.long), logits).softmax(-1).double()
    found = chances(logits, Sampling(temperature=temperature, top_p=top_p, top_k=top_k))
    assert torch.allclose(found / found.sum(-1, keepdim=True), expected, atol=1e-6)
    assert torch.equal(found > 0, expected > 0)


def test_the_k_come_before_the_nucleus() -> None:
    """Of .4 .3 .2 .1 the first two are .57 and .43 of what is left: a nucleus of .5 is then the first alone."""
    logits = torch.tensor([[0.4, 0.3, 0.2, 0.1]]).log()
    kept = [chances(logits, Sampling(temperature=1.0, top_p=0.5, top_k=k))[0] > 0 for k in (0, 2)]
    assert [mask.tolist() for mask in kept] == [[True, True, False, False], [True, False, False, False]]


def test_equals_of_the_last_of_the_k_are_kept() -> None:
    found = chances(torch.tensor([[1.0, 3.0, 2.0, 2.0]]), Sampling(temperature=1.0, top_k=2))
    assert (found > 0).tolist() == [[False, True, True, True]]


@pytest.mark.parametrize("quantile", [0.0, 0.5, 1 - 2**-53])
def test_no_quantile_draws_the_impossible(quantile: float) -> None:
    logits = torch.tensor([[-torch.inf, 0.0, 0.1, -torch.inf]])
    assert int(drawn(logits, torch.tensor([quantile], dtype=torch.float64), Sampling(temperature=1.0))) in {1, 2}


def test_a_sliding_window_slides_for_rows_that_stay() -> None:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        config = MistralConfig(
            vocab_size=300, hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=2,
            num_key_value_heads=1, sliding_window=4, initializer_range=0.3, bos_token_id=None, eos_token_id=None,
        )  # fmt: skip
        windowed = AutoModelForCausalLM.from_config(config).eval()
    limits = [2, 12, 3, 12, 4]
    alone = [all_of(windowed, [prompt], [limit])[0] for prompt, limit in zip(PROMPTS, limits, strict=True)]
    assert all_of(windowed, limits=limits) == alone
    assert all_of(windowed, ALIKE) == [all_of(windowed, [prompt])[0] for prompt in ALIKE]


def test_padding_moves_no_position() -> None:
    # GPT-2's positions are absolute: a left-padded row that counted its filler would answer otherwise
    absolute = absolute_model()
    for prompts in (PROMPTS, ALIKE):
        assert all_of(absolute, prompts) == [all_of(absolute, [prompt])[0] for prompt in prompts]


def test_a_model_without_a_key_value_cache_is_refused() -> None:
    recurrent = AutoModelForCausalLM.from_config(MambaConfig(vocab_size=300, hidden_size=16, num_hidden_layers=1))
    with pytest.raises(ModelError, match="MambaForCausalLM keeps no key-value cache"):
        all_of(recurrent.eval())


def searched(model, prompts=PROMPTS, limits=None, ends=ENDS, sampling=FOUR, seeds=(0,)):
    return all_of(model, prompts, limits, ends, sampling, seeds)


def straight(model, prompt, ends=ENDS, **settings):
    """What transformers generates for one prompt, up to its end."""
    plain = GenerationConfig(max_new_tokens=12, eos_token_id=sorted(ends), pad_token_id=0, **settings)
    return model.generate(torch.tensor([prompt]), generation_config=plain)[0, len(prompt) :].tolist()


@pytest.mark.parametrize("beams", [2, 4, 7])
def test_a_search_finds_what_transformers_finds_for_one_prompt(unsure, beams):
    found = searched(unsure, sampling=Sampling(num_beams=beams))
    assert [list(answer.tokens) for answer in found] == [straight(unsure, p, num_beams=beams) for p in PROMPTS]
    assert found != decode(unsure, PROMPTS, limits=[12] * 5, end_token_ids=ENDS)


def test_an_answer_in_a_batch_is_the_answer_alone(unsure):
    prompts = [[i, *range(3, 3 + i % 7)] for i in range(20, 60)]
    together = searched(unsure, prompts)
    assert together == [searched(unsure, [prompt])[0] for prompt in prompts]
    assert {answer.ended for answer in together} == {True, False}
    for answer in together:
        assert answer.ended == (answer.tokens[-1] in ENDS)
        assert answer.ended or len(answer.tokens) == 12
        assert not ENDS & set(answer.tokens[:-1])


def test_the_answer_is_likelier_than_the_greedy_one(unsure):
    """A control: a search of one beam would find the greedy answer."""

    def mean_logp(prompt, tokens):
        with torch.no_grad():
            logps = unsure(torch.tensor([prompt + tokens])).logits[0].log_softmax(-1)
        return sum(float(logps[len(prompt) - 1 + i, token]) for i, token in enumerate(tokens)) / len(tokens)

    greedily = decode(unsure, PROMPTS, limits=[12] * 5, end_token_ids=ENDS)
    for prompt, best, first in zip(PROMPTS, searched(unsure), greedily, strict=True):
        assert mean_logp(prompt, list(best.tokens)) >= mean_logp(prompt, list(first.tokens)) - 1e-5


def test_draws_are_decided_by_the_seed_and_leave_the_global_generator_alone(unsure):
    first = searched(unsure, sampling=DRAWN)
    torch.manual_seed(5)
    state = torch.get_rng_state()
    assert searched(unsure, sampling=DRAWN) == first
    assert torch.equal(torch.get_rng_state(), state)
    assert searched(unsure, sampling=DRAWN, seeds=[1] * 5) != first
    assert first != searched(unsure, sampling=Sampling(num_beams=3))


def test_draws_are_those_of_transformers(unsure):
    (found,) = searched(unsure, PROMPTS[:1], sampling=DRAWN, seeds=[3])
    with torch.random.fork_rng():
        torch.manual_seed(int(fingerprint(3)[:15], 16))
        settings = {"num_beams": 3, "do_sample": True, "temperature": 2.0, "top_k": 30, "top_p": 0.9}
        assert list(found.tokens) == straight(unsure, PROMPTS[0], **settings)


def test_absolute_positions_ignore_padding():
    absolute = absolute_model()
    assert searched(absolute) == [searched(absolute, [prompt])[0] for prompt in PROMPTS]


def test_an_adapter_is_searched_with(unsure):
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


@pytest.mark.parametrize(("sampling", "beams"), [(None, 1), (WARM, 1), (FOUR, 4)])
def test_the_logits_of_each_step_are_looked_at(unsure, sampling, beams) -> None:
    seen = []
    looked = {"check": lambda logits, rows, step: seen.append((len(logits), rows, step))}
    all_of(unsure, limits=[2, 3, 3, 3, 3], sampling=sampling, **looked)
    assert seen[0] == (beams, [0] * beams, 0)
    assert [step for _, _, step in seen] == [0, 1, 0, 1, 2]
    assert seen[-1][:2] == (4 * beams, sorted([1, 2, 3, 4] * beams))
