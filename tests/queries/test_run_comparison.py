"""Runs beside each other: what they came to, and in what they differ."""

import uuid
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy.orm import Session

from app.domain.errors import NotFoundError
from app.domain.terms import JobState, Split
from app.models import Job, Run
from app.queries.curves import View
from app.queries.run_comparison import MOST_COMPARED, Comparison, comparison
from app.queries.runs import run_page
from app.services import runs
from app.services.checkpoints import register_adapter
from app.services.runs import Metric, launch_sweep
from tests.factories import NOW, finish_job, make_base, make_run, recipe, saved_adapter
from tests.queries.test_query_counts import statements


@pytest.fixture
def sweep(session: Session, tmp_path: Path) -> tuple[Run, ...]:
    """Three runs of one recipe with a list."""
    make_base(session, tmp_path)
    make_run(session, tmp_path)  # brings the dataset
    swept = replace(recipe(), content={**recipe().content, "lora": {"r": [4, 8, 16]}})
    return launch_sweep(session, swept, now=NOW, name="swept")


def compared(session: Session, *found: Run) -> Comparison:
    return comparison(session, [run.id for run in found], View(), now=NOW)


def test_only_what_differs_is_compared(session: Session, sweep: tuple[Run, ...]) -> None:
    found = compared(session, *sweep)
    assert [(one.key, one.values) for one in found.differences] == [("lora.r", ("4", "8", "16"))]
    assert [one.run.name for one in found.runs] == ["swept-r4", "swept-r8", "swept-r16"]
    assert compared(session, sweep[0]).differences == ()


def test_the_order_is_that_of_the_question_and_doubles_count_once(session: Session, sweep: tuple[Run, ...]) -> None:
    found = compared(session, sweep[2], sweep[0], sweep[2])
    assert [(one.number, one.run.name) for one in found.runs] == [(1, "swept-r16"), (2, "swept-r4")]


def test_dataset_and_base_model_are_told_where_they_differ(
    session: Session, sweep: tuple[Run, ...], tmp_path: Path
) -> None:
    make_base(session, tmp_path, name="other")
    moved = make_run(session, tmp_path, name="moved", base="other")
    told = {one.key: one.values for one in compared(session, sweep[1], moved).differences}
    assert told == {"base model": ("tiny", "other")}


def test_what_runs_came_to(session: Session, sweep: tuple[Run, ...]) -> None:
    run = sweep[0]
    runs.begin(session, run, device="cpu", dtype="float32", total_steps=4, trainable_parameters=9)
    runs.record(
        session,
        run,
        [
            *(Metric(Split.TRAIN, step, 0.1, 2.0, 1e-4, 100.0 * step, 10 * step, 7) for step in (1, 2, 3)),
            *(Metric(Split.VALIDATION, step, 0.1, loss) for step, loss in ((0, 1.0), (1, 2.0), (2, 1.5), (3, 1.75))),
        ],
        now=NOW,
    )
    register_adapter(session, run, saved_adapter("a" * 64, label="step-2", step=2), now=NOW)
    job = session.get_one(Job, run.job_id)
    job.started_at = NOW - timedelta(seconds=90)
    finish_job(session, job, JobState.DONE)
    session.flush()
    one, other = compared(session, run, sweep[1]).runs
    assert (one.run.first_loss, one.run.last_loss) == (1.0, 1.75)
    assert (one.best.step, one.best.loss) == (2, 1.5)  # the base itself is no step of the run
    assert (one.tokens_per_second, one.has_tokens, one.seconds) == (200.0, True, 90.0)
    assert [saved.step for saved in one.checkpoints] == [2]
    assert (other.best, other.tokens_per_second, other.seconds, other.checkpoints) == (None, None, None, ())


def test_more_runs_than_fit_are_counted(session: Session, sweep: tuple[Run, ...], tmp_path: Path) -> None:
    more = [make_run(session, tmp_path) for _ in range(MOST_COMPARED)]
    found = compared(session, *sweep, *more)
    assert (len(found.runs), found.left_out) == (MOST_COMPARED, 3)


def test_a_run_that_does_not_exist_is_said_to(session: Session, sweep: tuple[Run, ...]) -> None:
    with pytest.raises(NotFoundError, match="does not exist"):
        comparison(session, [sweep[0].id, uuid.uuid4()], View(), now=NOW)


def test_one_that_goes_keeps_the_page_alive(session: Session, sweep: tuple[Run, ...]) -> None:
    assert compared(session, *sweep).unfinished
    for run in sweep:
        finish_job(session, session.get_one(Job, run.job_id))
    assert not compared(session, *sweep).unfinished


def test_more_runs_take_no_more_queries(session: Session, sweep: tuple[Run, ...]) -> None:
    few, many = (
        statements(session, lambda session, ids=ids: comparison(session, ids, View(), now=NOW))
        for ids in ([run.id for run in sweep[:1]], [run.id for run in sweep])
    )
    assert few == many


def test_a_run_names_its_siblings_in_the_order_of_their_numbers(session: Session, sweep: tuple[Run, ...]) -> None:
    names = {run.id: run.name for run in sweep}
    assert [names[one] for one in run_page(session, sweep[1].id).siblings] == ["swept-r4", "swept-r16"]


def test_a_run_tells_what_was_changed(session: Session, sweep: tuple[Run, ...], tmp_path: Path) -> None:
    make_base(session, tmp_path, name="other")
    changed = recipe(base="other")
    changed = replace(changed, content={**changed.content, "lora": {"r": 4}, "train": {"learning_rate": 2e-4}})
    (run,) = launch_sweep(session, changed, now=NOW, name="again", came_from=sweep[1])
    origin = run_page(session, run.id).came_from
    assert (origin.name, run_page(session, sweep[1].id).came_from) == ("swept-r8", None)
    assert [(one.key, one.values) for one in origin.changes] == [
        ("lora.r", ("8", "4")), ("train.learning_rate", (None, "2e-4")), ("base_model", ("tiny", "other")),
    ]  # fmt: skip
