"""Several datasets in one run: how often each row is seen in an epoch follows from the weight of its dataset.

Weight 2: every row twice an epoch. Weight 0.5: half of the rows, drawn anew each epoch. Weight 1.5: every row once and
half of them once more. What is drawn depends on (seed, epoch, place of the dataset in the mix)
alone, so a run that goes on sees what it would have seen.
"""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from training.data import Encoded, Row
from training.errors import RecipeError

Files = Path | Mapping[str, Path]
"""A file, or one for each dataset of a mix by its name."""


@dataclass(frozen=True, slots=True)
class Source:
    """A dataset of a run. ``name`` is empty where there is only one."""

    name: str
    weight: float
    encoded: Encoded

    @property
    def rows_per_epoch(self) -> int:
        """Rows that an epoch sees of it, those that it sees twice counted twice."""
        whole = int(self.weight)
        return whole * len(self.encoded.rows) + round((self.weight - whole) * len(self.encoded.rows))


@dataclass(frozen=True, slots=True)
class Mix:
    """What a run learns from."""

    sources: tuple[Source, ...]
    seed: int

    @property
    def rows_per_epoch(self) -> int:
        """The same number in every epoch."""
        return sum(source.rows_per_epoch for source in self.sources)

    @property
    def token_count(self) -> int:
        """Tokens in all rows, each counted once."""
        return sum(source.encoded.token_count for source in self.sources)

    @property
    def skipped_rows(self) -> int:
        """Rows that were longer than max_length."""
        return sum(len(source.encoded.skipped_lines) for source in self.sources)

    def rows_of(self, epoch: int) -> Sequence[Row]:
        """The rows of an epoch, counted from 0, dataset after dataset; batches are made of all of them together."""
        return [row for place, source in enumerate(self.sources) for row in self._drawn(source, place, epoch)]

    def first_rows(self, count: int) -> tuple[Row, ...]:
        """The first rows of each dataset in turn: of two datasets the first of each, then the second of each."""
        turns = itertools.zip_longest(*(source.encoded.rows for source in self.sources))
        return tuple(itertools.islice((row for turn in turns for row in turn if row is not None), count))

    def _drawn(self, source: Source, place: int, epoch: int) -> Sequence[Row]:
        rows = source.encoded.rows
        whole = int(source.weight) * len(rows)
        generator = torch.Generator().manual_seed((self.seed * 1_000_003 + epoch * 10_007 + place + 1) % 2**63)
        once_more = torch.randperm(len(rows), generator=generator)[: source.rows_per_epoch - whole]
        return [*rows * int(source.weight), *(rows[index] for index in sorted(once_more.tolist()))]


def weights_of(mix: Mapping[str, float], train: Files, validation: Files) -> list[tuple[str, float, Path, Path]]:
    """Name, weight, training and validation file of each dataset of a run, in the order of the mix.

    Args:
        mix: the recipe's weights; empty for a run on one dataset, whose name is then "".
        train: what to learn from, one file for each name of the mix.
        validation: what to measure the loss on, likewise.

    Raises:
        RecipeError: the files are not those of the mix.
    """
    if not mix:
        if not isinstance(train, Path) or not isinstance(validation, Path):
            raise RecipeError("the recipe names one dataset, so it needs one training and one validation file")
        return [("", 1.0, train, validation)]
    found: list[tuple[str, float, Path, Path]] = []
    for name, weight in mix.items():
        if isinstance(train, Path) or isinstance(validation, Path) or name not in train or name not in validation:
            raise RecipeError(f"the recipe mixes {', '.join(mix)}: of {name} a training or validation file is missing")
        found.append((name, weight, train[name], validation[name]))
    return found


def require_rows(mix: Mix) -> None:
    """Refuse a mix with a dataset of which no row would be seen.

    Raises:
        RecipeError: names the dataset and its weight.
    """
    for source in mix.sources:
        if not source.rows_per_epoch:
            raise RecipeError(
                f"mix.{source.name} = {source.weight:g} is less than one of its {len(source.encoded.rows)} rows, so "
                "none would be seen: raise the weight or leave the dataset out"
            )
