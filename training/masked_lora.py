"""Base and adapters in one batch: y = W x + ((x Aᵀ) ∘ M) Bᵀ with all adapters side by side and M per row.

Every linear layer that some adapter changes is wrapped once. A stacks the A matrices of all adapters, B
their (scaled) B matrices; M zeroes, row by row, everything but the row's own adapter. Rows of the bare base
get exact zeros, so their numbers are the base's.

DoRA brings each row of its weight V = W + s B A to a length of its own, which is the output times m / ‖V‖. That factor
is 1 for the rows of the others, so their numbers stay what they are without it.
"""

import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

from training.errors import AdapterError
from training.frozen import freeze
from training.lora import LoraPair

BASE = -1
"""Adapter index of a row of the bare base."""


class _State(threading.local):
    """What all wrapped layers share, in each thread its own: the adapter of each row, and the masks made from it."""

    def __init__(self) -> None:
        self.rows: torch.Tensor | None = None
        self.all: int | None = None
        """The one adapter of all rows, where that was said; what the others would add is then not computed."""
        self.masks: dict[tuple[int, ...], torch.Tensor] = {}

    def mask(self, owners: tuple[int, ...], like: torch.Tensor) -> torch.Tensor:
        """[rows, 1, ranks]: 1 where the rank column belongs to the row's adapter."""
        if owners not in self.masks:
            columns = torch.tensor(owners, device=like.device)
            if self.rows is None:
                raise RuntimeError("the adapter of each row must be set before the model is called")
            rows = self.rows.to(like.device)
            self.masks[owners] = (rows[:, None] == columns[None]).to(like.dtype)[:, None]
        return self.masks[owners]


class _MaskedLinear(nn.Module):
    """One linear layer with the updates of all adapters that change it."""

    stretches: torch.Tensor
    places: torch.Tensor

    def __init__(self, linear: nn.Linear, pairs: Sequence[tuple[int, LoraPair]], state: _State, count: int) -> None:
        super().__init__()
        self.linear = linear
        weight = linear.weight
        own = {index: (pair.a.to(weight), (pair.b.float() * pair.scale).to(weight)) for index, pair in pairs}
        self.a = freeze(torch.cat([a for a, _ in own.values()]))
        self.b = freeze(torch.cat([b for _, b in own.values()], 1))
        self.own = {index: (freeze(a), freeze(b)) for index, (a, b) in own.items()}
        self.owners = tuple(index for index, pair in pairs for _ in range(pair.a.shape[0]))
        self.state = state
        longer = [(index, pair) for index, pair in pairs if pair.magnitude is not None]
        self.stretches_some = bool(longer)
        if longer:
            found = [pair.stretch(weight.detach()) for _, pair in longer]
            places = torch.zeros(count + 1, dtype=torch.long)  # the last is the bare base's
            places[[index for index, _ in longer]] = torch.arange(1, len(longer) + 1)
            self.register_buffer("stretches", torch.stack([torch.ones_like(found[0]), *found]))
            self.register_buffer("places", places.to(weight.device))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Linear layer plus masked updates; x has shape [rows, tokens, in]."""
        y = self.linear(x)
        if self.state.all is None:
            y = y + self.b.product(self.a.product(x) * self.state.mask(self.owners, x))
        elif self.state.all in self.own:
            a, b = self.own[self.state.all]
            y = y + b.product(a.product(x))
        return self._stretched(y) if self.stretches_some else y

    def _stretched(self, y: torch.Tensor) -> torch.Tensor:
        """What is no bias, times m / ‖V‖; exactly y where the row's adapter is not DoRA."""
        if self.state.rows is None:
            raise RuntimeError("the adapter of each row must be set before the model is called")
        factor = self.stretches[self.places[self.state.rows.to(y.device)]][:, None]
        longer = y * factor
        if self.linear.bias is not None:
            longer = longer + self.linear.bias * (1 - factor)
        return longer.to(y.dtype)


class MaskedLora:
    """Puts adapters on a model, in place, and says for each batch which row uses which."""

    def __init__(self, model: Any, adapters: Mapping[str, Mapping[str, LoraPair]]) -> None:
        self._state = _State()
        self._index = {name: index for index, name in enumerate(adapters)}
        layers: dict[str, list[tuple[int, LoraPair]]] = {}
        for name, pairs in adapters.items():
            for layer, pair in pairs.items():
                layers.setdefault(layer, []).append((self._index[name], pair))
        for layer, indexed in layers.items():
            linear = find_linear(model, layer)
            for _, pair in indexed:
                if (pair.b.shape[0], pair.a.shape[1]) != tuple(linear.weight.shape):
                    raise AdapterError(f"an adapter does not fit this base model: the shape of {layer} differs")
            parent, _, child = layer.rpartition(".")
            wrapped = _MaskedLinear(linear, indexed, self._state, len(self._index))
            setattr(model.get_submodule(parent), child, wrapped)

    def index(self, adapter: str | None) -> int:
        """The number under which a row names its adapter; ``BASE`` for none.

        Raises:
            AdapterError: there is no adapter of this name.
        """
        if adapter is None:
            return BASE
        if adapter not in self._index:
            raise AdapterError(f"there is no adapter {adapter} on this engine; it has {sorted(self._index)}")
        return self._index[adapter]

    def set_rows(self, indices: Sequence[int]) -> None:
        """Say which adapter (by index) each row of the next calls of this thread uses."""
        self._state.rows, self._state.all, self._state.masks = torch.tensor(list(indices)), None, {}

    def set_all(self, index: int) -> None:
        """Say that all rows of the next calls of this thread use this adapter.

        The same but for rounding, and only the work of that adapter.
        """
        self._state.rows, self._state.all, self._state.masks = torch.tensor([index]), index, {}

    @contextmanager
    def rows(self, adapters: Sequence[str | None]) -> Iterator[None]:
        """Like ``set_rows`` by name, for the length of a ``with`` block."""
        self.set_rows([self.index(adapter) for adapter in adapters])
        yield
        self._state.rows, self._state.all, self._state.masks = None, None, {}


def find_linear(model: Any, layer: str) -> nn.Linear:
    """A linear layer of a model by its full name.

    Raises:
        AdapterError: there is none of this name, or it is another kind of layer.
    """
    try:
        module = model.get_submodule(layer)
    except AttributeError as error:
        raise AdapterError(f"an adapter does not fit this base model: there is no layer {layer}") from error
    if not isinstance(module, nn.Linear):
        raise AdapterError(f"an adapter changes {layer}, which is not a linear layer")
    return module
