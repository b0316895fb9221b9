import pytest
import torch
from tiny import mirrored_preferences, tiny_model, tiny_tokenizer
from transformers import AutoModelForCausalLM, MambaConfig, MistralConfig

from cst.models.logps import IGNORED, continuations, pad, padded_logps, response_logps, token_logps
from cst.models.rendering import Renderer, TokenSequence
from cst.training.batches import tokenize
from models.tiny import tiny_model as wider_model


def sequences() -> list[TokenSequence]:
    rows = tokenize(mirrored_preferences(4), Renderer.for_tokenizer(tiny_tokenizer()))
    return [sequence for row in rows for sequence in (row.chosen, row.rejected)]


@torch.no_grad()
def alone(model: torch.nn.Module, sequence: TokenSequence) -> float:
    """One sequence, token by token, without padding or masks."""
    logps = model(input_ids=torch.tensor([sequence.tokens])).logits[0].double().log_softmax(-1)
    return sum(
        float(logps[position - 1, sequence.tokens[position]])
        for position in range(sequence.response_start, len(sequence.tokens))
    )


@pytest.mark.parametrize("batch_size", [1, 3, 100])
def test_a_batch_gives_each_sequence_what_it_has_alone(batch_size: int):
    model = tiny_model().double()
    found = response_logps(model, sequences(), pad_token_id=0, batch_size=batch_size)
    assert found.logps.dtype == torch.float64
    assert found.logps.tolist() == pytest.approx([alone(model, sequence) for sequence in sequences()], abs=1e-9)
    assert found.lengths.tolist() == [len(s.tokens) - s.response_start for s in sequences()]


def test_what_stands_in_the_padding_changes_nothing():
    model = tiny_model()
    batch = pad(sequences()[:3], pad_token_id=0)
    other = pad(sequences()[:3], pad_token_id=9)
    assert torch.equal(padded_logps(model, batch), padded_logps(model, other))


def test_response_from_the_first_token_it_can_be():
    model = tiny_model().double()
    sequence = TokenSequence((1, 40, 50), 1)
    assert padded_logps(model, pad([sequence], 0)).item() == pytest.approx(alone(model, sequence), abs=1e-12)


def test_half_precision_logits_are_read_in_float32():
    logits = torch.randn(2, 3, 50, generator=torch.Generator().manual_seed(0)).bfloat16()
    labels = torch.tensor([[1, 2, IGNORED], [IGNORED, 4, 5]])
    found = token_logps(logits, labels)
    assert found.dtype == torch.float32
    expected = logits.double().log_softmax(-1).gather(-1, labels.clamp(min=0)[..., None])[..., 0]
    assert torch.allclose(found.double(), expected.where(labels != IGNORED, 0), atol=1e-6)
    assert found[0, 2] == 0


def test_gradient_reaches_responses_alone():
    logits = torch.randn(1, 3, 20, dtype=torch.float64, requires_grad=True)
    token_logps(logits, torch.tensor([[IGNORED, 3, IGNORED]])).sum().backward()
    assert logits.grad[0, 1].abs().sum() > 0
    assert logits.grad[0, [0, 2]].abs().sum() == 0


def test_padding_is_on_the_right_and_only_responses_have_labels():
    batch = pad([TokenSequence((5, 6, 7, 8), 2), TokenSequence((5, 9), 1)], pad_token_id=0)
    assert batch.input_ids.tolist() == [[5, 6, 7, 8], [5, 9, 0, 0]]
    assert batch.attention_mask.tolist() == [[1, 1, 1, 1], [1, 1, 0, 0]]
    assert batch.labels.tolist() == [[IGNORED, IGNORED, 7, 8], [IGNORED, 9, IGNORED, IGNORED]]


def test_a_response_may_hold_the_padding_token():
    """Where padding is the end token, the end token still carries a log-prob."""
    assert pad([TokenSequence((5, 2), 1), TokenSequence((5, 6, 2), 1)], pad_token_id=2).labels[0].tolist() == [
        IGNORED,
        2,
        IGNORED,
    ]


