import pytest
import torch
from tiny import mirrored_preferences, tiny_model, tiny_tokenizer

from cst.models.rendering import Renderer, TokenSequence
from cst.training.batches import IGNORED, pad, tokenize
from cst.training.logps import padded_logps, response_logps, token_logps


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
