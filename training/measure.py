"""The loss of a base model and of adapters on it, on one file, row by row: one base in memory for all of them.

In float32 wherever that fits into memory: half precision moves a loss by more than checkpoints of one run differ, and
makes it depend on which rows are measured together.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from training import base
from training.data import Encoded, Row, encode, read_conversations
from training.frozen import lay_out
from training.generate import context_of
from training.lora import read_adapter
from training.masked_lora import MaskedLora
from training.memory import give_back, ran_out
from training.perplexity import RowLoss, measure_rows

BATCH_ROWS = 8
"""Rows at a time; the result does not depend on it."""


class LossMeter:
    """A base model and adapters that are measured on the same rows.

    Raises:
        BaseModelError, AdapterError: something cannot be loaded or does not fit.
    """

    def __init__(self, base_folder: Path, adapters: Mapping[str, Path], *, device: str = "auto") -> None:
        self._device = base.pick_device(device)
        self._model, self._tokenizer, number_format = _load(base_folder, self._device)
        self._stack = MaskedLora(self._model, {name: read_adapter(path) for name, path in adapters.items()})
        lay_out(self._model)
        self._batch_rows = BATCH_ROWS
        self.device, self.dtype = self._device.type, str(number_format).removeprefix("torch.")

    def read(self, file: Path, max_length: int) -> Encoded:
        """The rows of a file that fit into ``max_length`` tokens and the model's context; assistant tokens count.

        Raises:
            DataError: a row that cannot be read, or none that fits; names the line.
        """
        longest = min(max_length, context_of(self._model.config))
        conversations = read_conversations(file)
        return encode(self._tokenizer, conversations, max_length=longest, assistant_only_loss=True)

    def measure(
        self,
        adapter: str | None,
        rows: Sequence[Row],
        *,
        should_stop: Callable[[], bool] = lambda: False,
        on_row: Callable[[int], None] = lambda _: None,
    ) -> list[RowLoss]:
        """The losses of the rows under one adapter, or under the bare base, by line. ``on_row`` counts from 1.

        Where memory runs out, it begins again with half as many rows at a time.

        Raises:
            Cancelled: ``should_stop`` said so.
        """
        self._stack.set_all(self._stack.index(adapter))
        while True:
            found: list[RowLoss] = []
            try:
                for row in measure_rows(
                    self._model,
                    rows,
                    batch_size=self._batch_rows,
                    device=self._device,
                    should_stop=should_stop,
                ):
                    found.append(row)
                    on_row(len(found))
                return sorted(found, key=lambda row: row.line)
            except RuntimeError as error:
                if self._batch_rows == 1 or not ran_out(error):
                    raise
            self._batch_rows //= 2
            give_back(self._device)


def _load(folder: Path, device: torch.device) -> tuple[Any, Any, torch.dtype]:
    """Model, tokenizer and number format: float32, or what the device computes in where memory is too small for it."""
    try:
        return *base.load_base(folder, device, torch.float32), torch.float32
    except RuntimeError as error:
        smaller = base.pick_dtype(device)
        if smaller is torch.float32 or not ran_out(error):
            raise
    give_back(device)
    return *base.load_base(folder, device, smaller), smaller
