"""Runs beside each other: their curves on one axis, what they came to, and in what their recipes differ."""

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from app.domain.errors import NotFoundError
from app.domain.recipe_changes import Difference, differences
from app.domain.terms import JobState, Split
from app.models import Checkpoint, Run, RunMetric
from app.queries.checkpoints import CheckpointRow, checkpoint_rows
from app.queries.curves import Curves, View, curves
from app.queries.runs import Point, RunRow, run_rows

MOST_COMPARED = 8
"""Runs on one chart: more lines cannot be told apart."""


@dataclass(frozen=True)
class ComparedRun:
    """One of them; ``number`` is that of its line. Times in seconds, speed in tokens a second over the whole run."""

    number: int
    run: RunRow
    best: Point | None
    """The lowest validation loss after step 0."""
    tokens_per_second: float | None
    peak_memory_bytes: int
    seconds: float | None
    has_tokens: bool
    """Whether it can be drawn over tokens: older runs counted none."""
    checkpoints: tuple[CheckpointRow, ...]


@dataclass(frozen=True)
class Comparison:
    """Runs in the order in which they were asked for."""

    runs: tuple[ComparedRun, ...]
    left_out: int
    """How many more were asked for than fit."""
    differences: tuple[Difference, ...]
    curves: Curves

    @property
    def unfinished(self) -> bool:
        """Whether one of them still goes."""
        return any(one.run.job is not None and one.run.job.unfinished for one in self.runs)


def comparison(session: Session, run_ids: Sequence[uuid.UUID], view: View, *, now: datetime) -> Comparison:
    """Compare the first ``MOST_COMPARED`` of these runs, in a number of queries that does not depend on theirs.

    Raises:
        NotFoundError: one of them does not exist.
    """
    asked = list(dict.fromkeys(run_ids))
    chosen = asked[:MOST_COMPARED]
    rows = {row.id: row for row in run_rows(session, Run.id.in_(chosen))}
    if len(rows) < len(chosen):
        raise NotFoundError("One of these runs does not exist. The list of runs shows what does.")
    stored = {run.id: run for run in session.scalars(select(Run).where(Run.id.in_(chosen)))}
    speeds = _speeds(session, chosen)
    best = _best(session, chosen)
    saved = checkpoint_rows(session, Checkpoint.run_id.in_(chosen))
    compared = tuple(
        ComparedRun(
            number=number,
            run=rows[run_id],
            best=best.get(run_id),
            tokens_per_second=speeds.get(run_id, (None, None))[0],
            peak_memory_bytes=stored[run_id].peak_memory_bytes,
            seconds=_seconds(rows[run_id], now),
            has_tokens=speeds.get(run_id, (None, None))[1] is not None,
            checkpoints=tuple(sorted((one for one in saved if one.run_id == run_id), key=lambda one: one.step or 0)),
        )
        for number, run_id in enumerate(chosen, 1)
    )
    recipes = [stored[run_id].recipe for run_id in chosen]
    applied = {
        "dataset": tuple(rows[run_id].dataset for run_id in chosen),
        "base model": tuple(rows[run_id].base_model for run_id in chosen),
        "device": tuple(stored[run_id].device or None for run_id in chosen),
    }
    others = tuple(Difference(key, values) for key, values in applied.items() if len(set(values) - {None}) > 1)
    return Comparison(
        compared, len(asked) - len(chosen), (*differences(recipes), *others), curves(session, chosen, view)
    )


def _speeds(session: Session, ids: Sequence[uuid.UUID]) -> dict[uuid.UUID, tuple[float | None, int | None]]:
    query = (
        select(RunMetric.run_id, func.avg(RunMetric.tokens_per_second), func.max(RunMetric.tokens))
        .where(RunMetric.run_id.in_(ids), RunMetric.split == Split.TRAIN)
        .group_by(RunMetric.run_id)
    )
    return {run_id: (speed, tokens) for run_id, speed, tokens in session.execute(query)}


def _best(session: Session, ids: Sequence[uuid.UUID]) -> dict[uuid.UUID, Point]:
    trained = (RunMetric.run_id.in_(ids), RunMetric.split == Split.VALIDATION, RunMetric.step > 0)
    lowest = select(RunMetric.run_id, func.min(RunMetric.loss).label("loss")).where(*trained).group_by(RunMetric.run_id)
    found = lowest.subquery()
    query = (
        select(RunMetric.run_id, func.min(RunMetric.step), RunMetric.loss)
        .join(found, (RunMetric.run_id == found.c.run_id) & (RunMetric.loss == found.c.loss))
        .where(*trained)
        .group_by(RunMetric.run_id, RunMetric.loss)
    )
    return {run_id: Point(step, loss) for run_id, step, loss in session.execute(query)}


def _seconds(row: RunRow, now: datetime) -> float | None:
    job = row.job
    if job is None or job.started_at is None:
        return None
    end = job.finished_at or (now if job.state is JobState.RUNNING else None)
    return None if end is None else (end - job.started_at).total_seconds()
