"""Exact loss of a model on a file: every learned token counts the same, whatever the batch size."""

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch

from training.data import Row, collate
from training.errors import Cancelled
from training.loss import label_losses
from training.parallel import ALONE, Peers

_CANCELLED = "cancelled while the loss was measured"


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
) -> Iterator[RowLoss]:
    """The loss of every row under ``model``, dropout off, shorter rows first. Sums are float64.

    Raises:
        Cancelled: ``should_stop`` said so between two batches.
    """
    with _dropout_off(model):
        for batch in _batches(rows, batch_size):
            if should_stop():
                raise Cancelled(_CANCELLED)
            yield from _losses_of(model, batch, device)


def measure_loss(
    model: Any,
    rows: Sequence[Row],
    *,
    batch_size: int,
    device: torch.device,
    should_stop: Callable[[], bool] = lambda: False,
    peers: Peers = ALONE,
) -> MeasuredLoss:
    """Token-weighted loss of ``model`` on ``rows``, dropout off; with peers, each takes a share of the batches.

    Raises:
        Cancelled: ``should_stop`` said so between two batches.
    """
    batches = _batches(rows, batch_size)
    sums: dict[int, float] = {}
    with _dropout_off(model):
        for place in peers.share(batches):
            if peers.any(should_stop()):
                raise Cancelled(_CANCELLED)
            if place is not None:
                sums[place] = math.fsum(row.total for row in _losses_of(model, batches[place], device))
    tokens = sum(row.label_count for row in rows)
    return MeasuredLoss(math.fsum(peers.put_together(sums, len(batches))) / tokens, tokens)


def _batches(rows: Sequence[Row], size: int) -> list[Sequence[Row]]:
    """Rows of about one length together, so that little is padded."""
    by_length = sorted(rows, key=lambda row: len(row.ids))
    return [by_length[start : start + size] for start in range(0, len(by_length), size)]


@torch.no_grad()
def _losses_of(model: Any, batch: Sequence[Row], device: torch.device) -> list[RowLoss]:
    losses = label_losses(model, collate(batch, device)).cpu().double()
    parts = losses.split([row.label_count for row in batch])
    return [
        RowLoss(row.line, math.fsum(part.tolist()), row.label_count) for row, part in zip(batch, parts, strict=True)
    ]


@contextmanager
def _dropout_off(model: Any) -> Iterator[None]:
    was_training = model.training
    model.eval()
    try:
        yield
    finally:
        model.train(was_training)
