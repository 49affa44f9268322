"""What runs learn from: one dataset each, or several with their weights."""

import uuid
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from app.models import Dataset, Run, RunDataset


@dataclass(frozen=True)
class DataPart:
    """One dataset of a run; ``weight`` is how often an epoch sees each of its rows."""

    dataset: Dataset
    weight: float

    @property
    def label(self) -> str:
        """Name and version, with the weight where it is not 1: ``brie v2 x0.5``."""
        return f"{self.dataset.name} v{self.dataset.version}" + (f" x{self.weight:g}" if self.weight != 1 else "")


def data_of_runs(session: Session, run_ids: Iterable[uuid.UUID]) -> dict[uuid.UUID, tuple[DataPart, ...]]:
    """The datasets of each run in the order of its mix, in one query whatever the number of runs."""
    query = (
        select(Run.id, func.coalesce(RunDataset.weight, 1.0), Dataset)
        .join(RunDataset, RunDataset.run_id == Run.id, isouter=True)
        .join(Dataset, Dataset.id == func.coalesce(RunDataset.dataset_id, Run.dataset_id))
        .where(Run.id.in_(list(run_ids)))
        .order_by(Run.id, RunDataset.position)
    )
    found: dict[uuid.UUID, list[DataPart]] = {}
    for run_id, weight, dataset in session.execute(query):
        found.setdefault(run_id, []).append(DataPart(dataset, weight))
    return {run_id: tuple(parts) for run_id, parts in found.items()}


def data_of(session: Session, run_id: uuid.UUID) -> tuple[DataPart, ...]:
    """The datasets of one run; empty where there is no such run."""
    return data_of_runs(session, [run_id]).get(run_id, ())


def label_of(parts: Sequence[DataPart]) -> str:
    """All of them on one line."""
    return " + ".join(part.label for part in parts)


def learned_from(dataset_id: Any) -> Any:
    """Whether a run learned from a dataset, alone or in a mix, as a condition on ``Run``."""
    mixed = select(RunDataset.run_id).where(RunDataset.dataset_id == dataset_id, RunDataset.run_id == Run.id)
    return (Run.dataset_id == dataset_id) | mixed.exists()
