"""Job: make a checkpoint ready to be taken elsewhere."""

import shutil
from collections.abc import Callable
from pathlib import Path

from app.config import get_settings
from app.db import session_scope
from app.domain.errors import NotFoundError
from app.models import BaseModel, Checkpoint
from app.services import packages
from training.errors import Cancelled
from training.packing import Wanted, pack
from worker.base_model import verified_folder
from worker.claim import Claim, utc_now


def run(claim: Claim, should_stop: Callable[[], bool]) -> None:
    """Write the package.

    Raises:
        NotFoundError: it was deleted, with its checkpoint or alone.
        UnavailableError, ConflictError: the base model is gone or is another than the one that was registered.
        AdapterError: the adapter's folder holds other weights than the checkpoint that was registered.
        PackError: it cannot be written in this form.
        Cancelled: somebody asked to stop. Nothing half-written remains.
    """
    with session_scope(write=False) as session:
        package = packages.find_package(session, claim.subject_id)
        checkpoint = session.get_one(Checkpoint, package.checkpoint_id)
        base = session.get_one(BaseModel, checkpoint.base_model_id)
    wanted = Wanted(
        kind=package.kind,
        base_folder=verified_folder(base),
        adapter_folder=Path(checkpoint.folder),
        fingerprint=checkpoint.fingerprint,
        name=checkpoint.name,
        card=package.card,
        number_format=package.number_format,
    )

    def step(done: int, total: int, message: str) -> None:
        if should_stop():
            raise Cancelled("packing was cancelled; nothing of it was kept")
        with session_scope() as session:
            claim.progress(session, done=done, total=total, message=message)

    target = get_settings().artifacts / "packages" / package.id.hex
    written = pack(wanted, target, device=get_settings().device, step=step)
    try:
        with session_scope() as session:
            claim.hold(session)
            packages.packed(
                session,
                packages.find_package(session, package.id),
                folder=target,
                size_bytes=written.size_bytes,
                off=written.off,
                now=utc_now(),
            )
    except NotFoundError:  # deleted in the meantime
        shutil.rmtree(target, ignore_errors=True)
        raise
