"""Job: train a run, storing every loss and checkpoint as it comes."""

import math
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

from sqlalchemy.orm import Session

from app.config import get_settings
from app.db import session_scope
from app.domain.errors import DatabaseAwayError
from app.domain.terms import Keep, Split
from app.models import BaseModel, Run
from app.queries.run_data import DataPart, data_of
from app.services import removal, runs
from app.services.checkpoints import SavedAdapter, mark_last, register_adapter
from app.services.runs import Metric
from training import events, resume, sft
from training.config import Recipe, recipe_from_dict
from training.errors import Cancelled, ResumeError
from training.mixing import Files
from training.reports import reporting
from worker.base_model import verified_folder
from worker.claim import Claim, utc_now
from worker.data_files import called_by, names_of, verified_file
from worker.run_lines import RunLines

ANEW = (
    "this run was broken off and could not go on where it was: the base model, the device or the software is another "
    "now, or what was kept of it is broken; it was trained from the start"
)
_FLUSH_SECONDS = 1.0
"""Losses are stored this often: a transaction for each step of a tiny model would cost more than the step."""


def run(claim: Claim, should_stop: Callable[[], bool]) -> None:
    """Train the run of this job, from its start or from where an earlier attempt was broken off.

    Losses behind that place are replaced; checkpoint folders of earlier attempts stay, results may depend on them.
    """
    with session_scope(write=False) as session:
        stored = session.get_one(Run, claim.subject_id)
        data = data_of(session, stored.id)
        base = session.get_one(BaseModel, stored.base_model_id)
        recipe = recipe_from_dict(stored.recipe, f"run {stored.name}")
    base_folder = verified_folder(base)
    train_files, validation_files = (_files(recipe, data, split) for split in (Split.TRAIN, Split.VALIDATION))
    names = names_of(part.dataset for part in data)
    recorder = _Recorder(claim)
    settings = get_settings()
    attempts = settings.artifacts / "runs" / stored.name
    out = attempts / f"attempt-{claim.attempt}"
    earlier = [folder for folder in attempts.glob("attempt-*") if folder != out]

    def train(on_event: Callable[[events.Event], None]) -> None:
        sft.train(
            recipe,
            base_folder,
            train_files,
            validation_files,
            out,
            run_name=stored.name,
            file_names=names,
            device=settings.device,
            on_event=on_event,
            should_stop=should_stop,
        )

    resume.carry(earlier, out)
    try:
        # In the folder of the run, not of the attempt: a run that goes on continues its curves.
        with reporting(recipe.train.report_to, attempts, stored.name, recipe, recorder) as told, called_by(names):
            try:
                train(told)
            except ResumeError:
                resume.forget(out)
                told(events.Warned(ANEW))
                train(told)
    except Cancelled:
        recorder.mark_last()
        raise
    for folder in earlier:
        resume.forget(folder)
    recorder.flush()
    if recipe.train.keep != "all":
        _keep_only(claim, Keep(recipe.train.keep), settings.artifacts)


def _keep_only(claim: Claim, keep: Keep, artifacts: Path) -> None:
    """Remove the checkpoints that the recipe does not keep, but for those that a result depends on; the run says so."""
    with session_scope() as session:
        run = session.get_one(Run, claim.subject_id)
        done = removal.keep_only(session, run, artifacts=artifacts, now=utc_now(), keep=keep)
        if done.removed:
            names = ", ".join(done.removed)
            runs.note(run, f"as the recipe keeps the {keep.value} checkpoint only, {names} went when the run was done")


def _files(recipe: Recipe, data: Sequence[DataPart], split: Split) -> Files:
    """The file of the dataset, or those of a mix by the names that the recipe has for its datasets."""
    files = {f"{part.dataset.name}@{part.dataset.version}": verified_file(part.dataset, split) for part in data}
    return files if recipe.mix else next(iter(files.values()))


