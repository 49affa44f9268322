"""Base and adapters in one batch: y = W x + ((x Aᵀ) ∘ M) Bᵀ with all adapters side by side and M per row.

Every linear layer that some adapter changes is wrapped once. A stacks the A matrices of all adapters, B
their (scaled) B matrices; M zeroes, row by row, everything but the row's own adapter. Rows of the bare base
get exact zeros, so their numbers are the base's.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn
from torch.nn import functional

from training.errors import AdapterError
from training.lora import LoraPair

BASE = -1
"""Adapter index of a row of the bare base."""


class _State:
    """What all wrapped layers share: the adapter of each row, and the masks made from it."""

    def __init__(self) -> None:
        self.rows: torch.Tensor | None = None
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

    a: torch.Tensor
    b: torch.Tensor

    def __init__(self, linear: nn.Linear, pairs: Sequence[tuple[int, LoraPair]], state: _State) -> None:
        super().__init__()
        self.linear = linear
        weight = linear.weight
        self.register_buffer("a", torch.cat([pair.a.float() for _, pair in pairs]).to(weight))
        self.register_buffer("b", torch.cat([pair.b.float() * pair.scale for _, pair in pairs], 1).to(weight))
        self.owners = tuple(index for index, pair in pairs for _ in range(pair.a.shape[0]))
        self.state = state

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Linear layer plus masked updates; x has shape [rows, tokens, in]."""
        inner = functional.linear(x, self.a) * self.state.mask(self.owners, x)
        return self.linear(x) + functional.linear(inner, self.b)


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
            linear = _find_linear(model, layer)
            for _, pair in indexed:
                if (pair.b.shape[0], pair.a.shape[1]) != tuple(linear.weight.shape):
                    raise AdapterError(f"an adapter does not fit this base model: the shape of {layer} differs")
            parent, _, child = layer.rpartition(".")
            setattr(model.get_submodule(parent), child, _MaskedLinear(linear, indexed, self._state))

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
        """Say which adapter (by index) each row of the next calls uses."""
        self._state.rows = torch.tensor(list(indices))
        self._state.masks = {}

    @contextmanager
    def rows(self, adapters: Sequence[str | None]) -> Iterator[None]:
        """Like ``set_rows`` by name, for the length of a ``with`` block."""
        self.set_rows([self.index(adapter) for adapter in adapters])
        yield
        self._state.rows, self._state.masks = None, {}


def _find_linear(model: Any, layer: str) -> nn.Linear:
    try:
        module = model.get_submodule(layer)
    except AttributeError as error:
        raise AdapterError(f"an adapter does not fit this base model: there is no layer {layer}") from error
    if not isinstance(module, nn.Linear):
        raise AdapterError(f"an adapter changes {layer}, which is not a linear layer")
    return module
