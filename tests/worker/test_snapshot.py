"""The job that reads every vote of an eval batch, so that pages need not."""

import random
from pathlib import Path

from app.db import Database
from app.domain.terms import Choice, JobKind, JobState
from app.jobs import QUEUE_OF, enqueue
from app.models import Job, Snapshot
from app.queries.statistics import statistics_of, stored_form
from tests.factories import NOW, make_rater, make_study, vote_blind
from worker import snapshot
from worker.child import WORK
from worker.claim import claim


def test_it_keeps_what_the_votes_say_and_does_not_wait_for_training(database: Database, home: Path) -> None:
    with database.session_scope() as session:
        batch = make_study(session, home, prompts=6).batch
        vote_blind(session, batch, make_rater(session), lambda _: Choice.A, rng=random.Random(1))  # noqa: S311
        job = enqueue(session, JobKind.SNAPSHOT, batch.id, title="Count the votes anew", now=NOW)
    assert (WORK[JobKind.SNAPSHOT], job.queue) == (snapshot.run, QUEUE_OF[JobKind.SNAPSHOT])
    taken = claim(job.id, worker="here")
    assert taken is not None
    snapshot.run(taken, lambda: False)
    with database.session_scope() as session:
        taken.end(session, JobState.DONE)
    with database.session_scope(write=False) as session:
        kept = session.get_one(Snapshot, batch.id)
        assert kept.votes == 6
        assert kept.content == stored_form(statistics_of(session, session.merge(batch, load=False)))
        assert session.get_one(Job, job.id).state is JobState.DONE