class _Recorder:
    """Turns training events into rows, a few steps at a time."""

    def __init__(self, claim: Claim) -> None:
        self._claim = claim
        self._waiting: list[Metric] = []
        self._early_warnings: list[str] | None = []
        self._step = 0
        self._total = 0
        self._eta: float | None = None
        self._peak = 0
        self._tokens = 0
        self._lines = RunLines()
        self._lines.add(f"attempt {claim.attempt}", utc_now())
        self._flushed_at = 0.0

    def __call__(self, event: events.Event) -> None:
        self._lines.hear(event, utc_now())
        match event:
            case events.Started():
                self._total, self._step = event.total_steps, event.resumed_step
                self._store(lambda session, run: self._begin(session, run, event))
            case events.Previewed():
                self._store(
                    lambda _session, run: runs.show(run, [(row.line, row.pieces, row.source) for row in event.rows])
                )
            case events.StepDone():
                self._step, self._eta = event.step, event.eta_seconds
                self._peak = max(self._peak, event.memory_bytes)
                self._tokens = event.tokens
                self._waiting.append(
                    Metric(
                        Split.TRAIN,
                        event.step,
                        event.epoch,
                        event.loss,
                        event.learning_rate,
                        event.tokens_per_second,
                        event.tokens,
                        event.memory_bytes,
                    )
                )
                if time.monotonic() - self._flushed_at > _FLUSH_SECONDS:
                    with suppress(DatabaseAwayError):  # what waits is stored with the next step
                        self.flush()
            case events.Keeping():
                with suppress(DatabaseAwayError):
                    self.flush()
            case events.Evaluated():
                self._waiting.append(Metric(Split.VALIDATION, event.step, event.epoch, event.loss, tokens=self._tokens))
                self.flush()
            case events.CheckpointSaved():
                saved = SavedAdapter(
                    label=event.name,
                    folder=str(event.folder),
                    fingerprint=event.fingerprint,
                    step=event.step,
                    epoch=event.epoch,
                    is_last=event.is_last,
                    size_bytes=event.size_bytes,
                    validation_loss=event.validation_loss,
                    effect=_finite(asdict(event.effect)),
                )
                self._store(lambda session, run: register_adapter(session, run, saved, now=utc_now()))
            case events.Warned() if self._early_warnings is not None:
                self._early_warnings.append(event.message)  # a run that begins drops the notes it had before
            case events.Warned():
                self._store(lambda _session, run: runs.note(run, event.message))

    def mark_last(self) -> None:
        """The training ended early: its newest checkpoint is the last there will be."""
        self._store(mark_last)

    def flush(self) -> None:
        """Store what has come in since the last time."""
        self._store(lambda _session, _run: None)

    def _begin(self, session: Session, run: Run, event: events.Started) -> None:
        runs.begin(
            session,
            run,
            device=event.device,
            dtype=event.dtype,
            total_steps=event.total_steps,
            trainable_parameters=event.trainable_parameters,
            resumed_step=event.resumed_step,
        )
        for warning in self._early_warnings or ():
            runs.note(run, warning)
        self._early_warnings = None

    def _store(self, change: Callable[[Session, Run], object]) -> None:
        with session_scope() as session:
            self._claim.progress(
                session,
                done=self._step,
                total=self._total,
                message=f"Step {self._step} of {self._total}" if self._step else "Measuring the bare base",
                eta_seconds=self._eta,
            )
            run = session.get_one(Run, self._claim.subject_id)
            change(session, run)
            run.peak_memory_bytes = max(run.peak_memory_bytes, self._peak)
            self._lines.store(session, run)
            runs.record(session, run, self._waiting, now=utc_now())
        self._waiting = []
        self._lines.stored()
        self._flushed_at = time.monotonic()


def _finite(figures: dict[str, Any]) -> dict[str, Any]:
    """JSON has no NaN, and Postgres refuses it."""
    return {
        name: None if isinstance(value, float) and not math.isfinite(value) else value
        for name, value in figures.items()
    }
