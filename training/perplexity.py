"""Exact loss of a model on a file: every learned token counts the same, whatever the batch size."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from training.data import Row, collate
from training.errors import Cancelled
from training.loss import label_losses
from training.parallel import ALONE, Peers


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


def measure_loss(
    model: Any,
    rows: Sequence[Row],
    *,
    batch_size: int,
    device: torch.device,
    should_stop: Callable[[], bool] = lambda: False,
    peers: Peers = ALONE,
) -> MeasuredLoss:
    """Token-weighted loss of ``model`` on ``rows``, dropout off. Sums are float64; with peers, each takes a share.

    Raises:
        Cancelled: ``should_stop`` said so between two batches.
    """
    by_length = sorted(rows, key=lambda row: len(row.ids))
    batches = [by_length[start : start + batch_size] for start in range(0, len(by_length), batch_size)]
    sums: dict[int, float] = {}
    was_training = model.training
    model.eval()
    try:
        with torch.no_grad():
            for place in peers.share(batches):
                if peers.any(should_stop()):
                    raise Cancelled("cancelled while the validation loss was measured")
                if place is not None:
                    losses = label_losses(model, collate(batches[place], device))
                    sums[place] = float(losses.cpu().double().sum())
    finally:
        model.train(was_training)
    tokens = sum(row.label_count for row in rows)
    return MeasuredLoss(math.fsum(peers.put_together(sums, len(batches))) / tokens, tokens)
