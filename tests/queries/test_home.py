import random
import uuid
from datetime import timedelta
from pathlib import Path

from sqlalchemy.orm import Session

from app.domain.terms import BatchState, Choice, Queue
from app.models import Job, Prompt, Worker
from app.queries.ballots import VoteState, vote_page
from app.queries.batches import batch_rows
from app.queries.home import HomePage, home_page
from app.services import assignment, eval_batches, voting
from app.services.base_models import add_base_model
from app.services.eval_batches import LaunchPlan
from app.services.responses import Planned
from app.services.sample_study import load_sample_study
from tests.factories import (
    NOW,
    RULES,
    finish_job,
    make_adapter,
    make_base,
    make_rater,
    make_study,
    make_suite,
    plain_text,
    vote_blind,
    write_responses,
    write_sample,
)
from tests.fixtures import on_sqlite

pytestmark = on_sqlite


def home(session: Session) -> HomePage:
    session.flush()
    return home_page(session, now=NOW, stale_seconds=60)


def steps(session: Session) -> list[str]:
    return ["done" if step.done else "ready" if step.ready else "later" for step in home(session).steps]


def dice() -> random.Random:
    return random.Random(5)  # noqa: S311


def test_the_steps_from_a_fresh_clone_to_an_answer(session: Session, tmp_path: Path) -> None:
    assert steps(session) == ["ready", "later", "later", "later"]
    waiting = add_base_model(session, "smollm2-135m", now=NOW)
    assert steps(session) == ["ready", "ready", "later", "later"]
    assert [job.title for job in home(session).jobs] == [f"Get base model {waiting.name}"]
    make_base(session, tmp_path)
    assert steps(session) == ["done", "ready", "later", "later"]
    adapter = make_adapter(session, tmp_path)
    assert steps(session) == ["done", "done", "ready", "later"]
    make_suite(session, tmp_path)
    batch = eval_batches.launch(
        session, LaunchPlan(suite="suite", challengers=(adapter.name,)), secret=RULES.secret, now=NOW
    )
    assert steps(session) == ["done", "done", "done", "later"]
    write_responses(session, batch)
    assert steps(session) == ["done", "done", "done", "ready"]
    assert home(session).steps[3].href == f"/vote/{batch.id}"
    vote_blind(session, batch, make_rater(session), lambda _: Choice.A, rng=dice())
    assert steps(session) == ["done", "done", "done", "done"]


def test_the_sample_study_comes_first_and_is_no_work_of_ones_own(session: Session, tmp_path: Path) -> None:
    study = make_study(session, tmp_path, prompts=3)
    write_sample(session, [study.batch], tmp_path / "files")
    [sample] = load_sample_study(session, tmp_path / "files", secret=RULES.secret, now=NOW)
    first = home(session).steps[0]
    assert (first.title, first.href, first.ready, first.done) == (
        "Vote on the sample study", f"/vote/{sample.id}", True, False,
    )  # fmt: skip
    assert steps(session) == ["ready", "done", "done", "done", "ready"]
    vote_blind(session, sample, make_rater(session), lambda _: Choice.A, rng=dice())
    assert steps(session) == ["done", "done", "done", "done", "ready"]


def test_a_batch_waits_for_votes_until_it_has_them_all(session: Session, tmp_path: Path) -> None:
    batch = make_study(session, tmp_path).batch
    assert ([row.id for row in home(session).waiting], home(session).newest) == ([batch.id], None)
    vote_blind(session, batch, make_rater(session), lambda _: Choice.A, rng=dice())
    page = home(session)
    assert (page.waiting, page.newest.id) == ((), batch.id)
    assert len(page.newest_sentences) == 1
    assert " of 4" in page.newest_sentences[0]


