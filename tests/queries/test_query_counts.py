"""List pages ask a fixed number of questions, however many rows there are."""

import random
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest
from sqlalchemy import event, func, select
from sqlalchemy.orm import Session

from app.domain.terms import Choice
from app.models import BaseModel, EvalBatch, Judge, Pair, Seat, Suite, Voter
from app.queries.base_models import models_page
from app.queries.batches import batch_page, batches_page, launch_page
from app.queries.blindness import blindness
from app.queries.checkpoints import checkpoints_page
from app.queries.contrasts import contrasts
from app.queries.controls import checks_of
from app.queries.datasets import datasets_page
from app.queries.desk import desk_page
from app.queries.home import home_page
from app.queries.jobs import jobs_page
from app.queries.judge_results import judge_results
from app.queries.judges import judge_page, judges_page
from app.queries.judging import judges_of_batch
from app.queries.outlook import outlooks
from app.queries.pair import pair_page
from app.queries.pair_filters import PairFilter
from app.queries.pairs import pairs_page
from app.queries.raters import batch_raters_page, raters_page
from app.queries.raters_agree import raters_agree
from app.queries.results import results_page
from app.queries.runs import runs_page
from app.queries.statistics import statistics
from app.queries.suites import suite_page, suites_page
from app.services import invites, judging, runs
from app.services.accounts import the_admin
from app.services.eval_batches import LaunchPlan, close, launch
from app.services.seats import give_seat
from tests import many
from tests.factories import (
    NOW,
    RULES,
    Study,
    make_adapter,
    make_base,
    make_rater,
    make_study,
    make_suite,
    prompt_row,
    vote_blind,
    write_responses,
)
from tests.fixtures import on_sqlite
from tests.judged import a_judge, work

pytestmark = on_sqlite
MANY = 30

PAGES: dict[str, Callable[[Session], Any]] = {
    "batches": batches_page,
    "launch form": launch_page,
    "runs": lambda session: runs_page(session, ()),
    "checkpoints": checkpoints_page,
    "suites": suites_page,
    "datasets": datasets_page,
    "base models": models_page,
    "jobs": lambda session: jobs_page(session, now=NOW, stale_seconds=60),
    "home": lambda session: home_page(session, now=NOW, stale_seconds=60),
    "pairs": lambda session: pairs_page(session, newest(session, EvalBatch), PairFilter(text="e")),
    "pair": lambda session: pair_page(session, newest(session, EvalBatch), newest_pair(session), PairFilter()),
    "results": lambda session: results_page(session, newest(session, EvalBatch)),
    "results as a page shows them": lambda session: everything(session, newest(session, EvalBatch)),
    "batch": lambda session: batch_page(session, newest(session, EvalBatch)),
    "raters": lambda session: raters_page(session, now=NOW),
    "raters of a batch": lambda session: batch_raters_page(session, newest(session, EvalBatch), now=NOW),
    "judges": lambda session: judges_page(session, has_key=True),
    "judge": lambda session: judge_page(session, session.scalars(select(Judge.id).order_by(Judge.model)).first()),
    "judges of a batch": lambda session: judges_of_batch(session, newest(session, EvalBatch), has_key=True),
    "desk": lambda session: desk_page(session, busiest(session)),
    "suite": lambda session: suite_page(session, newest(session, Suite)),
}


def everything(session: Session, batch_id: UUID) -> None:
    """Every part of a page of results."""
    page = results_page(session, batch_id)
    found = statistics(session, page)
    checks_of(session, session.get_one(EvalBatch, batch_id))
    for part in (blindness, contrasts, judge_results):
        part(session, page)
    raters_agree(session, page, found)
    outlooks(session, page, found)


def newest(session: Session, table: type) -> Any:
    return max(session.query(table), key=lambda row: (row.created_at, row.name)).id


def busiest(session: Session) -> Any:
    """The voter with most seats."""
    seats = select(Seat.voter_id).group_by(Seat.voter_id).order_by(func.count().desc(), Seat.voter_id).limit(1)
    return session.scalar(seats) or uuid4()


def newest_pair(session: Session) -> Any:
    return session.scalars(select(Pair.id).where(Pair.eval_batch_id == newest(session, EvalBatch)).limit(1)).one()


