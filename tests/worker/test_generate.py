"""The generation job, done in this process on a tiny model."""

import uuid
from collections.abc import Callable
from pathlib import Path

import pytest
from sqlalchemy import select

from app import jobs
from app.config import get_settings
from app.db import Database, get_database, migrate
from app.domain.errors import ConflictError, UnavailableError
from app.domain.terms import JobState, PairKind
from app.models import BaseModel, Checkpoint, EvalBatch, Pair, Response
from tests.factories import NOW, RULES
from tests.fakes.tiny_model import make_tiny_model
from tests.fixtures import on_sqlite
from tests.processes import process_settings
from tests.tiny_arena import Tiny, copy_adapter, job_of, launch_tiny_batch, pair_count, texts
from training.errors import AdapterError, Cancelled
from training.fingerprint import fingerprint_adapter
from worker import generate
from worker.claim import Claim, LostJobError, claim, requeue

PROMPTS = 12
PLANNED = 2 * PROMPTS


def never() -> bool:
    return False


def claimed(batch: EvalBatch) -> Claim:
    assert batch.job_id is not None
    taken = claim(batch.job_id, worker="here")
    assert taken is not None
    return taken


def once_stored(database: Database, count: int) -> Callable[[], bool]:
    """Says stop as soon as so many responses are in the database."""
    return lambda: len(texts(database)) >= count


@pytest.fixture(scope="session")
def uninterrupted(tiny: Tiny, tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[int, str], str]:
    """The texts of the same plan written at one go, a few at a time, in another arena."""
    home = tmp_path_factory.mktemp("elsewhere")
    with process_settings(home, generate_batch_size="3") as settings:
        migrate(settings.database)
        again = launch_tiny_batch(get_database(), tiny, home, prompts=PROMPTS)
        generate.run(claimed(again), never)
        return {key: text for key, (_, text) in texts(get_database()).items()}


@pytest.fixture
def batch(database: Database, tiny: Tiny, home: Path) -> EvalBatch:
    return launch_tiny_batch(database, tiny, home, prompts=PROMPTS)


def test_every_planned_response_and_every_pair_is_there_once(database: Database, batch: EvalBatch) -> None:
    generate.run(claimed(batch), never)
    assert len(texts(database)) == batch.planned_responses == PLANNED
    assert pair_count(database, batch) == batch.planned_pairs == PROMPTS
    job = job_of(database, batch)
    assert (job.done, job.total) == (PLANNED, PLANNED)
    with database.session_scope(write=False) as session:
        engines = set(session.scalars(select(Response.engine)))
        fingerprints = set(session.scalars(select(Response.fingerprint)))
    assert len(engines) == 1
    assert len(fingerprints) == 2


def test_placebo_pairs_are_written_with_the_rest_and_differ(database: Database, tiny: Tiny, home: Path) -> None:
    batch = launch_tiny_batch(database, tiny, home, prompts=6, placebo_pairs=4)
    generate.run(claimed(batch), never)
    assert len(texts(database)) == batch.planned_responses == 2 * 6 + 2 * 4
    with database.session_scope(write=False) as session:
        placebo = session.scalars(
            select(Pair).where(Pair.eval_batch_id == batch.id, Pair.kind == PairKind.PLACEBO)
        ).all()
        said = [
            (session.get_one(Response, pair.first_response_id), session.get_one(Response, pair.second_response_id))
            for pair in placebo
        ]
    assert len(placebo) == 4
    assert all(first.fingerprint == second.fingerprint and first.text != second.text for first, second in said)
    job = job_of(database, batch)
    assert (job.done, job.total) == (20, 20)


def test_doing_it_again_changes_nothing(database: Database, batch: EvalBatch) -> None:
    first = claimed(batch)
    generate.run(first, never)
    before = texts(database)
    first.give_back(reason="The process was killed right at the end.")
    generate.run(claimed(batch), never)
    assert texts(database) == before
    assert pair_count(database, batch) == PROMPTS


