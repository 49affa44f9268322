"""The first page: what runs, what waits for votes, what came out last, and what to do next."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Row, and_, exists, func, or_, select
from sqlalchemy.orm import Session

from app.domain.names import SAMPLE
from app.domain.terms import BaseModelState, BatchState, CheckpointKind, PairKind, Queue, VoterKind
from app.models import BaseModel, Checkpoint, EvalBatch, Pair, Run, Tally
from app.queries.batches import NEWEST_FIRST, BatchRow, batch_rows
from app.queries.controls import canaries_of
from app.queries.crowd import sentences_of
from app.queries.jobs import UNFINISHED, JobView, unfinished_jobs, worker_alive
from app.queries.results import results_page

_MOST_WAITING, _MOST_JOBS, _MOST_FAILED = 5, 8, 3
"""More than that is a matter of the lists, which are one link away."""


@dataclass(frozen=True)
class NextStep:
    """One step from a fresh clone to an answer. ``ready``: it can be done now."""

    title: str
    text: str
    href: str
    done: bool
    ready: bool


@dataclass(frozen=True)
class HomePage:
    """The researcher's first page. Of long lists it has the first rows and how many there are in all."""

    jobs: tuple[JobView, ...]
    all_jobs: int
    failed_models: tuple[tuple[str, str], ...]
    """Name and error of base models that could not be brought here."""
    all_failed_models: int
    waiting: tuple[BatchRow, ...]
    """Open eval batches that still want votes."""
    all_waiting: int
    newest: BatchRow | None
    newest_sentences: tuple[str, ...]
    suspect: str
    """Instead of any result of the newest batch, when its canaries found an order that is mixed up."""
    steps: tuple[NextStep, ...]
    worker_alive: bool


def home_page(session: Session, *, now: datetime, stale_seconds: float) -> HomePage:
    """The first page as it stands."""
    facts = session.execute(_facts()).one()
    ids = set(session.scalars(select(EvalBatch.id).where(_waits()).order_by(*NEWEST_FIRST).limit(_MOST_WAITING)))
    rows = batch_rows(session, or_(EvalBatch.id.in_(ids), _is_sample()))
    newest = results_page(session, facts.newest) if facts.newest else None
    stored = session.get_one(EvalBatch, facts.newest) if facts.newest else None
    suspect = canaries_of(session, stored).sentence if stored is not None and stored.canary_pairs else ""
    return HomePage(
        jobs=unfinished_jobs(session, most=_MOST_JOBS),
        all_jobs=facts.jobs,
        failed_models=_failed_models(session),
        all_failed_models=facts.failed_models,
        waiting=tuple(row for row in rows if row.id in ids),
        all_waiting=facts.waiting,
        newest=newest.batch if newest else None,
        newest_sentences=sentences_of(newest) if newest and not suspect else (),
        suspect=suspect,
        steps=_steps(facts, [row for row in rows if row.is_sample]),
        worker_alive=worker_alive(session, queue=Queue.GPU, now=now, stale_seconds=stale_seconds),
    )


def _facts() -> Any:
    """What the page says of lists as a whole, in one query that reads none of their rows."""
    failed = BaseModel.state == BaseModelState.FAILED
    own = ~_is_sample()
    newest_first = select(EvalBatch.id).order_by(*NEWEST_FIRST).limit(1)
    return select(
        select(func.count()).where(UNFINISHED).scalar_subquery().label("jobs"),
        select(func.count(BaseModel.id)).where(failed).scalar_subquery().label("failed_models"),
        select(func.count(EvalBatch.id)).where(_waits()).scalar_subquery().label("waiting"),
        newest_first.where(_has_votes()).scalar_subquery().label("newest"),
        exists(select(BaseModel.id)).label("any_model"),
        exists(select(BaseModel.id).where(BaseModel.state == BaseModelState.READY)).label("ready_model"),
        exists(select(Run.id)).label("run"),
        exists(select(Checkpoint.id).where(Checkpoint.kind == CheckpointKind.ADAPTER)).label("adapter"),
        exists(select(EvalBatch.id).where(own)).label("own"),
        exists(select(EvalBatch.id).where(own, _has_votes())).label("own_votes"),
        newest_first.where(own, _votable()).scalar_subquery().label("own_votable"),
    )


