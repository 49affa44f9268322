"""The first page: what runs, what waits for votes, what came out last, and what to do next."""

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from app.domain.terms import BaseModelState, BatchState, CheckpointKind, Queue
from app.models import Checkpoint, Run
from app.queries.base_models import BaseModelRow, base_model_rows
from app.queries.batches import BatchRow, batch_rows
from app.queries.jobs import JobView, unfinished_jobs, worker_alive
from app.queries.results import Matchup, results_page


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
    """The researcher's first page."""

    jobs: tuple[JobView, ...]
    base_models: tuple[BaseModelRow, ...]
    waiting: tuple[BatchRow, ...]
    """Open eval batches that still want votes."""
    newest: BatchRow | None
    newest_matchups: tuple[Matchup, ...]
    steps: tuple[NextStep, ...]
    worker_alive: bool


def home_page(session: Session, *, now: datetime, stale_seconds: float) -> HomePage:
    """The first page as it stands."""
    batches = batch_rows(session)
    voted = [row for row in batches if row.votes]
    models = base_model_rows(session)
    newest = voted[0] if voted else None
    return HomePage(
        jobs=unfinished_jobs(session),
        base_models=models,
        waiting=tuple(r for r in batches if r.state is BatchState.OPEN and r.votes < r.votes_wanted),
        newest=newest,
        newest_matchups=results_page(session, newest.id).matchups if newest else (),
        steps=_steps(session, models, batches),
        worker_alive=worker_alive(session, queue=Queue.GPU, now=now, stale_seconds=stale_seconds),
    )


def _steps(session: Session, models: tuple[BaseModelRow, ...], batches: tuple[BatchRow, ...]) -> tuple[NextStep, ...]:
    has_model = any(model.state is BaseModelState.READY for model in models)
    runs = session.scalar(select(func.count(Run.id))) or 0
    adapters = session.scalar(select(func.count(Checkpoint.id)).where(Checkpoint.kind == CheckpointKind.ADAPTER)) or 0
    samples = [row for row in batches if row.is_sample]
    own = [row for row in batches if not row.is_sample]
    votable = next((row for row in own if row.votable), None)
    return (
        *_sample_step(samples),
        NextStep(
            title="Get a base model",
            text="The small one comes by itself at the first start.",
            href="/models",
            done=has_model,
            ready=True,
        ),
        NextStep(
            title="Train your first adapter",
            text="Ten steps show that the pipeline works; two epochs teach something.",
            href="/runs",
            done=adapters > 0,
            ready=bool(models) or runs > 0,
        ),
        NextStep(
            title="Launch an eval batch",
            text="Your adapter against its base, on prompts you choose.",
            href="/batches/launch",
            done=bool(own),
            ready=adapters > 0,
        ),
        NextStep(
            title="Vote blind on your own",
            text="Read two texts, pick the better one. Nobody is told who wrote which.",
            href=f"/vote/{votable.id}" if votable else "/batches",
            done=any(row.votes for row in own),
            ready=votable is not None,
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
