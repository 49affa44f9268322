"""Datasets, as pages and the command line show them."""

import json
import uuid
from collections import Counter
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from app.domain.errors import NotFoundError
from app.domain.terms import Split
from app.models import Dataset, Run
from app.queries.paging import FIRST_PAGE, Wanted, Window, find
from app.queries.run_data import learned_from
from app.queries.suites import Message

PREVIEW_ROWS = 12
"""Rows on one page of the preview."""


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
    """A page of the datasets, by name, newest version first."""

    rows: tuple[DatasetRow, ...]
    window: Window


@dataclass(frozen=True)
class PreviewRow:
    """One training row as a conversation. ``line`` counts from 1."""

    line: int
    category: str
    messages: tuple[Message, ...]


@dataclass(frozen=True)
class Preview:
    """One page of the rows of a file that were asked for."""

    part: Split
    category: str
    categories: tuple[tuple[str, int], ...]
    """Of all rows of the file, with how many rows each has."""
    window: Window
    rows: tuple[PreviewRow, ...]


@dataclass(frozen=True)
class DatasetPage:
    """A dataset with some of its rows and the runs that learned from it, by id and name."""

    dataset: DatasetRow
    preview: Preview | None
    """``None``: the frozen file is gone from the artifact folder."""
    runs: tuple[tuple[uuid.UUID, str], ...]


_BY_NAME = (Dataset.name, Dataset.version.desc())


def dataset_rows(session: Session, *conditions: Any) -> tuple[DatasetRow, ...]:
    """Datasets by name, newest version first, in one query."""
    query = (
        select(Dataset, func.count(Run.id))
        .join(Run, learned_from(Dataset.id), isouter=True)
        .where(*conditions)
        .group_by(Dataset.id)
        .order_by(*_BY_NAME)
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


def datasets_page(session: Session, wanted: Wanted = FIRST_PAGE) -> DatasetsPage:
    """The list of datasets."""
    ids, window = find(session, wanted, Dataset, _BY_NAME, Dataset.name)
    return DatasetsPage(dataset_rows(session, Dataset.id.in_(ids)), window)


def dataset_page(
    session: Session,
    dataset_id: uuid.UUID,
    *,
    part: Split = Split.TRAIN,
    text: str = "",
    category: str = "",
    page: int = 1,
) -> DatasetPage:
    """One dataset with a page of its rows. A page beyond the last one is the last one.

    Raises:
        NotFoundError: no dataset has this id.
    """
    dataset = session.get(Dataset, dataset_id)
    if dataset is None:
        raise NotFoundError("There is no such dataset. The list of datasets shows what exists.")
    runs = session.execute(select(Run.id, Run.name).where(learned_from(dataset_id)).order_by(Run.created_at))
    found = tuple((run.id, run.name) for run in runs)
    path = Path(dataset.path if part is Split.TRAIN else dataset.validation_path)
    preview = _preview(path, part, text, category, page) if path.exists() else None
    return DatasetPage(dataset=_row(dataset, len(found)), preview=preview, runs=found)


def _preview(path: Path, part: Split, text: str, category: str, page: int) -> Preview:
    """Read the file once, line by line; of what matches, only the wanted page is kept.

    Which page is the last one is known at the end, so the newest full page and the wanted one are remembered.
    """
    categories: Counter[str] = Counter()
    matching = 0
    wanted: list[PreviewRow] = []
    last: list[PreviewRow] = []
    with path.open(encoding="utf-8") as lines:
        for number, line in enumerate(lines, 1):
            if not line.strip():
                continue
            row = json.loads(line)
            of = str(row.get("category", ""))
            categories[of] += 1
            if category and of != category:
                continue
            messages = _as_messages(row)
            if text and not any(text.casefold() in message.content.casefold() for message in messages):
                continue
            if matching % PREVIEW_ROWS == 0:
                last = []
            last.append(PreviewRow(number, of, messages))
            if matching // PREVIEW_ROWS == page - 1:
                wanted = last
            matching += 1
    window = Window.over(Wanted(text, page), matching, categories.total(), PREVIEW_ROWS)
    counted = tuple(sorted((name, rows) for name, rows in categories.items() if name))
    return Preview(part, category, counted, window, tuple(wanted or last))


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
