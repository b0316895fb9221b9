"""A key-value cache with room to grow: transformers' own copies the whole of it for every token.

On the miniature, with 64 rows on a CPU, those copies were 39 % of the time of decoding. This file knows no model.
"""

from collections.abc import Sequence
from copy import copy
from typing import Any, cast, final

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

    def laid_out(self, rows: Tensor, columns: Tensor) -> "RoomyLayer":
        """Another layer: its row r has at column c what row `rows[r]` has here at `columns[r, c]`; both are int64.

        `rows` is [R], `columns` [R, T].
        """
        states = [room.transpose(1, 2)[rows[:, None], columns].transpose(1, 2) for room in self._rooms]
        return self._of([_longer(state, columns.shape[1] + ROOM) for state in states], columns.shape[1])

    @staticmethod
    def joined(parts: Sequence[tuple[Tensor, "RoomyLayer"]]) -> "RoomyLayer":
        """All rows in one layer: those of each part, [R] int64, aligned to the right, zeros to their left."""
        rows, width = sum(len(rows) for rows, _ in parts), max(layer._used for _, layer in parts)
        like = parts[0][1]._look()
        rooms = [first.new_zeros(rows, first.shape[1], width + ROOM, first.shape[3]) for first in like]
        for rows_of_part, layer in parts:
            for room, part in zip(rooms, layer._look(), strict=True):
                room[rows_of_part, :, width - part.shape[-2] : width] = part
        return RoomyLayer._of(rooms, width)

    @staticmethod
    def _of(rooms: list[Tensor], used: int) -> "RoomyLayer":
        made = RoomyLayer()
        made.lazy_initialization(*rooms)
        made._rooms, made._used = rooms, used
        made._look()
        return made

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


def laid_out(cache: DynamicCache, rows: Tensor, columns: Tensor) -> DynamicCache:
    """A cache of `RoomyLayer.laid_out` of each layer; only for caches of which `can_lay_out` is true."""
    return _made_of(cache, [layer.laid_out(rows, columns) for layer in cast(list[RoomyLayer], cache.layers)])


def joined(parts: Sequence[tuple[Tensor, DynamicCache]]) -> DynamicCache:
    """A cache of `RoomyLayer.joined` of each layer; parts are rows, [R] int64, and what was seen of them."""
    layers = zip(*([(rows, layer) for layer in cache.layers] for rows, cache in parts), strict=True)
    return _made_of(parts[0][1], [RoomyLayer.joined(cast(list[tuple[Tensor, RoomyLayer]], layer)) for layer in layers])


def _made_of(cache: DynamicCache, layers: list[Any]) -> DynamicCache:
    """A cache of the same kind with other layers."""
    made = copy(cache)
    made.layers = layers
    return made


def can_lay_out(cache: DynamicCache) -> bool:
    """Whether each layer keeps the keys of all tokens: no sliding window, no recurrent state."""
    return all(type(layer) is RoomyLayer for layer in cache.layers)


def _longer(states: Tensor, length: int) -> Tensor:
    """A copy with room for `length` tokens; what is beyond the copied ones is not yet anything."""
    room = torch.empty((*states.shape[:-2], length, states.shape[-1]), dtype=states.dtype, device=states.device)
    room[:, :, : states.shape[-2]] = states
    return room