def test_a_stopped_job_keeps_its_responses_and_goes_on_to_the_same_texts(
    uninterrupted: dict[tuple[int, str], str],
    database: Database,
    batch: EvalBatch,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    few = get_settings().model_copy(update={"generate_batch_size": 8})  # some are not begun when it is stopped
    monkeypatch.setattr(generate, "get_settings", lambda: few)
    first = claimed(batch)
    with pytest.raises(Cancelled):
        generate.run(first, once_stored(database, 8))
    kept = texts(database)
    assert 8 <= len(kept) < PLANNED
    assert pair_count(database, batch) > 0
    first.give_back(reason="The worker was stopped.", counts=False)
    generate.run(claimed(batch), never)
    whole = texts(database)
    assert len(whole) == PLANNED
    assert kept.items() <= whole.items()
    assert pair_count(database, batch) == PROMPTS
    assert {key: text for key, (_, text) in whole.items()} == uninterrupted


def test_an_attempt_that_lost_its_job_stores_nothing_more(database: Database, batch: EvalBatch) -> None:
    lost = claimed(batch)

    def lose_it() -> bool:
        with database.session_scope() as session:
            job = session.get_one(type(job_of(database, batch)), batch.job_id)
            if job.attempt == lost.attempt and job.state is JobState.RUNNING:
                requeue(session, job, reason="silence", now=NOW)
        return False

    with pytest.raises(LostJobError):
        generate.run(lost, lose_it)
    assert texts(database) == {}
    generate.run(claimed(batch), never)
    assert len(texts(database)) == PLANNED


def test_a_second_batch_of_the_same_plan_reuses_every_response(
    database: Database, batch: EvalBatch, tiny: Tiny
) -> None:
    from app.domain.sampling import Sampling  # noqa: PLC0415
    from app.services import eval_batches  # noqa: PLC0415

    generate.run(claimed(batch), never)
    before = texts(database)
    with database.session_scope() as session:
        plan = eval_batches.LaunchPlan(
            suite="suite", challengers=("cheese/epoch-2",), sampling=Sampling(max_new_tokens=16)
        )
        second = eval_batches.launch(session, plan, secret=RULES.secret, now=NOW)
    generate.run(claimed(second), never)
    assert texts(database) == before
    assert pair_count(database, second) == PROMPTS


@on_sqlite
def test_a_link_that_points_to_other_weights_than_at_the_launch_is_refused(
    database: Database, tiny: Tiny, home: Path
) -> None:
    honest, other = copy_adapter(tiny, home / "honest"), copy_adapter(tiny, home / "other")
    change_weights(other)
    link = home / "current"
    link.symlink_to(honest)
    batch = launch_tiny_batch(database, tiny, home, adapter=link)
    link.unlink()
    link.symlink_to(other)
    with pytest.raises(AdapterError, match="weights changed since it was registered") as refusal:
        generate.run(claimed(batch), never)
    assert str(link) in refusal.value.message
    assert texts(database) == {}
    link.unlink()
    link.symlink_to(honest)
    again(database, batch)
    generate.run(claimed(batch), never)
    assert len(texts(database)) == batch.planned_responses


@on_sqlite
def test_an_adapter_whose_folder_is_gone_is_named(database: Database, tiny: Tiny, home: Path) -> None:
    folder = copy_adapter(tiny, home / "adapter")
    batch = launch_tiny_batch(database, tiny, home, adapter=folder)
    folder.rename(home / "elsewhere")
    with pytest.raises(AdapterError) as refusal:
        generate.run(claimed(batch), never)
    assert str(folder) in refusal.value.message
    assert texts(database) == {}


@on_sqlite
def test_a_base_model_that_was_exchanged_is_refused(database: Database, tiny: Tiny, home: Path) -> None:
    batch = launch_tiny_batch(database, tiny, home)
    point_base_to(database, make_tiny_model(home / "another", seed=1))
    with pytest.raises(ConflictError, match="base model tiny holds weights other than when it was added"):
        generate.run(claimed(batch), never)
    assert texts(database) == {}


@on_sqlite
def test_a_base_model_that_is_gone_is_one_sentence(database: Database, tiny: Tiny, home: Path) -> None:
    batch = launch_tiny_batch(database, tiny, home)
    point_base_to(database, home / "gone")
    with pytest.raises(UnavailableError, match=r"tiny is not on this machine.*\./arena models add"):
        generate.run(claimed(batch), never)
    assert texts(database) == {}


def point_base_to(database: Database, folder: Path) -> None:
    with database.session_scope() as session:
        session.scalars(select(BaseModel)).one().folder = str(folder)


def change_weights(folder: Path) -> None:
    """Another adapter of the same shape under the same name: what a stale link pointed to once."""
    import torch  # noqa: PLC0415
    from safetensors.torch import load_file, save_file  # noqa: PLC0415

    file = folder / "adapter_model.safetensors"
    before = fingerprint_adapter(folder)
    save_file({name: tensor + torch.full_like(tensor, 0.01) for name, tensor in load_file(file).items()}, file)
    assert fingerprint_adapter(folder) != before


def again(database: Database, batch: EvalBatch) -> None:
    """Fail the job, as ``worker.child`` does after an error, and try it again."""
    job_id: uuid.UUID | None = batch.job_id
    assert job_id is not None
    with database.session_scope() as session:
        jobs.finish(session, session.get_one(type(job_of(database, batch)), job_id), JobState.FAILED, now=NOW)
    with database.session_scope() as session:
        jobs.retry(session, job_id, now=NOW)
        assert session.scalars(select(Checkpoint.folder).where(Checkpoint.folder != "")).one()
