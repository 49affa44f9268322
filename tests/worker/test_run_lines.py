"""What a training says becomes lines: few of its many steps, and everything else."""

from datetime import timedelta
from pathlib import Path

import pytest

from app.db import Database
from app.domain.terms import JobState, LineKind
from app.models import Job, Run
from app.queries.run_log import LogLine, log_tail
from tests.factories import NOW, make_base, make_run
from tests.fixtures import on_sqlite
from tests.tiny_arena import Tiny, add_tiny_base, launch_tiny_run
from training import events
from worker import train
from worker.claim import claim, requeue
from worker.run_lines import STEP_LINES, RunLines

STARTED = {
    "device": "cpu", "dtype": "float32", "trainable_parameters": 9, "train_rows": 3, "train_tokens": 99,
    "skipped_rows": 0, "validation_rows": 1,
}  # fmt: skip


def step(number: int) -> events.StepDone:
    return events.StepDone(number, 0.1, 2.0, 1e-4, 10 * number, 50.0, 10**9, 1.0)


def lines_of(database: Database, run: Run) -> tuple[LogLine, ...]:
    with database.session_scope(write=False) as session:
        return log_tail(session, run.id, most=1000).lines


@pytest.fixture
def run(database: Database, tmp_path: Path) -> Run:
    with database.session_scope() as session:
        make_base(session, tmp_path)
        return make_run(session, tmp_path, done=False)


@on_sqlite
@pytest.mark.parametrize(("steps", "most"), [(7, 7), (STEP_LINES, STEP_LINES), (100_000, STEP_LINES + 1)])
def test_of_many_steps_few_have_a_line(database: Database, run: Run, steps: int, most: int) -> None:
    lines = RunLines()
    lines.hear(events.Started(total_steps=steps, **STARTED), NOW)
    for number in range(1, steps + 1):
        lines.hear(step(number), NOW + timedelta(seconds=number))
    with database.session_scope() as session:
        lines.store(session, session.get_one(Run, run.id))
    told = [line for line in lines_of(database, run) if line.text.startswith("step ")]
    assert len(told) == most
    assert told[0].text.startswith("step 1 ")
    assert told[-1].text.startswith(f"step {steps} ")
    assert told[-1].at == NOW + timedelta(seconds=steps)


@on_sqlite
def test_what_is_stored_is_stored_once(database: Database, run: Run) -> None:
    lines = RunLines()
    lines.hear(events.Warned("too long"), NOW)
    lines.hear(events.Keeping(3), NOW)
    lines.hear(events.Previewed(()), NOW)
    for _ in range(2):
        with database.session_scope() as session:
            lines.store(session, session.get_one(Run, run.id))
        lines.stored()
    assert [(line.kind, line.text) for line in lines_of(database, run)] == [(LineKind.WARNING, "too long")]


def test_a_training_is_told_from_its_beginning(database: Database, tiny: Tiny, home: Path) -> None:
    with database.session_scope() as session:
        add_tiny_base(session, tiny)
        run = launch_tiny_run(session, tiny, home)
    taken = claim(run.job_id, worker="here")
    train.run(taken, lambda: False)
    with database.session_scope() as session:
        taken.end(session, JobState.DONE)
    told = [line.text for line in lines_of(database, run)]
    assert told[0] == "attempt 1"
    assert told[-1] == "done"
    beginnings = ("training ", "validation, the base itself", "step 1 ", "step 4 ", "saved epoch-1", "saved epoch-2")
    assert [one for one in beginnings if not any(text.startswith(one) for text in told)] == []
    times = [line.at for line in lines_of(database, run)]
    assert times == sorted(times)


def test_a_lost_worker_is_told(database: Database, run: Run) -> None:
    claim(run.job_id, worker="here")
    with database.session_scope() as session:
        requeue(session, session.get_one(Job, run.job_id), reason="The process was ended by SIGKILL.", now=NOW)
    (line,) = lines_of(database, run)
    assert (line.kind, line.text) == (LineKind.WARNING, "The process was ended by SIGKILL.")