def statements(session: Session, page: Callable[[Session], Any]) -> int:
    """SQL statements of one page for a session that knows nothing yet."""
    session.flush()
    session.expunge_all()
    seen: list[str] = []

    def note(_c: Any, _cursor: Any, statement: str, *_: Any) -> None:
        seen.append(statement)

    engine = session.get_bind()
    event.listen(engine, "before_cursor_execute", note)
    try:
        page(session)
    finally:
        event.remove(engine, "before_cursor_execute", note)
    return len(seen)


def grow(session: Session, folder: Path) -> None:
    """Of everything that is listed, many; and one batch with many pairs, newer than all."""
    rows = [prompt_row(number) for number in range(MANY)]
    for number in range(MANY):
        make_suite(session, folder / str(number), rows[: number + 1], name=f"suite-{number:02}")
        make_base(session, folder, name=f"base-{number:02}")
        adapter = make_adapter(session, folder, name=f"run-{number:02}")
        run = session.get_one(runs.Run, adapter.run_id)
        runs.record(session, run, [runs.Metric(runs.Split.VALIDATION, step, 0.0, 1.0) for step in (1, 2)], now=NOW)
        plan = LaunchPlan(suite=f"suite-{number:02}", challengers=(adapter.name,), name=f"z-batch-{number:02}")
        batch = launch(session, plan, secret=RULES.secret, now=NOW)
        write_responses(session, batch)
        make_people(session, batch)
        a_judge(session, f"judge-{number:02}", f"model-{number:02}")
    make_judges(session, batch)
    for other in session.query(EvalBatch).filter(EvalBatch.id != batch.id, EvalBatch.name.startswith("z-batch")):
        judging.ask(session, other, session.query(Judge).filter_by(model="claude-haiku-5-5").one(), cap=1, now=NOW)
    last = session.get_one(Suite, batch.suite_id), session.get_one(BaseModel, adapter.base_model_id)
    many.seats(session, Study(batch, *last, (adapter,)), MANY)
    close(session, batch, now=NOW)


def make_people(session: Session, batch: EvalBatch) -> None:
    """An invite, somebody who joined by it, and somebody who has joined every eval batch."""
    admin = the_admin(session, now=NOW)
    _, token = invites.make_invite(session, batch, by=admin, now=NOW)
    invites.join(session, token, None, name="Anna", now=NOW)
    give_seat(session, batch, session.get_one(Voter, admin.voter_id), title="Texts", now=NOW)


def make_judges(session: Session, batch: EvalBatch) -> None:
    """Every judge there is, asked about this batch; one of them has said something."""
    for judge in session.query(Judge):
        work(session, judging.ask(session, batch, judge, now=NOW), most=2)


def test_the_number_of_queries_does_not_grow_with_the_rows(session: Session, tmp_path: Path) -> None:
    batch = make_study(session, tmp_path, prompts=1).batch
    make_people(session, batch)
    a_judge(session)
    make_judges(session, batch)
    close(session, batch, now=NOW)
    few = {name: statements(session, page) for name, page in PAGES.items()}
    grow(session, tmp_path)
    after = {name: statements(session, page) for name, page in PAGES.items()}
    assert after == few
    assert max(few.values()) <= 30


def test_results_ask_as_often_for_many_votes_and_prompts_as_for_few(session: Session, tmp_path: Path) -> None:
    study = make_study(session, tmp_path, prompts=2, votes_per_pair=3)
    suite = make_suite(session, tmp_path, 40, name="long")
    plan = LaunchPlan(suite=suite.name, challengers=(study.adapters[0].name,), votes_per_pair=3)
    longer = launch(session, plan, secret=RULES.secret, now=NOW)
    write_responses(session, longer)
    for batch in (study.batch, longer):
        for number in range(3):
            rng = random.Random(number)  # noqa: S311
            vote_blind(session, batch, make_rater(session), lambda _, rng=rng: rng.choice(list(Choice)), rng=rng)
        close(session, batch, now=NOW)
    few, many_votes = (partial(everything, batch_id=batch_id) for batch_id in (study.batch.id, longer.id))
    assert statements(session, few) == statements(session, many_votes)


@pytest.mark.parametrize(
    "name",
    sorted(
        PAGES.keys()
        - {
            "results",
            "results as a page shows them",
            "batch",
            "suite",
            "pairs",
            "pair",
            "raters of a batch",
            "judge",
            "judges of a batch",
        }
    ),
)
def test_every_list_page_answers_on_an_empty_database(session: Session, name: str) -> None:
    assert statements(session, PAGES[name]) > 0
