"""Job: measure the loss of checkpoints on one file of a dataset, all of them on one base in memory."""

import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from app.config import get_settings
from app.db import session_scope
from app.domain.terms import CheckpointKind, Split
from app.models import BaseModel, Checkpoint, Dataset, Perplexity
from app.services import perplexities
from app.services.perplexities import Measured, MeasuredRow
from training.checkpoint import verify_checkpoint
from training.measure import LossMeter
from worker.base_model import verified_folder
from worker.claim import Claim, utc_now
from worker.data_files import called_by, names_of, verified_file

_AT_ONCE = 8
"""Adapters on one base in memory."""
_TELL_SECONDS = 1.0


@dataclass(frozen=True)
class _Member:
    """One measurement. ``folder`` is ``None`` for the bare base."""

    id: uuid.UUID
    name: str
    fingerprint: str
    folder: Path | None


@dataclass(frozen=True)
class _Work:
    members: list[_Member]
    base: BaseModel
    dataset: Dataset
    split: Split
    max_length: int


def run(claim: Claim, should_stop: Callable[[], bool]) -> None:
    """Measure what is missing; each figure is stored as soon as it is known.

    Raises:
        ConflictError: the file, the base or an adapter is another than when it was registered, or a loss is infinite.
        UnavailableError: the base model is not on this machine.
        TrainingError: weights that cannot be read; names them.
        BadInputError: a row that cannot be read, or none that is short enough; names the dataset and the line.
        Cancelled: somebody asked to stop; what was measured is kept.
    """
    work = _prepare(claim)
    if work is None:
        return
    file = verified_file(work.dataset, work.split)
    base_folder = verified_folder(work.base)
    for member in work.members:
        if member.folder is not None:
            verify_checkpoint(member.folder, member.fingerprint)
    teller = _Teller(claim)
    for start in range(0, len(work.members), _AT_ONCE):
        members = work.members[start : start + _AT_ONCE]
        folders = {member.fingerprint: member.folder for member in members if member.folder is not None}
        meter = LossMeter(base_folder, folders, device=get_settings().device)
        with called_by(names_of([work.dataset])):
            encoded = meter.read(file, work.max_length)
        teller.total = len(encoded.rows) * len(work.members)
        for place, member in enumerate(members, start):
            teller.begin(member.name, place * len(encoded.rows))
            rows = meter.measure(
                None if member.folder is None else member.fingerprint,
                encoded.rows,
                should_stop=should_stop,
                on_row=teller.at,
            )
            measured = Measured(
                rows=[MeasuredRow(row.line, row.tokens, row.total) for row in rows],
                skipped=len(encoded.skipped_lines),
                device=meter.device,
                dtype=meter.dtype,
            )
            with session_scope() as session:
                claim.hold(session)
                perplexities.store(session, member.id, measured, now=utc_now())


def _prepare(claim: Claim) -> _Work | None:
    """What is to be measured; nothing where all of it was, or where the checkpoints were deleted meanwhile."""
    with session_scope() as session:
        wanted = perplexities.to_measure(session, claim.job_id)
        if not wanted:
            return None
        claim.progress(session, done=0, total=0, message="Loading the base model")
        checkpoints = {row.id: session.get_one(Checkpoint, row.checkpoint_id) for row in wanted}
        base_id = next(iter(checkpoints.values())).base_model_id
        return _Work(
            members=[_member(row, checkpoints[row.id]) for row in wanted],
            base=session.get_one(BaseModel, base_id),
            dataset=session.get_one(Dataset, wanted[0].dataset_id),
            split=wanted[0].split,
            max_length=wanted[0].max_length,
        )


def _member(row: Perplexity, checkpoint: Checkpoint) -> _Member:
    folder = Path(checkpoint.folder) if checkpoint.kind is CheckpointKind.ADAPTER else None
    return _Member(row.id, checkpoint.name, row.fingerprint, folder)


class _Teller:
    """Says how far the job is, at most once a second."""

    def __init__(self, claim: Claim) -> None:
        self._claim = claim
        self.total = 0
        self._name, self._before = "", 0
        self._begun_at = time.monotonic()
        self._told_at = 0.0

    def begin(self, name: str, before: int) -> None:
        """The next checkpoint; ``before``: rows of the others that are done."""
        self._name, self._before, self._told_at = name, before, 0.0
        self.at(0)

    def at(self, row: int) -> None:
        """So many rows of this one are done."""
        now = time.monotonic()
        if now - self._told_at < _TELL_SECONDS:
            return
        self._told_at, done = now, self._before + row
        eta = (now - self._begun_at) / done * (self.total - done) if done else None
        with session_scope() as session:
            self._claim.progress(
                session, done=done, total=self.total, message=f"Measuring {self._name}", eta_seconds=eta
            )
