"""Job: bring the weights of a base model to this machine."""

import time
from collections.abc import Callable

from app.config import get_settings
from app.db import session_scope
from app.domain.errors import ArenaError
from app.models import BaseModel
from app.services.base_models import Fetched, mark_failed, mark_ready
from training.errors import Cancelled, TrainingError
from training.fetch import fetch_base
from worker.claim import Claim, utc_now

_REPORT_SECONDS = 0.5


def run(claim: Claim, should_stop: Callable[[], bool]) -> None:
    """Fetch, hash and register; a failure is also kept with the base model."""
    with session_scope(write=False) as session:
        model = session.get_one(BaseModel, claim.subject_id)
        name, source, location = model.name, model.source, model.location
    folder = get_settings().artifacts / "base_models"
    try:
        fetched = fetch_base(source, location, folder / name, _reporter(claim, should_stop))
        with session_scope() as session:
            claim.hold(session)
            mark_ready(
                session,
                session.get_one(BaseModel, claim.subject_id),
                Fetched(
                    name=fetched.name,
                    folder=str(fetched.folder),
                    revision=fetched.revision,
                    weights_hash=fetched.hashes.weights,
                    tokenizer_hash=fetched.hashes.tokenizer,
                    template_hash=fetched.hashes.chat_template,
                    parameters=fetched.parameters,
                ),
                now=utc_now(),
            )
    except (ArenaError, TrainingError) as failure:
        if not isinstance(failure, Cancelled):
            with session_scope() as session:
                claim.hold(session)
                mark_failed(session.get_one(BaseModel, claim.subject_id), failure.message)
        raise


def _reporter(claim: Claim, should_stop: Callable[[], bool]) -> Callable[[str, int, int], None]:
    last = ("", 0.0)

    def report(phase: str, done: int, total: int) -> None:
        nonlocal last
        if should_stop():
            raise Cancelled("Fetching the base model was cancelled.")
        if phase == last[0] and time.monotonic() - last[1] < _REPORT_SECONDS:
            return
        last = (phase, time.monotonic())
        with session_scope() as session:
            claim.progress(session, done=done, total=total, message=phase)

    return report
