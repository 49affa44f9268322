"""Datasets, as pages and the command line show them."""

import json
import uuid
from dataclasses import dataclass
from datetime import datetime
from itertools import islice
from pathlib import Path
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from app.domain.errors import NotFoundError
from app.models import Dataset, Run
from app.queries.suites import Message

PREVIEW_ROWS = 12


@dataclass(frozen=True)
class DatasetRow:
    """One version of a dataset."""

    id: uuid.UUID
    name: str
    version: int
    rows: int
    validation_rows: int
    sha256: str
    source: str
    runs: int
    created_at: datetime


@dataclass(frozen=True)
class DatasetsPage:
    """All datasets, by name, newest version first."""

    rows: tuple[DatasetRow, ...]


@dataclass(frozen=True)
class PreviewRow:
    """One training row as a conversation. ``line`` counts from 1."""

    line: int
    category: str
    messages: tuple[Message, ...]


@dataclass(frozen=True)
class DatasetPage:
    """A dataset with its first rows and the runs that learned from it, by id and name."""

    dataset: DatasetRow
    preview: tuple[PreviewRow, ...]
    runs: tuple[tuple[uuid.UUID, str], ...]
    missing: bool
    """The frozen file is gone from the artifact folder."""


def dataset_rows(session: Session) -> tuple[DatasetRow, ...]:
    """All datasets in one query."""
    query = (
        select(Dataset, func.count(Run.id))
        .join(Run, Run.dataset_id == Dataset.id, isouter=True)
        .group_by(Dataset.id)
        .order_by(Dataset.name, Dataset.version.desc())
    )
    return tuple(_row(dataset, runs) for dataset, runs in session.execute(query))


def _row(dataset: Dataset, runs: int) -> DatasetRow:
    return DatasetRow(
        id=dataset.id,
        name=dataset.name,
        version=dataset.version,
        rows=dataset.rows,
        validation_rows=dataset.validation_rows,
        sha256=dataset.sha256,
        source=dataset.source,
        runs=runs,
        created_at=dataset.created_at,
    )


def datasets_page(session: Session) -> DatasetsPage:
    """The list of datasets."""
    return DatasetsPage(dataset_rows(session))


def dataset_page(session: Session, dataset_id: uuid.UUID) -> DatasetPage:
    """One dataset with a preview.

    Raises:
        NotFoundError: no dataset has this id.
    """
    dataset = session.get(Dataset, dataset_id)
    if dataset is None:
        raise NotFoundError("There is no such dataset. The list of datasets shows what exists.")
    runs = session.execute(select(Run.id, Run.name).where(Run.dataset_id == dataset_id).order_by(Run.created_at))
    found = tuple((run.id, run.name) for run in runs)
    path = Path(dataset.path)
    return DatasetPage(
        dataset=_row(dataset, len(found)),
        preview=_preview(path) if path.exists() else (),
        runs=found,
        missing=not path.exists(),
    )


def _preview(path: Path) -> tuple[PreviewRow, ...]:
    with path.open(encoding="utf-8") as lines:
        numbered = ((number, json.loads(line)) for number, line in enumerate(lines, 1) if line.strip())
        return tuple(
            PreviewRow(number, str(row.get("category", "")), _as_messages(row))
            for number, row in islice(numbered, PREVIEW_ROWS)
        )


def _as_messages(row: dict[str, Any]) -> tuple[Message, ...]:
    """Any of the accepted row shapes as a conversation."""
    if "messages" in row:
        return tuple(Message(m["role"], m["content"]) for m in row["messages"])
    if "prompt" in row:
        return (Message("user", row["prompt"]), Message("assistant", row["completion"]))
    if "instruction" in row:
        asked = "\n\n".join(part for part in (row["instruction"], row.get("input", "")) if part)
        return (Message("user", asked), Message("assistant", row["output"]))
    return (Message("assistant", row["text"]),)
