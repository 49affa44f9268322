"""Packages of a checkpoint, as its page shows them."""

import uuid
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import select
from sqlalchemy.orm import Session

from app.domain.errors import ConflictError, NotFoundError
from app.domain.terms import CheckpointKind, NumberFormat, PackageKind
from app.models import Checkpoint, Package
from app.queries.jobs import JobView, job_views


@dataclass(frozen=True)
class PackageRow:
    """One package; ``size_bytes`` and ``off`` mean something once it is ``ready``."""

    id: uuid.UUID
    kind: PackageKind
    number_format: NumberFormat
    ready: bool
    size_bytes: int
    off: float | None
    job: JobView | None


@dataclass(frozen=True)
class PackagesPart:
    """The packages of one checkpoint. ``possible``: it is an adapter, so there may be some."""

    checkpoint_id: uuid.UUID
    possible: bool
    rows: tuple[PackageRow, ...]


def packages_of(session: Session, checkpoint_id: uuid.UUID) -> PackagesPart:
    """What was packed of a checkpoint, or is being packed.

    Raises:
        NotFoundError: no checkpoint has this id.
    """
    checkpoint = session.get(Checkpoint, checkpoint_id)
    if checkpoint is None:
        raise NotFoundError("There is no such checkpoint. The list of checkpoints shows what exists.")
    order = (Package.created_at, Package.id)
    found = session.scalars(select(Package).where(Package.checkpoint_id == checkpoint_id).order_by(*order)).all()
    jobs = job_views(session, (package.job_id for package in found))
    rows = tuple(
        PackageRow(
            id=package.id,
            kind=package.kind,
            number_format=package.number_format,
            ready=package.ready_at is not None,
            size_bytes=package.size_bytes,
            off=package.off,
            job=jobs.get(package.job_id) if package.job_id else None,
        )
        for package in found
    )
    possible = checkpoint.kind is CheckpointKind.ADAPTER and bool(checkpoint.folder)
    return PackagesPart(checkpoint_id, possible, rows)


def package_folder(session: Session, package_id: uuid.UUID) -> tuple[Path, str]:
    """Where a package lies, and what it is called as a file, without an ending.

    Raises:
        NotFoundError: no package has this id.
        ConflictError: it is not ready, or its folder is gone.
    """
    package = session.get(Package, package_id)
    if package is None:
        raise NotFoundError("There is no such package. The page of the checkpoint lists what is there.")
    name = session.get_one(Checkpoint, package.checkpoint_id).name
    if package.ready_at is None:
        raise ConflictError(f"This package of {name} is not ready yet. Its page says how far it is.")
    folder = Path(package.folder)
    if not folder.is_dir():
        raise ConflictError(f"The folder of this package of {name} is gone. Delete the package and make it again.")
    form = f"-{package.number_format}" if package.kind is PackageKind.MERGED else ""
    return folder, f"{name.replace('/', '-')}-{package.kind}{form}"