PROMPTS = [[5, 9, 14, 3], [7], [8, 8, 8, 8, 8, 8, 8], [*range(20, 60), 1], [*range(20, 60), 2, 3]]
ENDINGS = [[1], [2, 3, 4], [100, 200, 300, 4, 5, 6], [5, 5]]
PAIRS = [(prompt, ending) for ending in ENDINGS for prompt in PROMPTS]


def alone_and_greedy(model, prompt, ending):
    """Log-prob and greediness by the definition: one row, no cache, no padding."""
    with torch.no_grad():
        logits = model(torch.tensor([[*prompt, *ending]])).logits[0, len(prompt) - 1 : -1]
    tokens = torch.tensor(ending)
    logp = logits.log_softmax(-1).gather(1, tokens[:, None]).sum()
    return float(logp), bool((logits.argmax(-1) == tokens).all())


@pytest.mark.parametrize("batch_size", [1, 3, 64])
def test_each_is_what_the_model_says_of_it_alone(batch_size) -> None:
    model = wider_model().eval()
    found = continuations(model, PAIRS, pad_token_id=0, batch_size=batch_size)
    for one, (prompt, ending) in zip(found, PAIRS, strict=True):
        logp, is_greedy = alone_and_greedy(model, prompt, ending)
        assert one.logp == pytest.approx(logp, abs=1e-4)
        assert one.is_greedy == is_greedy


def test_a_greedy_continuation_is_told_from_its_neighbour() -> None:
    model = wider_model().eval()
    with torch.no_grad():
        best = int(model(torch.tensor([PROMPTS[0]])).logits[0, -1].argmax())
    found = continuations(model, [(PROMPTS[0], [best]), (PROMPTS[0], [best - 1])], pad_token_id=0, batch_size=2)
    assert [one.is_greedy for one in found] == [True, False]


def test_a_window_of_attention_is_kept_to() -> None:
    """And the control: with another window, other numbers."""
    sizes = {"vocab_size": 320, "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2}
    heads = {"num_attention_heads": 4, "num_key_value_heads": 2}
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(MistralConfig(**sizes, **heads, sliding_window=4)).eval()
    found = continuations(model, PAIRS, pad_token_id=0, batch_size=8)
    assert [one.logp for one in found] == pytest.approx([alone_and_greedy(model, *pair)[0] for pair in PAIRS], abs=1e-4)
    wide = AutoModelForCausalLM.from_config(MistralConfig(**sizes, **heads, sliding_window=None)).eval()
    wide.load_state_dict(model.state_dict())
    assert max(abs(one.logp - alone_and_greedy(wide, *pair)[0]) for one, pair in zip(found, PAIRS, strict=True)) > 1e-3


def test_choices_that_differ_in_their_last_token_are_read_once() -> None:
    model, read = wider_model().eval(), []
    hook = model.register_forward_pre_hook(
        lambda _model, _args, given: read.append(len(given["input_ids"])), with_kwargs=True
    )
    continuations(model, [(PROMPTS[2], [token]) for token in range(9)], pad_token_id=0, batch_size=64)
    continuations(model, [(PROMPTS[2], [4, token]) for token in (1, 2)], pad_token_id=0, batch_size=64)
    continuations(model, [(PROMPTS[2], [token, 1]) for token in (1, 2)], pad_token_id=0, batch_size=64)
    hook.remove()
    assert read == [1, 1, 2]


def test_a_recurrent_model_scores_too() -> None:
    mamba = MambaConfig(vocab_size=320, hidden_size=32, num_hidden_layers=1, state_size=4)
    model = AutoModelForCausalLM.from_config(mamba).eval()
    found = continuations(model, PAIRS, pad_token_id=0, batch_size=8)
    assert [one.logp for one in found] == pytest.approx([alone_and_greedy(model, *pair)[0] for pair in PAIRS], abs=1e-4)
