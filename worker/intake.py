"""Job: check an uploaded checkpoint, step by step, and register our own copy of it, or say why not."""

import dataclasses
import shutil
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import select

from app.config import get_settings
from app.db import session_scope
from app.domain.errors import ArenaError
from app.domain.terms import BaseModelState, IntakeState
from app.models import BaseModel, Intake
from app.services import intake as intakes
from app.services.intake import TakenIn
from training.effect import measure_effect
from training.errors import Cancelled, IntakeError, TrainingError
from training.intake.bases import KnownBase, choose_base
from training.intake.take import Adapter, Stored, read_upload, store_copy
from training.intake.unpack import SentFile
from worker.base_model import verified_folder
from worker.claim import Claim, utc_now

_STEPS = ("Unpacking and reading", "Finding the base model", "Hashing the base model", "Measuring the effect")


@dataclass(frozen=True)
class _Work:
    intake_id: uuid.UUID
    sent: list[SentFile]
    folder: Path
    bases: list[BaseModel]
    chosen: bool


def run(claim: Claim, should_stop: Callable[[], bool]) -> None:
    """Unpack, read, match, copy, and measure the effect. A refusal is an answer, not a failure of the job.

    Raises:
        UnavailableError, ConflictError: the base model cannot be used.
        TrainingError: the check could not be made (a full disk, for example); the upload waits for another try.
        Cancelled: somebody asked to stop; the upload waits for another try.
    """
    work = _begin(claim)
    if work is None:
        return
    scratch = work.folder / "unpacked"
    target = get_settings().artifacts / "checkpoints" / work.intake_id.hex
    shutil.rmtree(scratch, ignore_errors=True)  # of an attempt that was killed
    shutil.rmtree(target, ignore_errors=True)
    try:
        kept = _take_in(claim, work, scratch, target, should_stop)
    except IntakeError as refusal:
        with session_scope() as session:
            claim.hold(session)
            intakes.refuse(session, intakes.find_intake(session, work.intake_id), refusal.message, now=utc_now())
            claim.progress(session, done=0, total=len(_STEPS), message=refusal.message)
        kept = False
    except (ArenaError, TrainingError):
        shutil.rmtree(scratch, ignore_errors=True)
        shutil.rmtree(target, ignore_errors=True)
        with session_scope() as session:
            claim.hold(session)
            intakes.put_back(session, intakes.find_intake(session, work.intake_id), now=utc_now())
        raise
    shutil.rmtree(work.folder, ignore_errors=True)
    if not kept:
        shutil.rmtree(target, ignore_errors=True)


def _begin(claim: Claim) -> _Work | None:
    with session_scope() as session:
        claim.hold(session)
        intake = intakes.find_intake(session, claim.subject_id)
        if intake.state in (IntakeState.READY, IntakeState.REFUSED):
            shutil.rmtree(intake.folder, ignore_errors=True)  # of an attempt that was killed right at its end
            return None
        intakes.begin(session, intake, now=utc_now())
        query = select(BaseModel).where(BaseModel.state == BaseModelState.READY).order_by(BaseModel.name)
        if intake.base_model_id is not None:
            query = select(BaseModel).where(BaseModel.id == intake.base_model_id)
        return _Work(
            intake_id=intake.id,
            sent=_sent_files(intake),
            folder=Path(intake.folder),
            bases=list(session.scalars(query)),
            chosen=intake.base_model_id is not None,
        )


def _sent_files(intake: Intake) -> list[SentFile]:
    return [SentFile(told["name"], Path(intake.folder) / str(number)) for number, told in enumerate(intake.files)]


def _take_in(claim: Claim, work: _Work, scratch: Path, target: Path, should_stop: Callable[[], bool]) -> bool:
    """Whether our copy in ``target`` is now a checkpoint; not where the same one was here already."""

    def step(number: int) -> None:
        if should_stop():
            raise Cancelled("the check was cancelled; the upload is kept and can be checked again")
        with session_scope() as session:
            claim.progress(session, done=number, total=len(_STEPS), message=_STEPS[number])

    step(0)
    adapter = read_upload(work.sent, scratch)
    step(1)
    known = {base.name: base for base in work.bases}
    candidates = [
        KnownBase(base.name, base.location, Path(base.folder), base.weights_hash) for base in work.bases if base.folder
    ]
    fitting, note = choose_base(adapter.told, adapter.updates, candidates, chosen=work.chosen)
    base = known[fitting.name]
    step(2)
    base_folder = verified_folder(base)
    stored = store_copy(adapter, base.name, target)
    step(3)
    effect = measure_effect(base_folder, stored.folder, device=get_settings().device)
    notes = _notes(adapter, note, effect.reason)
    with session_scope() as session:
        claim.hold(session)
        checkpoint = intakes.accept(
            session,
            intakes.find_intake(session, work.intake_id),
            _taken(base, stored, dataclasses.asdict(effect), notes),
            now=utc_now(),
        )
        claim.progress(session, done=len(_STEPS), total=len(_STEPS), message=f"Ready: {checkpoint.name}")
        return checkpoint.folder == str(stored.folder)


def _taken(base: BaseModel, stored: Stored, effect: dict[str, object], notes: tuple[str, ...]) -> TakenIn:
    return TakenIn(base.id, str(stored.folder), stored.fingerprint, stored.size_bytes, effect, notes)


def _notes(adapter: Adapter, base_note: str, without_effect: str) -> tuple[str, ...]:
    notes = []
    if adapter.from_mlx:
        notes.append("It came from mlx-lm and was converted: the same update in the layout that peft reads.")
    if base_note:
        notes.append(base_note)
    if without_effect:
        notes.append(f"It cannot enter an eval batch: {without_effect}.")
    return tuple(notes)
