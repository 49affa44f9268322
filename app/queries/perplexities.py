"""Perplexities of checkpoints on files of datasets, each beside that of its base."""

import uuid
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session, aliased

from app.domain.errors import NotFoundError
from app.domain.perplexity import PairedLoss, compared, exp
from app.domain.terms import CheckpointKind, Split
from app.models import Checkpoint, Dataset, Perplexity
from app.queries.datasets import DatasetRow, dataset_rows
from app.queries.jobs import JobView, job_views


@dataclass(frozen=True)
class PerplexityRow:
    """One measurement, or one that was asked for: then ``perplexity`` is ``None`` and ``job`` says how far it is."""

    id: uuid.UUID
    checkpoint_id: uuid.UUID
    checkpoint: str
    is_base: bool
    dataset_id: uuid.UUID
    dataset: str
    split: Split
    max_length: int
    perplexity: float | None
    mean_loss: float | None
    """Nats per learned token."""
    base_perplexity: float | None
    paired: PairedLoss | None
    tokens: int
    rows: int
    skipped_rows: int
    device: str
    dtype: str
    measured_at: datetime | None
    job: JobView | None

    @property
    def file(self) -> str:
        """Which file of the dataset."""
        return "validation" if self.split is Split.VALIDATION else "training"

    @property
    def sentence(self) -> str:
        """Who is lower, and how sure that is; empty for a base and while it is not known."""
        if self.is_base or self.perplexity is None or self.base_perplexity is None:
            return ""
        return compared(self.perplexity, self.base_perplexity, self.paired)


@dataclass(frozen=True)
class Measurements:
    """What was measured of one checkpoint or on one dataset."""

    id: uuid.UUID
    name: str
    rows: tuple[PerplexityRow, ...]
    datasets: tuple[DatasetRow, ...]
    """On which a checkpoint can be measured; none where its weights are not here."""


def of_checkpoint(session: Session, checkpoint_id: uuid.UUID) -> Measurements:
    """All of one checkpoint, or of another with the same content on the same base; newest first.

    Raises:
        NotFoundError: no checkpoint has this id.
    """
    one = session.get(Checkpoint, checkpoint_id)
    if one is None:
        raise NotFoundError("There is no such checkpoint. The list of checkpoints shows what exists.")
    able = one.kind in (CheckpointKind.BASE, CheckpointKind.ADAPTER)
    same = (Perplexity.fingerprint == one.fingerprint, Checkpoint.base_model_id == one.base_model_id)
    return Measurements(one.id, one.name, _rows(session, *same), dataset_rows(session) if able else ())


def of_dataset(session: Session, dataset_id: uuid.UUID) -> Measurements:
    """All on one of the two files of a dataset, the lowest first; what is not measured yet comes last.

    Raises:
        NotFoundError: no dataset has this id.
    """
    one = session.get(Dataset, dataset_id)
    if one is None:
        raise NotFoundError("There is no such dataset. The list of datasets shows what exists.")
    rows = _rows(session, Perplexity.file_sha256.in_((one.sha256, one.validation_sha256)))
    ordered = sorted(rows, key=lambda row: (row.split, row.mean_loss is None, row.mean_loss or 0.0))
    return Measurements(one.id, f"{one.name} v{one.version}", tuple(ordered), ())


def measurements(session: Session, ids: tuple[uuid.UUID, ...]) -> tuple[PerplexityRow, ...]:
    """These, in this order."""
    found = {row.id: row for row in _rows(session, Perplexity.id.in_(ids))}
    return tuple(found[id_] for id_ in ids if id_ in found)


def _rows(session: Session, *conditions: Any) -> tuple[PerplexityRow, ...]:
    base = aliased(Perplexity)
    query = (
        select(Perplexity, Checkpoint.name, Checkpoint.kind, Dataset.name, Dataset.version, base.mean_loss)
        .join(Checkpoint, Checkpoint.id == Perplexity.checkpoint_id)
        .join(Dataset, Dataset.id == Perplexity.dataset_id)
        .join(
            base,
            (base.fingerprint == Perplexity.base_fingerprint)
            & (base.base_fingerprint == Perplexity.base_fingerprint)
            & (base.file_sha256 == Perplexity.file_sha256)
            & (base.max_length == Perplexity.max_length),
            isouter=True,
        )
        .where(*conditions)
        .order_by(Perplexity.created_at.desc(), Checkpoint.name)
    )
    found = session.execute(query).all()
    jobs = job_views(session, [row.job_id for row, *_ in found])
    return tuple(
        PerplexityRow(
            id=row.id,
            checkpoint_id=row.checkpoint_id,
            checkpoint=checkpoint,
            is_base=kind is CheckpointKind.BASE,
            dataset_id=row.dataset_id,
            dataset=f"{dataset} v{version}",
            split=row.split,
            max_length=row.max_length,
            perplexity=None if row.mean_loss is None else exp(row.mean_loss),
            mean_loss=row.mean_loss,
            base_perplexity=None if base_loss is None else exp(base_loss),
            paired=_paired(row),
            tokens=row.tokens or 0,
            rows=row.rows or 0,
            skipped_rows=row.skipped_rows or 0,
            device=row.device,
            dtype=row.dtype,
            measured_at=row.measured_at,
            job=jobs.get(row.job_id) if row.job_id else None,
        )
        for row, checkpoint, kind, dataset, version, base_loss in found
    )


def _paired(row: Perplexity) -> PairedLoss | None:
    if row.difference is None or row.difference_low is None or row.difference_high is None:
        return None
    return PairedLoss(row.difference, row.difference_low, row.difference_high, row.rows or 0)
