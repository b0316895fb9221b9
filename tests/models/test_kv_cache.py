import torch
from transformers import DynamicCache, FalconH1Config, LlamaConfig, MistralConfig
from transformers.cache_utils import DynamicLayer, DynamicSlidingWindowLayer

from cst.models.kv_cache import ROOM, RoomyLayer, can_lay_out, joined, laid_out, make_cache


def test_it_holds_what_transformers_own_holds_through_growth_and_leaving_rows() -> None:
    generator = torch.Generator().manual_seed(0)
    roomy, plain = RoomyLayer(), DynamicLayer()
    rows = 4
    for step in range(2 * ROOM + 5):
        states = [torch.randn(rows, 2, 7 if step == 0 else 1, 3, generator=generator) for _ in range(2)]
        for held, expected in zip(roomy.update(*states), plain.update(*states), strict=True):
            assert torch.equal(held, expected)
        if step in {3, ROOM + 1}:
            kept = torch.arange(1, rows)
            for layer in (roomy, plain):
                layer.batch_select_indices(kept)
            rows = len(kept)
        assert roomy.get_seq_length() == plain.get_seq_length()
        assert torch.equal(roomy.keys, plain.keys) and torch.equal(roomy.values, plain.values)


def test_a_step_copies_nothing() -> None:
    layer = RoomyLayer()
    layer.update(*[torch.zeros(1, 1, 5, 2)] * 2)
    place = layer.keys.data_ptr()
    for _ in range(ROOM):
        layer.update(*[torch.ones(1, 1, 1, 2)] * 2)
    assert layer.keys.data_ptr() == place


def test_each_kind_of_layer_keeps_its_own_cache() -> None:
    cache, can_leave = make_cache(LlamaConfig(num_hidden_layers=2))
    assert ([type(layer) for layer in cache.layers], can_leave) == ([RoomyLayer] * 2, True)
    assert can_lay_out(cache)
    cache, can_leave = make_cache(MistralConfig(num_hidden_layers=2, sliding_window=4))
    assert ([type(layer) for layer in cache.layers], can_leave) == ([DynamicSlidingWindowLayer] * 2, True)
    assert not can_lay_out(cache)
    cache, can_leave = make_cache(FalconH1Config(num_hidden_layers=2))
    assert RoomyLayer not in {type(layer) for layer in cache.layers}
    assert not can_leave


def test_rows_are_laid_out_in_another_cache_and_go_on_from_there() -> None:
    cache, states = _filled()
    other = laid_out(cache, torch.tensor([1, 0, 1]), torch.tensor([[0, 1, 2, 3], [0, 0, 0, 1], [0, 0, 1, 2]]))
    for layer in range(2):
        keys, values = other.update(torch.zeros(3, 3, 1, 5), torch.zeros(3, 3, 1, 5), layer)
        assert keys.shape == (3, 3, 5, 5)
        assert torch.equal(keys[0, :, :4], states[1])
        assert torch.equal(keys[1, :, 2:4], states[0, :, :2])
        assert torch.equal(keys[2, :, 1:4], states[1, :, :3])
        assert torch.equal(values, -keys)
    assert cache.get_seq_length() == 4 and torch.equal(cache.layers[0].keys, states)


def test_parts_are_joined_to_the_right() -> None:
    long, states = _filled()
    short = laid_out(long, torch.tensor([1]), torch.tensor([[2, 3]]))
    whole = joined([(torch.tensor([2, 0]), long), (torch.tensor([1]), short)])
    for layer in range(2):
        keys, values = whole.update(torch.zeros(3, 3, 1, 5), torch.zeros(3, 3, 1, 5), layer)
        assert torch.equal(keys[:, :, :4][[2, 0]], states)
        assert torch.equal(keys[1, :, 2:4], states[1, :, 2:4])
        assert not keys[1, :, :2].any(), "what pads a row is masked, and a mask can't hide what is no number"
        assert torch.equal(values, -keys)


def _filled() -> tuple[DynamicCache, torch.Tensor]:
    """A cache of two layers, and its keys: rows, heads, tokens, width; values are their negatives."""
    cache, _ = make_cache(LlamaConfig(num_hidden_layers=2))
    states = torch.arange(2 * 3 * 4 * 5.0).view(2, 3, 4, 5)
    for layer in range(2):
        cache.update(states, -states, layer)
    return cache, states