def test_the_counts_of_the_page_are_those_of_the_rows(session: Session, tmp_path: Path) -> None:
    empty_for = {"one": 1, "all": 4}

    def text(member: int, planned: Planned) -> str:
        prompt = session.get_one(Prompt, planned.prompt_id)
        return "" if member and prompt.position < empty_for.get(batch.name, 0) else plain_text(member, planned)

    study = make_study(session, tmp_path)
    rater = make_rater(session)
    for number, (name, votes) in enumerate(
        [("none", 0), ("one", 0), ("all", 0), ("some", 1), ("enough", 4), ("shut", 1)]
    ):
        plan = LaunchPlan(suite="suite", challengers=(study.adapters[0].name,), name=name, seed=number + 2)
        batch = eval_batches.launch(session, plan, secret=RULES.secret, now=NOW + timedelta(minutes=number))
        write_responses(session, batch, text)
        for _ in range(votes):
            ballot = assignment.issue(session, batch.id, rater, rules=RULES, now=NOW, rng=dice())
            voting.cast(session, ballot.id, rater, Choice.A, rules=RULES, now=NOW)
    eval_batches.close(session, batch, now=NOW)
    session.flush()
    rows = batch_rows(session)
    waiting = [row for row in rows if row.state is BatchState.OPEN and row.votes < row.votes_wanted]
    page = home(session)
    assert [row.name for row in waiting] == ["some", "one", "none", study.batch.name]
    assert (list(page.waiting), page.all_waiting) == (waiting, 4)
    assert page.newest == next(row for row in rows if row.votes)
    votable = next(row for row in rows if row.votable)
    assert (page.steps[3].href, page.steps[3].done) == (f"/vote/{votable.id}", True)


def test_a_closed_batch_waits_for_nobody(session: Session, tmp_path: Path) -> None:
    batch = make_study(session, tmp_path).batch
    eval_batches.close(session, batch, now=NOW)
    assert home(session).waiting == ()
    assert home(session).steps[3].ready is False


def test_a_worker_is_alive_while_it_says_so(session: Session) -> None:
    assert home(session).worker_alive is False
    worker = Worker(name="w", queue=Queue.GPU, started_at=NOW, heartbeat_at=NOW - timedelta(seconds=59))
    session.add(worker)
    assert home(session).worker_alive is True
    worker.heartbeat_at = NOW - timedelta(seconds=61)
    assert home(session).worker_alive is False


def test_the_voting_page_says_why_there_is_nothing_to_vote_on(session: Session, tmp_path: Path) -> None:
    make_base(session, tmp_path)
    adapter = make_adapter(session, tmp_path)
    make_suite(session, tmp_path)
    batch = eval_batches.launch(
        session, LaunchPlan(suite="suite", challengers=(adapter.name,)), secret=RULES.secret, now=NOW
    )
    voter = make_rater(session)

    def page() -> tuple[VoteState, int, int, uuid.UUID | None]:
        ballot = assignment.issue(session, batch.id, voter, rules=RULES, now=NOW, rng=dice())
        last = voting.undoable(session, batch.id, voter, rules=RULES, now=NOW)
        shown = vote_page(
            session, batch=batch, voter_id=voter.id, open_ballot=ballot, undoable=last, grace=RULES.grace, now=NOW
        )
        assert (shown.ballot is not None) == (shown.state is VoteState.VOTING)
        return shown.state, shown.voted, shown.total, shown.undo_ballot_id

    assert page() == (VoteState.WAITING, 0, 0, None)
    write_responses(session, batch)
    assert page() == (VoteState.VOTING, 0, 4, None)
    vote_blind(session, batch, voter, lambda _: Choice.B, rng=dice())
    state, voted, total, undo = page()
    assert (state, voted, total, undo is not None) == (VoteState.FINISHED, 4, 4, True)
    eval_batches.close(session, batch, now=NOW)
    assert page()[0] is VoteState.CLOSED
    assert session.get_one(Job, batch.job_id).state == "done"


def test_finished_jobs_are_not_listed_as_running(session: Session) -> None:
    add_base_model(session, "smollm2-135m", now=NOW)
    for view in home(session).jobs:
        finish_job(session, session.get_one(Job, view.id))
    assert home(session).jobs == ()
