import pytest
import torch
from torch import nn
from transformers.integrations.sdpa_attention import sdpa_attention_forward

from cst.models.one_query_attention import NAME, attending_by_one_query, one_query_attention
from models.tiny import tiny_model


def states(heads: int, shared: int, queries: int, keys: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    shapes = ((3, heads, queries, 8), (3, shared, keys, 8), (3, shared, keys, 8))
    query, key, value = (torch.randn(shape, generator=generator) for shape in shapes)
    return query, key, value


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize(("heads", "shared", "queries"), [(4, 4, 1), (4, 2, 1), (4, 1, 1), (4, 2, 5)])
def test_it_is_the_attention_of_transformers(heads: int, shared: int, queries: int, masked: bool) -> None:
    query, key, value = states(heads, shared, queries, keys=11)
    mask = torch.ones(3, 1, queries, 11, dtype=torch.bool)
    mask[0, :, :, :4] = mask[1, :, :, 6:9] = False
    module = nn.Module()
    module.num_key_value_groups = heads // shared
    given = mask if masked else None
    seen, _ = one_query_attention(module, query, key, value, given, scaling=0.3)
    expected, _ = sdpa_attention_forward(module, query, key, value, given, scaling=0.3)
    assert torch.allclose(seen, expected, atol=1e-6)
    other, _ = one_query_attention(module, query, key, value, given, scaling=0.31)
    assert not torch.allclose(other, expected, atol=1e-6)


def test_only_bfloat16_changes_its_attention_and_gets_it_back() -> None:
    for dtype, within in ((torch.bfloat16, NAME), (torch.float32, "sdpa")):
        model = tiny_model().to(dtype)
        with attending_by_one_query(model):
            assert model.config._attn_implementation == within
        assert model.config._attn_implementation == "sdpa"


def test_an_error_inside_gives_it_back_too() -> None:
    model = tiny_model().to(torch.bfloat16)
    with pytest.raises(KeyError), attending_by_one_query(model):
        raise KeyError
    assert model.config._attn_implementation == "sdpa"


def test_logits_of_a_padded_batch_hardly_move() -> None:
    model = tiny_model().to(torch.bfloat16).eval()
    tokens, mask = torch.randint(3, 300, (4, 9), generator=torch.Generator().manual_seed(0)), torch.ones(4, 10).long()
    mask[0, :5] = 0
    with torch.no_grad():
        logits = []
        for opens in (False, True):
            cache = model(tokens, attention_mask=mask[:, :9], use_cache=True).past_key_values
            last = {"attention_mask": mask, "past_key_values": cache}
            if opens:
                with attending_by_one_query(model):
                    logits.append(model(tokens[:, :1], **last).logits)
            else:
                logits.append(model(tokens[:, :1], **last).logits)
    assert torch.allclose(*logits, atol=0.1 * float(logits[0].std()))
