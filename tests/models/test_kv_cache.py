import torch
from transformers import FalconH1Config, LlamaConfig, MistralConfig
from transformers.cache_utils import DynamicLayer, DynamicSlidingWindowLayer

from cst.models.kv_cache import ROOM, RoomyLayer, make_cache


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
    cache, can_leave = make_cache(MistralConfig(num_hidden_layers=2, sliding_window=4))
    assert ([type(layer) for layer in cache.layers], can_leave) == ([DynamicSlidingWindowLayer] * 2, True)
    cache, can_leave = make_cache(FalconH1Config(num_hidden_layers=2))
    assert RoomyLayer not in {type(layer) for layer in cache.layers}
    assert not can_leave
