"""A key-value cache with room to grow: transformers' own copies the whole of it for every token.

On the miniature, with 64 rows on a CPU, those copies were 39 % of the time of decoding. This file knows no model.
"""

from typing import cast, final

import torch
from torch import Tensor
from transformers import DynamicCache, PreTrainedConfig
from transformers.cache_utils import DynamicLayer, DynamicSlidingWindowLayer

ROOM = 64
"""Tokens that are made room for at once: one copy in 64 steps."""


@final
class RoomyLayer(DynamicLayer):
    """One layer's keys and values [R, H, T, D]: views of tensors that are longer than T."""

    def __init__(self) -> None:
        super().__init__()
        self._rooms: list[Tensor] = []
        self._used = 0

    def update(
        self,
        key_states: Tensor,
        value_states: Tensor,
        *args: object,
        **kwargs: object,
    ) -> tuple[Tensor, Tensor]:
        """Take keys and values [R, H, t, D] of t new tokens; give those of all tokens."""
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
            self._rooms = [_longer(state[:, :, :0], state.shape[-2] + ROOM) for state in (key_states, value_states)]
        start, self._used = self._used, self._used + key_states.shape[-2]
        if self._used > self._rooms[0].shape[-2]:
            self._rooms = [_longer(room[:, :, :start], self._used + ROOM) for room in self._rooms]
        for room, state in zip(self._rooms, (key_states, value_states), strict=True):
            room[:, :, start : self._used] = state
        return self._look()

    def batch_select_indices(self, indices: Tensor) -> None:
        """Keep these rows alone."""
        self._rooms = [room.index_select(0, indices) for room in self._rooms]
        self._look()

    def lay_out(self, rows: Tensor, columns: Tensor) -> None:
        """Row r gets at column c what row `rows[r]` had at `columns[r, c]`; rows [R] and columns [R, T] are int64."""
        self._rooms = [
            _longer(room.transpose(1, 2)[rows[:, None], columns].transpose(1, 2), columns.shape[1] + ROOM)
            for room in self._rooms
        ]
        self._look()

    def _look(self) -> tuple[Tensor, Tensor]:
        self.keys, self.values = (room[:, :, : self._used] for room in self._rooms)
        return self.keys, self.values


def make_cache(config: PreTrainedConfig) -> tuple[DynamicCache, bool]:
    """An empty cache for a model, and whether rows can be taken out of it.

    Layers that attend to everything are roomy. A recurrent layer's state can't lose a row; a model that has one keeps
    its rows to the end of the batch.
    """
    cache = DynamicCache(config=config)
    kinds = {type(layer) for layer in cache.layers}
    cache.layers = [RoomyLayer() if type(layer) is DynamicLayer else layer for layer in cache.layers]
    return cache, kinds <= {DynamicLayer, DynamicSlidingWindowLayer}


def lay_out(cache: DynamicCache, rows: Tensor, columns: Tensor) -> None:
    """`RoomyLayer.lay_out` of each layer; only for caches of which `can_lay_out` is true."""
    for layer in cast(list[RoomyLayer], cache.layers):
        layer.lay_out(rows, columns)


def can_lay_out(cache: DynamicCache) -> bool:
    """Whether each layer keeps the keys of all tokens: no sliding window, no recurrent state."""
    return all(type(layer) is RoomyLayer for layer in cache.layers)


def _longer(states: Tensor, length: int) -> Tensor:
    """A copy with room for `length` tokens; what is beyond the copied ones is not yet anything."""
    room = torch.empty((*states.shape[:-2], length, states.shape[-1]), dtype=states.dtype, device=states.device)
    room[:, :, : states.shape[-2]] = states
    return room
