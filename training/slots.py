"""Key/value memory of a decoding batch: one slot per row, each row starting at position 0.

Rows lie at the left of their slot and grow to the right, so a row's numbers are at the same places whatever
its neighbours are; what lies behind a row is masked. That is what makes a response independent of its batch,
and it lets a new row take a free slot while the others go on.
"""

from collections.abc import Sequence

import torch

BUCKET = 64
"""Slots grow by this many positions; attention always sees a multiple of it."""


class PromptMemory:
    """Collects keys and values of one prompt; shaped like a transformers cache as far as a model asks."""

    is_compileable = False

    def __init__(self) -> None:
        self.layers: list[tuple[torch.Tensor, torch.Tensor]] = []

    def update(
        self, keys: torch.Tensor, values: torch.Tensor, layer: int, *_: object, **__: object
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Keep a layer's keys and values [1, heads, tokens, size] and hand them back."""
        if layer != len(self.layers):
            raise RuntimeError("layers must come in order")
        self.layers.append((keys, values))
        return keys, values


class Slots:
    """Keys and values of all layers, [rows, heads, positions, size], written one token per row and step."""

    is_compileable = False

    def __init__(self, rows: int) -> None:
        self.lengths = [0] * rows
        """Tokens of each row; 0 = free."""
        self._layers: list[tuple[torch.Tensor, torch.Tensor]] = []
        self._row_index = torch.arange(rows)
        self._write_at = torch.zeros(rows, dtype=torch.long)
        self._width = 0

    def put(self, row: int, memory: PromptMemory) -> None:
        """Fill a free slot with a prompt's keys and values."""
        length = memory.layers[0][0].shape[2]
        if not self._layers:
            self._layers = [
                (_empty(len(self.lengths), keys), _empty(len(self.lengths), values)) for keys, values in memory.layers
            ]
        self._reserve(length)
        for (keys, values), (prompt_keys, prompt_values) in zip(self._layers, memory.layers, strict=True):
            keys[row, :, :length] = prompt_keys[0]
            values[row, :, :length] = prompt_values[0]
        self.lengths[row] = length

    def free(self, row: int) -> None:
        """Give a slot back."""
        self.lengths[row] = 0

    def keep(self, rows: Sequence[int]) -> None:
        """Drop all rows but these, in this order."""
        index = torch.tensor(list(rows))
        self._layers = [(keys[index.to(keys.device)], values[index.to(values.device)]) for keys, values in self._layers]
        self.lengths = [self.lengths[row] for row in rows]
        self._row_index = torch.arange(len(rows))

    def grow(self, rows: int) -> None:
        """Add so many free slots behind the others."""
        self.lengths += [0] * rows
        self._layers = [(_taller(keys, rows), _taller(values, rows)) for keys, values in self._layers]
        self._row_index = torch.arange(len(self.lengths))

    def start_step(self, device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
        """Make room for one more token per row; (positions [rows, 1], mask [rows, 1, 1, width]).

        Free rows write at position 0 and see only themselves; nobody reads them.
        """
        self._reserve(max(self.lengths) + 1)
        self._width = -(-(max(self.lengths) + 1) // BUCKET) * BUCKET
        positions = torch.tensor(self.lengths, device=device)
        self._write_at, self._row_index = positions, self._row_index.to(device)
        mask = torch.arange(self._width, device=device)[None] <= positions[:, None]
        self.lengths = [length + 1 if length else 0 for length in self.lengths]
        return positions[:, None], mask[:, None, None]

    def update(
        self, keys: torch.Tensor, values: torch.Tensor, layer: int, *_: object, **__: object
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Write one token per row, [rows, heads, 1, size], and return all that attention may see."""
        all_keys, all_values = self._layers[layer]
        all_keys[self._row_index, :, self._write_at] = keys[:, :, 0]
        all_values[self._row_index, :, self._write_at] = values[:, :, 0]
        return all_keys[:, :, : self._width], all_values[:, :, : self._width]

    def _reserve(self, positions: int) -> None:
        capacity = self._layers[0][0].shape[2]
        if positions <= capacity:
            return
        # Doubling keeps the copying small next to the decoding.
        grown = max(2 * capacity, -(-positions // BUCKET) * BUCKET)
        self._layers = [(_widen(keys, grown), _widen(values, grown)) for keys, values in self._layers]


def _empty(rows: int, like: torch.Tensor) -> torch.Tensor:
    return like.new_zeros(rows, like.shape[1], BUCKET, like.shape[3])


def _taller(tensor: torch.Tensor, rows: int) -> torch.Tensor:
    return torch.cat([tensor, tensor.new_zeros(rows, *tensor.shape[1:])])


def _widen(tensor: torch.Tensor, positions: int) -> torch.Tensor:
    wide = tensor.new_zeros(*tensor.shape[:2], positions, tensor.shape[3])
    wide[:, :, : tensor.shape[2]] = tensor
    return wide
