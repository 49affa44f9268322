"""Job: put one prompt to some checkpoints, and write down what they say while they say it."""

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from app.config import get_settings
from app.db import session_scope
from app.domain.errors import BadInputError, NotFoundError
from app.models import BaseModel, Trial
from app.services import trials
from training.checkpoint import verify_checkpoint
from training.decoder import Row
from training.errors import Cancelled, PromptError
from training.generate import LocalEngine, Request
from training.sampling import Sampling
from training.text_stream import TextStream
from worker.base_model import verified_folder
from worker.claim import Claim

_WRITE_SECONDS = 0.4


def run(claim: Claim, should_stop: Callable[[], bool]) -> None:
    """Answer with every checkpoint of the trial, all in one batch.

    Raises:
        NotFoundError: the trial has been forgotten.
        UnavailableError, ConflictError: the base model is gone or is another than the one that was registered.
        AdapterError: an adapter's folder holds other weights than the checkpoint that was chosen.
        BadInputError: the prompt does not fit the model.
        Cancelled: somebody asked to stop; what was said so far is kept.
    """
    with session_scope() as session:
        trial = _found(session.get(Trial, claim.subject_id))
        base = session.get_one(BaseModel, trial.base_model_id)
        claim.progress(session, done=0, total=0, message="Loading the base model")
    folders = {member["fingerprint"]: Path(member["folder"]) for member in trial.members if member["folder"]}
    for fingerprint, folder in folders.items():
        verify_checkpoint(folder, fingerprint)
    engine = LocalEngine(verified_folder(base), folders, device=get_settings().device)
    speakers = [_Speaker(engine, trial, member) for member in trial.members]
    _decode(claim, engine, speakers, should_stop)


def _found(trial: Trial | None) -> Trial:
    if trial is None:
        raise NotFoundError("This trial has been forgotten: newer ones took its place.")
    return trial


class _Speaker:
    """One checkpoint that responds."""

    def __init__(self, engine: LocalEngine, trial: Trial, member: dict[str, Any]) -> None:
        settings = dict(trial.sampling)
        seed = settings.pop("seed")
        adapter = member["fingerprint"] if member["folder"] else None
        messages = ({"role": "user", "content": trial.prompt},)
        try:
            self.row: Row = engine.row(Request("trial", adapter, messages, seed), Sampling(**settings))
        except PromptError as error:
            raise BadInputError(
                f"This prompt cannot be put to the model: {error.reason}. Nothing was generated."
            ) from error
        self._stream = TextStream(engine.text_of)
        self._text = ""

    def said(self) -> dict[str, Any]:
        """The text so far, without letters that are not whole yet."""
        self._text += self._stream.push(self.row.tokens, last=bool(self.row.finish_reason))
        return {"text": self._text, "tokens": len(self.row.tokens), "finish_reason": self.row.finish_reason}


def _decode(claim: Claim, engine: LocalEngine, speakers: Sequence[_Speaker], should_stop: Callable[[], bool]) -> None:
    decoder = engine.decoder(len(speakers))
    written_at = time.monotonic()
    for speaker in speakers:
        decoder.start(speaker.row)
    try:
        while decoder.live:
            if should_stop():
                raise Cancelled("the trial was stopped; what was said so far is kept")
            decoder.step()
            if time.monotonic() - written_at > _WRITE_SECONDS:
                _write(claim, speakers)
                written_at = time.monotonic()
    finally:
        _write(claim, speakers)


def _write(claim: Claim, speakers: Sequence[_Speaker]) -> None:
    texts = [speaker.said() for speaker in speakers]
    done = sum(bool(text["finish_reason"]) for text in texts)
    with session_scope() as session:
        message = f"{sum(text['tokens'] for text in texts)} tokens"
        claim.progress(session, done=done, total=len(texts), message=message)
        trials.write(_found(session.get(Trial, claim.subject_id)), texts)
