from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from app import jobs
from app.domain.errors import BadInputError, ConflictError, NotFoundError
from app.domain.recipes import with_data
from app.domain.terms import JobKind, JobState, Queue, Split
from app.models import Dataset, Event, Job, Run, RunMetric
from app.queries.datasets import dataset_page, dataset_rows
from app.queries.run_data import data_of
from app.queries.runs import run_rows
from app.services import runs
from app.services.base_models import add_base_model, fetch_base_model, mark_failed
from app.services.runs import Metric, launch_run
from tests.factories import NOW, finish_job, make_base, make_dataset, make_run, recipe
from tests.fixtures import on_sqlite


def job_of(session: Session, run: Run) -> Job:
    return session.get_one(Job, run.job_id)


def test_a_launched_run_is_frozen_and_queued(session: Session, tmp_path: Path) -> None:
    base = make_base(session, tmp_path)
    run = make_run(session, tmp_path, done=False)
    job = job_of(session, run)
    assert (run.name, run.recipe_name, run.recipe, run.base_model_id) == (
        "brie-v1", "brie-v1", recipe().content, base.id,
    )  # fmt: skip
    assert (job.kind, job.queue, job.state, job.waits_for_id) == (JobKind.TRAIN, Queue.GPU, JobState.QUEUED, None)
    assert session.get_one(Dataset, run.dataset_id).name == "lessons"
    assert ("run", run.id) in [(event.topic, event.subject_id) for event in session.scalars(select(Event))]


def test_the_name_of_a_recipe_is_numbered_when_it_is_taken(session: Session, tmp_path: Path) -> None:
    make_base(session, tmp_path)
    named = [make_run(session, tmp_path).name for _ in range(3)]
    assert named == ["brie-v1", "brie-v1.2", "brie-v1.3"]


def test_a_given_name_that_is_taken_is_refused(session: Session, tmp_path: Path) -> None:
    make_base(session, tmp_path)
    make_run(session, tmp_path, name="mine")
    with pytest.raises(ConflictError, match="'mine' already"):
        make_run(session, tmp_path, name="mine")
    assert session.scalar(select(func.count(Run.id))) == 1


@on_sqlite
def test_a_longer_name_with_the_same_beginning_takes_nothing(session: Session, tmp_path: Path) -> None:
    make_base(session, tmp_path)
    make_run(session, tmp_path, name="brie-v10")
    make_run(session, tmp_path, name="brie-v1.2")
    assert [make_run(session, tmp_path).name for _ in range(2)] == ["brie-v1", "brie-v1.3"]


def test_the_training_waits_for_the_job_that_brings_the_weights(session: Session, tmp_path: Path) -> None:
    model = add_base_model(session, "smollm2-135m", now=NOW)
    run = make_run(session, tmp_path, base="smollm2-135m", done=False)
    job, fetching = job_of(session, run), fetch_base_model(session, model, now=NOW)
    assert (job.waits_for_id, job.sent_at) == (fetching.id, None)
    assert fetching.title in job.message
    finish_job(session, fetching)
    assert (job.state, job.waits_for_id, job.sent_at, job.message) == (JobState.QUEUED, None, NOW, "")


@on_sqlite
@pytest.mark.parametrize(("ended", "word"), [(JobState.FAILED, "failed"), (JobState.CANCELLED, "was cancelled")])
def test_a_training_whose_weights_do_not_come_fails_with_the_reason(
    session: Session, tmp_path: Path, ended: JobState, word: str
) -> None:
    model = add_base_model(session, "smollm2-135m", now=NOW)
    run = make_run(session, tmp_path, base="smollm2-135m", done=False)
    jobs.finish(session, fetch_base_model(session, model, now=NOW), ended, now=NOW, error="No space left.")
    assert job_of(session, run).state is JobState.FAILED
    assert f"which {word}. No space left." in job_of(session, run).error


@on_sqlite
def test_a_base_model_that_failed_is_refused(session: Session, tmp_path: Path) -> None:
    mark_failed(make_base(session, tmp_path), "The folder is gone.")
    with pytest.raises(ConflictError, match="The folder is gone"):
        make_run(session, tmp_path)
    assert session.scalar(select(func.count(Run.id))) == 0


@on_sqlite
def test_what_a_run_needs_must_exist(session: Session, tmp_path: Path) -> None:
    make_base(session, tmp_path)
    with pytest.raises(NotFoundError, match="no dataset 'lessons'"):
        launch_run(session, recipe(), now=NOW)
    make_run(session, tmp_path)
    with pytest.raises(NotFoundError, match="no base model 'absent'"):
        launch_run(session, recipe(), base="absent", now=NOW)
    with pytest.raises(BadInputError, match="cannot be the name of a run"):
        launch_run(session, recipe(), name="../up", now=NOW)


@on_sqlite
def test_a_run_can_name_a_version_of_its_dataset(session: Session, tmp_path: Path) -> None:
    make_base(session, tmp_path)
    first = make_run(session, tmp_path).dataset_id
    assert launch_run(session, recipe(), dataset="lessons@1", now=NOW).dataset_id == first
    for absent in ("lessons@2", "lessons@²", f"lessons@{10**30}", "lessons@", "lessons@new"):
        with pytest.raises(NotFoundError):
            launch_run(session, recipe(), dataset=absent, now=NOW)
    assert session.scalar(select(func.count(Dataset.id))) == 1