def _is_sample() -> ColumnElement[bool]:
    """As ``BatchRow.is_sample``."""
    shipped = select(Checkpoint.id).where(Checkpoint.name.startswith(f"{SAMPLE}/", autoescape=True))
    return EvalBatch.baseline_id.in_(shipped)


def _main_pairs(what: Any) -> Any:
    return select(what).where(Pair.eval_batch_id == EvalBatch.id, Pair.kind == PairKind.MAIN).correlate(EvalBatch)


def _votes(what: Any) -> Any:
    of_people = (Tally.eval_batch_id == EvalBatch.id, Tally.voter_kind == VoterKind.RATER)
    main = Pair.kind == PairKind.MAIN
    query = select(what).select_from(Tally).join(Pair, Pair.id == Tally.pair_id)
    return query.where(*of_people, main).correlate(EvalBatch)


_VERDICTS = Tally.first + Tally.second + Tally.tie


def _has_votes() -> ColumnElement[bool]:
    return exists(_votes(Tally.pair_id).where(_VERDICTS > 0))


def _votable() -> ColumnElement[bool]:
    """As ``BatchRow.votable``."""
    return and_(EvalBatch.state == BatchState.OPEN, exists(_main_pairs(Pair.id).where(Pair.settled.is_(None))))


def _waits() -> ColumnElement[bool]:
    """Open, with fewer votes than ``BatchRow.votes_wanted``."""
    settled = _main_pairs(func.count(Pair.id)).where(Pair.settled.is_not(None)).scalar_subquery()
    votes = _votes(func.coalesce(func.sum(_VERDICTS), 0)).scalar_subquery()
    wanted = (EvalBatch.planned_pairs - settled) * EvalBatch.votes_per_pair
    return and_(EvalBatch.state == BatchState.OPEN, votes < wanted)


def _failed_models(session: Session) -> tuple[tuple[str, str], ...]:
    query = select(BaseModel.name, BaseModel.error).where(BaseModel.state == BaseModelState.FAILED)
    return tuple((name, error) for name, error in session.execute(query.order_by(BaseModel.name).limit(_MOST_FAILED)))


def _steps(facts: Row[Any], samples: list[BatchRow]) -> tuple[NextStep, ...]:
    return (
        *_sample_step(samples),
        NextStep(
            title="Get a base model",
            text="The small one comes by itself at the first start.",
            href="/models",
            done=facts.ready_model,
            ready=True,
        ),
        NextStep(
            title="Train your first adapter",
            text="Ten steps show that the pipeline works; two epochs teach something.",
            href="/runs",
            done=facts.adapter,
            ready=facts.any_model or facts.run,
        ),
        NextStep(
            title="Launch an eval batch",
            text="Your adapter against its base, on prompts you choose.",
            href="/batches/launch",
            done=facts.own,
            ready=facts.adapter,
        ),
        NextStep(
            title="Vote blind on your own",
            text="Read two texts, pick the better one. Nobody is told who wrote which.",
            href=f"/vote/{facts.own_votable}" if facts.own_votable else "/batches",
            done=facts.own_votes,
            ready=facts.own_votable is not None,
        ),
    )


def _sample_step(samples: list[BatchRow]) -> tuple[NextStep, ...]:
    """The first thing to do on a fresh clone: the shortest study that ships, before anything is installed."""
    if not samples:
        return ()
    shortest = min(samples, key=lambda row: row.planned_pairs)
    return (
        NextStep(
            title="Vote on the sample study",
            text=f"{shortest.planned_pairs} pairs of real responses are here already. Read some, and watch the result.",
            href=f"/vote/{shortest.id}",
            done=any(row.votes > row.simulated_votes for row in samples),
            ready=shortest.votable,
        ),
    )
