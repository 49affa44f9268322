"""Runs, as pages and the command line show them."""

import re
import uuid
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Select, func, select
from sqlalchemy.orm import Session

from app.domain.errors import NotFoundError
from app.domain.recipe_changes import Difference, differences, flat, shown
from app.domain.recipes import RecipeRow
from app.domain.terms import JobState, RunKind, Split
from app.models import BaseModel, Run, RunMetric
from app.queries.checkpoints import CheckpointRow, checkpoints_of_run
from app.queries.datasets import DatasetRow, dataset_rows
from app.queries.jobs import JobView, job_views
from app.queries.paging import FIRST_PAGE, Wanted, Window, find
from app.queries.run_data import DataPart, data_of, data_of_runs, label_of


@dataclass(frozen=True)
class Point:
    """A loss (nats per trained token) at a step."""

    step: int
    loss: float


@dataclass(frozen=True)
class RunRow:
    """One run; ``first_loss`` is the bare base's validation loss, ``last_loss`` the newest."""

    id: uuid.UUID
    name: str
    kind: RunKind
    recipe: str
    dataset: str
    dataset_id: uuid.UUID
    base_model: str
    job: JobView | None
    first_loss: float | None
    last_loss: float | None
    created_at: datetime


@dataclass(frozen=True)
class RunsPage:
    """A page of the runs, newest first, and what the form "train an adapter" offers."""

    rows: tuple[RunRow, ...]
    window: Window
    recipes: tuple[RecipeRow, ...]
    datasets: tuple[DatasetRow, ...]
    base_models: tuple[str, ...]


@dataclass(frozen=True)
class PreviewRow:
    """A row of the training file as the model sees it: its line, and pieces of text with whether they are learned."""

    line: int
    pieces: tuple[tuple[str, bool], ...]
    source: str
    """The dataset of a mix that it is from."""


@dataclass(frozen=True)
class RunPage:
    """One run as it goes; its curves are asked for in ``app.queries.curves``."""

    run: RunRow
    sentence: str
    device: str
    dtype: str
    total_steps: int
    trainable_parameters: int
    peak_memory_bytes: int
    learning_rate: float | None
    tokens_per_second: float | None
    notes: tuple[str, ...]
    recipe: tuple[tuple[str, str], ...]
    """(key, value) by table; keys of a table carry its name: ``lora.r``."""
    validation: tuple[Point, ...]
    checkpoints: tuple[CheckpointRow, ...]
    data: tuple[DataPart, ...]
    preview: tuple[PreviewRow, ...]
    came_from: "Origin | None"
    siblings: tuple[uuid.UUID, ...]
    """Runs that were launched with it by one recipe with lists, itself left out."""


@dataclass(frozen=True)
class Origin:
    """The run whose recipe was changed, and what was: each with the value there and here, None where it is not set."""

    id: uuid.UUID
    name: str
    changes: tuple[Difference, ...]


_NEWEST_FIRST = (Run.created_at.desc(), Run.name)


def run_rows(session: Session, *conditions: Any) -> tuple[RunRow, ...]:
    """Runs newest first, in six queries whatever their number."""
    query = (
        select(Run, BaseModel.name)
        .join(BaseModel, BaseModel.id == Run.base_model_id)
        .where(*conditions)
        .order_by(*_NEWEST_FIRST)
    )
    found = session.execute(query).all()
    jobs = job_views(session, (run.job_id for run, *_ in found))
    ids = [run.id for run, *_ in found]
    data = data_of_runs(session, ids)
    first = _validation_losses(session, ids, func.min(RunMetric.step))
    last = _validation_losses(session, ids, func.max(RunMetric.step))
    return tuple(
        RunRow(
            id=run.id,
            name=run.name,
            kind=run.kind,
            recipe=run.recipe_name,
            dataset=label_of(data[run.id]),
            dataset_id=run.dataset_id,
            base_model=base_model,
            job=jobs.get(run.job_id) if run.job_id else None,
            first_loss=first.get(run.id),
            last_loss=last.get(run.id),
            created_at=run.created_at,
        )
        for run, base_model in found
    )


def _validation_losses(session: Session, ids: list[uuid.UUID], extreme_step: Any) -> dict[uuid.UUID, float]:
    chosen = (
        select(RunMetric.run_id, extreme_step.label("step"))
        .where(RunMetric.run_id.in_(ids), RunMetric.split == Split.VALIDATION)
        .group_by(RunMetric.run_id)
        .subquery()
    )
    query = select(RunMetric.run_id, RunMetric.loss).join(
        chosen,
        (RunMetric.run_id == chosen.c.run_id)
        & (RunMetric.step == chosen.c.step)
        & (RunMetric.split == Split.VALIDATION),
    )
    return {row.run_id: row.loss for row in session.execute(query)}


