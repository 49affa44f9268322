"""Packages: a checkpoint in the form that another program reads, asked for here and written by a worker."""

import uuid
from datetime import datetime
from pathlib import Path

from sqlalchemy import select
from sqlalchemy.orm import Session

from app import jobs
from app.domain.errors import ConflictError, NotFoundError
from app.domain.terms import BaseModelState, CheckpointKind, JobKind, NumberFormat, PackageKind
from app.models import BaseModel, Checkpoint, Package
from app.services.events import announce

_WORDS = {
    PackageKind.ADAPTER: "as an adapter",
    PackageKind.MERGED: "merged into its base",
    PackageKind.GGUF: "as a GGUF adapter",
}


def ask_for_package(
    session: Session,
    checkpoint: Checkpoint,
    kind: PackageKind,
    *,
    card: str,
    now: datetime,
    number_format: NumberFormat = NumberFormat.FLOAT32,
) -> Package:
    """The package of this checkpoint in this form: the one that is there, or one that a worker now makes.

    Raises:
        ConflictError: it is no adapter with weights, or its base model is not on this machine.
    """
    if checkpoint.kind is not CheckpointKind.ADAPTER or not checkpoint.folder:
        raise ConflictError(f"{checkpoint.name} has no adapter of its own that could be taken elsewhere.")
    base = session.get_one(BaseModel, checkpoint.base_model_id)
    if base.state is not BaseModelState.READY:
        raise ConflictError(f"The base model {base.name} is not on this machine, and packing needs it. Add it first.")
    if kind is not PackageKind.MERGED:
        number_format = NumberFormat.FLOAT32  # nothing is rounded, so there is one of each
    package = session.scalar(
        select(Package).where(
            Package.checkpoint_id == checkpoint.id, Package.kind == kind, Package.number_format == number_format
        )
    )
    if package is None:
        package = Package(
            checkpoint_id=checkpoint.id,
            kind=kind,
            number_format=number_format,
            card=card,
            off=None,
            job_id=None,
            created_at=now,
            ready_at=None,
        )
        session.add(package)
        session.flush()
    if package.ready_at is None or not Path(package.folder).is_dir():
        package.card, package.ready_at = card, None
        title = f"Pack {checkpoint.name} {_WORDS[kind]}"
        package.job_id = jobs.enqueue(session, JobKind.PACKAGE, package.id, title=title, now=now).id
        announce(session, "jobs", package.id, now=now)
    session.flush()
    return package


def find_package(session: Session, package_id: uuid.UUID) -> Package:
    """One package.

    Raises:
        NotFoundError: no package has this id.
    """
    package = session.get(Package, package_id)
    if package is None:
        raise NotFoundError("There is no such package. The page of the checkpoint lists what is there.")
    return package


def packed(
    session: Session, package: Package, *, folder: Path, size_bytes: int, off: float | None, now: datetime
) -> None:
    """A worker has written it."""
    package.folder, package.size_bytes, package.off, package.ready_at = str(folder), size_bytes, off, now
    announce(session, "jobs", package.id, now=now)
    session.flush()
