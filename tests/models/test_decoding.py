import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
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
from cst.models.decoded_rows import parts_of
from cst.models.decoding import chances, decode, greedy, sampler, uniform_stream
from models.tiny import absolute_model, tiny_model

PROMPTS = [[5, 9, 14, 3], [7], [8, 8, 8, 8, 8, 8, 8], [100, 200], [33, 44, 55]]
ALIKE = [[*([30 + system] * 30), *range(50 * i, 51 * i)] for system in (1, 2) for i in range(1, 6)]
"""Ten prompts that begin in one of two ways."""
NO_END: frozenset[int] = frozenset()


@pytest.fixture(scope="module")
def model():
    return tiny_model().eval()


def all_of(model, prompts=PROMPTS, limits=None, ends=NO_END, choose=greedy):
    return decode(model, prompts, limits=limits or [12] * len(prompts), end_token_ids=ends, choose=choose)


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


def test_a_beginning_that_prompts_share_is_computed_once_and_changes_no_answer(model) -> None:
    seen: list[int] = []
    hook = model.register_forward_pre_hook(
        lambda _model, _args, given: seen.append(given["input_ids"].numel()), with_kwargs=True
    )
    together = all_of(model, ALIKE)
    hook.remove()
    assert seen[:3] == [2 * 30, len(ALIKE) * 5, len(ALIKE)]  # heads; tails, as wide as the longest; then a token a row
    assert together == [all_of(model, [prompt])[0] for prompt in ALIKE]
    assert len({answer.tokens for answer in together}) > 5


def test_prompts_are_read_part_by_part_and_no_answer_changes(model) -> None:
    prompts = [[7, 7, *range(i, i + length)] for i, length in enumerate(range(2, 98, 2))]
    shapes: list[torch.Size] = []
    hook = model.register_forward_pre_hook(
        lambda _model, _args, given: shapes.append(given["input_ids"].shape), with_kwargs=True
    )
    together = all_of(model, prompts)
    hook.remove()
    read = [shape for shape in shapes if shape[1] > 1]
    assert len(read) > 1 and sum(rows for rows, _ in read) == len(prompts)
    assert sum(rows * width for rows, width in read) < 0.8 * len(prompts) * max(map(len, prompts))
    assert together == [all_of(model, [prompt])[0] for prompt in prompts]


def test_rows_that_end_leave_and_change_nothing(model) -> None:
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


def test_the_models_own_generation_settings_decide_nothing(model) -> None:
    before = all_of(model)
    kept = model.generation_config
    model.generation_config = GenerationConfig(do_sample=True, temperature=5.0, repetition_penalty=9.0, max_length=3)
    assert all_of(model) == before
    model.generation_config = kept


def test_a_stream_is_decided_by_its_seed() -> None:
    stream = uniform_stream(3, 100)
    assert torch.equal(stream, uniform_stream(3, 100))
    assert torch.equal(stream[:10], uniform_stream(3, 10))
    assert not torch.equal(stream, uniform_stream(4, 100))
    assert all(0 <= quantile < 1 for quantile in stream.tolist())


def test_draws_follow_the_probabilities() -> None:
    logits = torch.tensor([[0.0, 1.0, 2.0, -1.0]]).expand(20_000, -1)
    streams = uniform_stream(0, 20_000)[:, None]
    drawn = sampler(streams, temperature=0.7, top_p=1.0)(logits, list(range(20_000)), 0)
    shares = torch.bincount(drawn, minlength=4) / 20_000
    assert torch.allclose(shares, (logits[0] / 0.7).softmax(-1), atol=0.01)


def test_the_nucleus_is_the_smallest_set_that_holds_the_mass() -> None:
    logits = torch.tensor([0.5, 0.05, 0.3, 0.15]).log()[None].expand(2_000, -1)
    streams = uniform_stream(0, 2_000)[:, None]
    for top_p, kept in ((0.45, {0}), (0.5, {0}), (0.51, {0, 2}), (0.94, {0, 2, 3}), (0.96, {0, 1, 2, 3})):
        drawn = sampler(streams, temperature=1.0, top_p=top_p)(logits, list(range(2_000)), 0)
        assert set(drawn.tolist()) == kept


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
    found = chances(logits, temperature=temperature, top_p=top_p, top_k=top_k)
    assert torch.allclose(found / found.sum(-1, keepdim=True), expected, atol=1e-6)
    assert torch.equal(found > 0, expected > 0)


def test_the_k_come_before_the_nucleus() -> None:
    """Of .4 .3 .2 .1 the first two are .57 and .43 of what is left: a nucleus of .5 is then the first alone."""
    logits = torch.tensor([[0.4, 0.3, 0.2, 0.1]]).log()
    kept = [chances(logits, temperature=1.0, top_p=0.5, top_k=k)[0] > 0 for k in (0, 2)]
    assert [mask.tolist() for mask in kept] == [[True, True, False, False], [True, False, False, False]]


def test_equals_of_the_last_of_the_k_are_kept() -> None:
    found = chances(torch.tensor([[1.0, 3.0, 2.0, 2.0]]), temperature=1.0, top_p=1.0, top_k=2)
    assert (found > 0).tolist() == [[False, True, True, True]]


@pytest.mark.parametrize("quantile", [0.0, 0.5, 1 - 2**-53])
def test_no_quantile_draws_the_impossible(quantile: float) -> None:
    logits = torch.tensor([[-torch.inf, 0.0, 0.1, -torch.inf]])
    drawn = sampler(torch.tensor([[quantile]], dtype=torch.float64), temperature=1.0, top_p=1.0)(logits, [0], 0)
    assert int(drawn) in {1, 2}


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


@given(lengths=st.lists(st.integers(1, 40), min_size=1, max_size=30), budget=st.integers(1, 100))
def test_parts_hold_each_row_once_and_keep_to_their_budget(lengths: list[int], budget: int) -> None:
    parts = parts_of(lengths, budget)
    assert sorted(row for part in parts for row in part) == list(range(len(lengths)))
    for part in parts:
        assert len(part) == 1 or len(part) * max(lengths[row] for row in part) <= budget
    assert [lengths[row] for part in parts for row in part] == sorted(lengths)