def test_a_mix_is_frozen_with_the_versions_of_its_datasets(session: Session, tmp_path: Path) -> None:
    make_base(session, tmp_path)
    lessons = make_run(session, tmp_path).dataset_id
    notes = make_dataset(session, tmp_path, "notes")
    mix = {"lessons": 2.0, "notes": 0.5}
    asked = with_data(recipe(), mix)
    run, same = launch_run(session, asked, now=NOW), launch_run(session, recipe(), mix=mix, now=NOW)
    for one in (run, same):
        assert one.dataset_id == lessons
        assert one.recipe["mix"] == {"lessons@1": 2.0, "notes@1": 0.5}
        assert "dataset" not in one.recipe
        parts = data_of(session, one.id)
        assert [(part.dataset.id, part.weight) for part in parts] == [(lessons, 2.0), (notes.id, 0.5)]
    [row] = run_rows(session, Run.id == run.id)
    assert row.dataset == "lessons v1 x2 + notes v1 x0.5"
    rows = {one.name: one.runs for one in dataset_rows(session)}
    assert rows == {"lessons": 3, "notes": 2}
    assert [name for _, name in dataset_page(session, notes.id).runs] == [run.name, same.name]
    back = launch_run(session, asked, dataset="notes", now=NOW)
    assert (back.dataset_id, back.recipe["dataset"], "mix" in back.recipe) == (notes.id, "notes", False)
    assert [part.label for part in data_of(session, back.id)] == ["notes v1"]


@on_sqlite
def test_a_mix_of_what_is_not_there_or_is_there_twice_is_refused(session: Session, tmp_path: Path) -> None:
    make_base(session, tmp_path)
    make_run(session, tmp_path)
    with pytest.raises(NotFoundError, match="no dataset 'gone'"):
        launch_run(session, recipe(), mix={"lessons": 1, "gone": 1}, now=NOW)
    with pytest.raises(BadInputError, match="one version of a dataset twice"):
        launch_run(session, recipe(), mix={"lessons": 1, "lessons@1": 1}, now=NOW)


def test_a_sweep_launches_one_run_for_each_value(session: Session, tmp_path: Path) -> None:
    make_base(session, tmp_path)
    make_run(session, tmp_path)
    one = recipe()
    swept = replace(one, content={**one.content, "lora": {"r": [4, 8]}})
    launched = [*runs.launch_sweep(session, swept, now=NOW), *runs.launch_sweep(session, swept, now=NOW, name="mine")]
    assert [run.name for run in launched] == [f"{one.name}-r4", f"{one.name}-r8", "mine-r4", "mine-r8"]
    assert [run.recipe["lora"]["r"] for run in launched] == [4, 8, 4, 8]


def test_a_training_that_goes_on_keeps_what_was_told_up_to_there(session: Session, tmp_path: Path) -> None:
    make_base(session, tmp_path)
    run = make_run(session, tmp_path)
    runs.record(session, run, [Metric(Split.TRAIN, step, 0.1 * step, 2.0) for step in range(1, 6)], now=NOW)
    run.notes = "a warning"
    session.flush()
    runs.begin(session, run, device="cpu", dtype="float32", total_steps=9, trainable_parameters=9, resumed_step=3)
    assert list(session.scalars(select(RunMetric.step).order_by(RunMetric.step))) == [1, 2, 3]
    assert run.notes == "a warning"


def test_metrics_are_kept_until_the_training_begins_again(session: Session, tmp_path: Path) -> None:
    make_base(session, tmp_path)
    run = make_run(session, tmp_path)
    runs.record(session, run, [Metric(Split.TRAIN, 1, 0.1, 2.0, 1e-4, 50.0)], now=NOW)
    runs.record(session, run, [Metric(Split.VALIDATION, 1, 0.1, 2.5)], now=NOW)
    session.flush()
    assert session.scalar(select(func.count(RunMetric.id))) == 2
    runs.begin(session, run, device="cpu", dtype="float32", total_steps=5, trainable_parameters=9)
    assert session.scalar(select(func.count(RunMetric.id))) == 0
    assert (run.device, run.total_steps, run.notes) == ("cpu", 5, "")


@on_sqlite
def test_warnings_are_kept_one_a_line(session: Session, tmp_path: Path) -> None:
    make_base(session, tmp_path)
    run = make_run(session, tmp_path)
    run.notes = ""
    runs.note(run, "first")
    runs.note(run, "second")
    runs.note(run, "first")
    assert run.notes == "first\nsecond"


def test_a_queued_run_is_cancelled_at_once_and_only_once(session: Session, tmp_path: Path) -> None:
    make_base(session, tmp_path)
    run = make_run(session, tmp_path, done=False)
    assert runs.cancel_run(session, run, now=NOW).state is JobState.CANCELLED
    with pytest.raises(ConflictError, match="already ended"):
        runs.cancel_run(session, run, now=NOW)
