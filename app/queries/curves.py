"""The curves of runs, cut into few places by the database: a run of 100,000 steps is never read as a whole."""

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from app.domain.curves import Place, bucket_width
from app.domain.terms import Axis, Split
from app.models import RunMetric

_FINITE = 1e300
"""Losses beyond it, and what is not a number, have no place on an axis."""


@dataclass(frozen=True)
class View:
    """What is looked at: steps or tokens, from where to where (None: to the end on that side), on which scale."""

    axis: Axis = Axis.STEPS
    first: int | None = None
    last: int | None = None
    log: bool = False

    @property
    def is_whole(self) -> bool:
        """Whether everything there is is shown."""
        return self.first is None and self.last is None


@dataclass(frozen=True)
class Extent:
    """From where to where something was measured, both included."""

    first: int
    last: int


@dataclass(frozen=True)
class RunCurves:
    """The curves of one run inside of a view."""

    train: tuple[Place, ...] = ()
    validation: tuple[Place, ...] = ()
    learning_rate: tuple[Place, ...] = ()
    tokens_per_second: tuple[Place, ...] = ()
    memory_bytes: tuple[Place, ...] = ()


@dataclass(frozen=True)
class Curves:
    """The curves of some runs on one axis."""

    view: View
    extent: Extent
    """Of all that was measured."""
    window: Extent
    """Of what is shown."""
    bucket: int
    """So many steps, or tokens, are one place."""
    by_run: Mapping[uuid.UUID, RunCurves]
    said: str = ""
    """Why the view is another one than was asked for, or empty."""


def curves(session: Session, run_ids: Sequence[uuid.UUID], view: View, *, last: int = 0) -> Curves:
    """The curves of these runs in two queries.

    Args:
        session: an open session.
        run_ids: the runs, which share one axis.
        view: what is asked for. A window that ends before it begins, or in which nothing lies, shows all there is.
        last: where the axis ends at least, such as the last step that is planned.
    """
    axis = RunMetric.step if view.axis is Axis.STEPS else RunMetric.tokens
    measured = session.scalar(select(func.max(axis)).where(RunMetric.run_id.in_(run_ids))) or 0
    extent = Extent(0, max(measured, last))
    first = extent.first if view.first is None else max(view.first, extent.first)
    end = extent.last if view.last is None else min(view.last, extent.last)
    said = ""
    if end <= first and not view.is_whole:
        asked = f"{view.first or 0} and {extent.last if view.last is None else view.last}"
        said = f"There is nothing to draw between {asked} {view.axis}: all of it is shown."
        view, first, end = replace(view, first=None, last=None), extent.first, extent.last
    # Where nothing was measured yet, more places would be left empty than filled.
    width = bucket_width(first, min(end, measured))
    found = session.execute(_places(run_ids, axis, first, end, width)).all()
    by_run = {run_id: _of_run([row for row in found if row.run_id == run_id]) for run_id in run_ids}
    return Curves(view, extent, Extent(first, end), width, by_run, said)


def _places(run_ids: Sequence[uuid.UUID], axis: Any, first: int, last: int, width: int) -> Any:
    bucket = (axis - first) // width
    finite = RunMetric.loss.between(-_FINITE, _FINITE)
    return (
        select(
            RunMetric.run_id,
            RunMetric.split,
            func.avg(axis).label("x"),
            func.avg(RunMetric.loss).label("loss"),
            func.min(RunMetric.loss).label("lowest"),
            func.max(RunMetric.loss).label("highest"),
            func.avg(RunMetric.learning_rate).label("rate"),
            func.avg(RunMetric.tokens_per_second).label("speed"),
            func.max(RunMetric.memory_bytes).label("memory"),
        )
        .where(RunMetric.run_id.in_(run_ids), axis.between(first, last), finite)
        .group_by(RunMetric.run_id, RunMetric.split, bucket)
        .order_by(RunMetric.run_id, RunMetric.split, func.avg(axis))
    )


def _of_run(rows: Sequence[Any]) -> RunCurves:
    losses = {
        split: tuple(Place(float(row.x), row.loss, row.lowest, row.highest) for row in rows if row.split is split)
        for split in Split
    }
    train = [row for row in rows if row.split is Split.TRAIN]
    return RunCurves(
        train=losses[Split.TRAIN],
        validation=losses[Split.VALIDATION],
        learning_rate=_plain(train, "rate"),
        tokens_per_second=_plain(train, "speed"),
        memory_bytes=_plain(train, "memory"),
    )


def _plain(rows: Sequence[Any], name: str) -> tuple[Place, ...]:
    known = [(float(row.x), float(getattr(row, name))) for row in rows if getattr(row, name) is not None]
    return tuple(Place(x, value, value, value) for x, value in known)
