"""The course of a run: how many steps, which rows at each, and with which learning rate."""

import dataclasses
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from training.config import TrainSettings
from training.data import Row, make_batches, width_of


@dataclass(frozen=True, slots=True)
class Window:
    """The micro-batches of one optimizer step. ``epoch`` counts from 0."""

    epoch: int
    batches: tuple[tuple[Row, ...], ...]
    ends_epoch: bool
    epoch_done: float
    """Passes over the file after this step."""

    def cut(self, rows_at_once: int, tokens_at_once: int = 0) -> "Window":
        """The same rows in the same order, in micro-batches of no more than so many rows, and tokens with padding.

        0: no such limit. A row of more tokens is alone in its micro-batch.
        """
        smaller = (piece for batch in self.batches for piece in _pieces(batch, rows_at_once, tokens_at_once))
        return dataclasses.replace(self, batches=tuple(smaller))


def _pieces(batch: Sequence[Row], rows_at_once: int, tokens_at_once: int) -> Iterator[tuple[Row, ...]]:
    piece: list[Row] = []
    for row in batch:
        padded = (len(piece) + 1) * width_of((*piece, row))
        if piece and (0 < rows_at_once <= len(piece) or 0 < tokens_at_once < padded):
            yield tuple(piece)
            piece = []
        piece.append(row)
    yield tuple(piece)


def step_count(settings: TrainSettings, row_count: int) -> int:
    """Optimizer steps of a whole run over a file of ``row_count`` rows."""
    if settings.max_steps > 0:
        return settings.max_steps
    batches = math.ceil(row_count / settings.per_device_train_batch_size)
    return settings.num_train_epochs * math.ceil(batches / settings.gradient_accumulation_steps)


def windows(
    rows: Sequence[Row] | Callable[[int], Sequence[Row]], settings: TrainSettings, seed: int, total_steps: int
) -> Iterator[Window]:
    """As many windows as there are steps, epoch after epoch, each epoch in an order of its own.

    ``rows``: the same for every epoch, or a function from its number (from 0) to its rows, always as many.
    """
    size = settings.gradient_accumulation_steps
    made = epoch = 0
    while made < total_steps:
        seen = rows(epoch) if callable(rows) else rows
        batches = make_batches(seen, settings.per_device_train_batch_size, seed, epoch)
        for start in range(0, len(batches), size):
            if made == total_steps:
                return
            stop = min(start + size, len(batches))
            chosen = tuple(tuple(batch) for batch in batches[start:stop])
            yield Window(epoch, chosen, stop == len(batches), epoch + stop / len(batches))
            made += 1
        epoch += 1


def learning_rate(settings: TrainSettings, step: int, total_steps: int) -> float:
    """Learning rate of optimizer step ``step`` (counted from 1) of ``total_steps``.

    It rises linearly over the warm-up (the first step already learns), peaks, and falls so that a step after
    the last one would have 0 (linear, cosine), or stays (constant).
    """
    warmup = round(settings.warmup_ratio * total_steps)
    if step <= warmup:
        return settings.learning_rate * step / (warmup + 1)
    progress = (step - 1 - warmup) / max(1, total_steps - warmup)
    factor = {
        "constant": 1.0,
        "linear": 1.0 - progress,
        "cosine": 0.5 * (1.0 + math.cos(math.pi * progress)),
    }[settings.lr_scheduler_type]
    return settings.learning_rate * factor
