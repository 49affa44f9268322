"""Exact loss of a model on a file: every learned token counts the same, whatever the batch size."""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from training.data import Row, collate
from training.errors import Cancelled
from training.loss import label_losses


@dataclass(frozen=True, slots=True)
class MeasuredLoss:
    """Mean negative log-likelihood in nats over ``tokens`` learned tokens."""

    mean: float
    tokens: int

    @property
    def perplexity(self) -> float:
        """Exp of the mean loss; infinite where that overflows."""
        try:
            return math.exp(self.mean)
        except OverflowError:
            return math.inf


@dataclass(frozen=True, slots=True)
class RowLoss:
    """Loss of one row: the sum over its learned tokens, in nats, and how many these are."""

    line: int
    total: float
    tokens: int


def measure_rows(
    model: Any,
    rows: Sequence[Row],
    *,
    batch_size: int,
    device: torch.device,
    should_stop: Callable[[], bool] = lambda: False,
    before: Callable[[int], None] = lambda _: None,
) -> Iterator[RowLoss]:
    """The loss of every row under ``model``, dropout off, shorter rows first. Sums are float64.

    ``before`` is told of each batch how many rows it has.

    Raises:
        Cancelled: ``should_stop`` said so between two batches.
    """
    by_length = sorted(rows, key=lambda row: len(row.ids))
    was_training = model.training
    model.eval()
    try:
        with torch.no_grad():
            for start in range(0, len(by_length), batch_size):
                if should_stop():
                    raise Cancelled("cancelled while the loss was measured")
                of_batch = by_length[start : start + batch_size]
                before(len(of_batch))
                losses = label_losses(model, collate(of_batch, device)).cpu().double()
                parts = losses.split([row.label_count for row in of_batch])
                for row, part in zip(of_batch, parts, strict=True):
                    yield RowLoss(row.line, math.fsum(part.tolist()), row.label_count)
    finally:
        model.train(was_training)


def measure_loss(
    model: Any,
    rows: Sequence[Row],
    *,
    batch_size: int,
    device: torch.device,
    should_stop: Callable[[], bool] = lambda: False,
) -> MeasuredLoss:
    """Token-weighted loss of ``model`` on ``rows``, dropout off.

    Raises:
        Cancelled: ``should_stop`` said so between two batches.
    """
    return mean_loss(list(measure_rows(model, rows, batch_size=batch_size, device=device, should_stop=should_stop)))


def mean_loss(measured: Sequence[RowLoss]) -> MeasuredLoss:
    """The mean over the tokens of these rows."""
    tokens = sum(row.tokens for row in measured)
    return MeasuredLoss(math.fsum(row.total for row in measured) / tokens, tokens)