def runs_page(session: Session, recipes: tuple[RecipeRow, ...], wanted: Wanted = FIRST_PAGE) -> RunsPage:
    """The list of runs with the form to start one."""
    ids, window = find(session, wanted, Run, _NEWEST_FIRST, Run.name)
    base_models = tuple(session.scalars(select(BaseModel.name).order_by(BaseModel.name)))
    return RunsPage(run_rows(session, Run.id.in_(ids)), window, recipes, dataset_rows(session), base_models)


def run_page(session: Session, run_id: uuid.UUID) -> RunPage:
    """One run.

    Raises:
        NotFoundError: no run has this id.
    """
    rows = run_rows(session, Run.id == run_id)
    stored = session.get(Run, run_id)
    if not rows or stored is None:
        raise NotFoundError("There is no such run. The list of runs shows what exists.")
    newest = session.scalar(_measured(run_id, Split.TRAIN).order_by(RunMetric.step.desc()).limit(1))
    return RunPage(
        run=rows[0],
        sentence=_sentence(rows[0]),
        device=stored.device,
        dtype=stored.dtype,
        total_steps=stored.total_steps,
        trainable_parameters=stored.trainable_parameters,
        peak_memory_bytes=stored.peak_memory_bytes,
        learning_rate=newest.learning_rate if newest else None,
        tokens_per_second=newest.tokens_per_second if newest else None,
        notes=tuple(line for line in stored.notes.splitlines() if line),
        recipe=tuple((key, shown(value)) for key, value in flat(stored.recipe)),
        validation=losses(session, run_id, Split.VALIDATION),
        checkpoints=checkpoints_of_run(session, run_id),
        data=data_of(session, run_id),
        preview=tuple(
            PreviewRow(row["line"], tuple((text, learned) for text, learned in row["pieces"]), row.get("source", ""))
            for row in stored.preview or ()
        ),
        came_from=_origin(session, stored, rows[0]),
        siblings=_siblings(session, stored),
    )


def losses(session: Session, run_id: uuid.UUID, split: Split) -> tuple[Point, ...]:
    """Every loss of a run in the order of its steps."""
    found = session.scalars(_measured(run_id, split).order_by(RunMetric.step))
    return tuple(Point(one.step, one.loss) for one in found)


def _measured(run_id: uuid.UUID, split: Split) -> Select[RunMetric]:
    return select(RunMetric).where(RunMetric.run_id == run_id, RunMetric.split == split)


def _origin(session: Session, run: Run, row: RunRow) -> Origin | None:
    if run.came_from_id is None:
        return None
    before = session.get(Run, run.came_from_id)
    rows = run_rows(session, Run.id == run.came_from_id)
    if before is None or not rows:
        return None
    applied = (("dataset", rows[0].dataset, row.dataset), ("base_model", rows[0].base_model, row.base_model))
    others = tuple(Difference(key, (there, here)) for key, there, here in applied if there != here)
    return Origin(before.id, before.name, (*differences([before.recipe, run.recipe]), *others))


def _siblings(session: Session, run: Run) -> tuple[uuid.UUID, ...]:
    if run.sweep_id is None:
        return ()
    together = select(Run.id, Run.name).where(Run.sweep_id == run.sweep_id, Run.id != run.id)
    return tuple(id_ for id_, _ in sorted(session.execute(together), key=lambda one: _by_number(one.name)))


def _by_number(name: str) -> list[tuple[int, str]]:
    """To sort names so that r8 comes before r16."""
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in re.split(r"([0-9]{1,18})", name)]


def _sentence(run: RunRow) -> str:
    job = run.job
    if job is None or job.state is JobState.QUEUED:
        return "Waiting for a worker."
    if job.state is JobState.FAILED:
        return f"Stopped with an error: {job.error}"
    if job.state is JobState.RUNNING and job.done == 0:
        return job.message or "Starting."
    doing = {JobState.RUNNING: "Training", JobState.CANCELLED: "Cancelled"}.get(job.state, "Finished")
    return f"{doing}{_change(run, finished=job.state is JobState.DONE)}"


def _change(run: RunRow, *, finished: bool) -> str:
    """What the validation losses say, to follow a word like "Training"."""
    if run.first_loss is None or run.last_loss is None:
        return "; there is no validation loss to tell what it learned."
    if run.first_loss == run.last_loss:  # measured once so far
        return f": the bare base starts at a validation loss of {run.first_loss:.3f}."
    change = f"validation loss went from {run.first_loss:.3f} to {run.last_loss:.3f}"
    if finished and run.last_loss > run.first_loss:
        return f", but {change}: it did not learn what the validation file asks."
    return f": {change}."
