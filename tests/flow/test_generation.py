"""Checkpoints → responses → pairs through real workers, on both brokers, whatever is killed meanwhile."""

from pathlib import Path

import pytest

from app.db import Database, get_database, migrate
from app.domain.terms import JobState
from app.models import EvalBatch
from tests.fixtures import on_postgres
from tests.processes import QUICK, OwnArena, process_settings, wait_for
from tests.tiny_arena import Tiny, ended, job_of, launch_tiny_batch, pair_count, texts

CHILD, CELERY = "worker.child", "celery"


def launch(database: Database, tiny: Tiny, home: Path) -> EvalBatch:
    """Long enough to be met in the middle, one response at a time."""
    return launch_tiny_batch(database, tiny, home, prompts=12, replicates=3, max_new_tokens=40)


@pytest.fixture(scope="module")
def uninterrupted(tiny: Tiny, tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[int, str], str]:
    """The texts of the same plan, written at one go in this process and in another database."""
    from worker import generate  # noqa: PLC0415
    from worker.claim import claim  # noqa: PLC0415

    home = tmp_path_factory.mktemp("uninterrupted")
    with process_settings(home) as settings:
        migrate(settings.database)
        batch = launch(get_database(), tiny, home)
        assert batch.job_id is not None
        taken = claim(batch.job_id, worker="here")
        assert taken is not None
        generate.run(taken, lambda: False)
        return {key: text for key, (_, text) in texts(get_database()).items()}


def some_are_stored(database: Database, batch: EvalBatch) -> None:
    wait_for(lambda: bool(texts(database)) or ended(database, batch), "the first responses")
    assert not ended(database, batch)


def assert_whole(
    database: Database,
    batch: EvalBatch,
    uninterrupted: dict[tuple[int, str], str],
    kept: dict[tuple[int, str], tuple[str, str]],
) -> None:
    """Every response and every pair is there once, what was stored early is untouched, no text differs."""
    job = job_of(database, batch)
    assert (job.state, job.error) == (JobState.DONE, "")
    assert (job.done, job.total) == (batch.planned_responses, batch.planned_responses)
    whole = texts(database)
    assert {key: text for key, (_, text) in whole.items()} == uninterrupted
    assert kept.items() <= whole.items()
    assert pair_count(database, batch) == batch.planned_pairs


def test_killing_worker_and_child_loses_nothing_and_duplicates_nothing(
    uninterrupted: dict[tuple[int, str], str], arena: OwnArena, database: Database, tiny: Tiny
) -> None:
    batch = launch(database, tiny, arena.home)
    with arena.running("worker", "--queue", "gpu"):
        some_are_stored(database, batch)
        assert len(arena.kill("")) >= 3  # ./arena worker, Celery, the child
    kept = texts(database)
    assert 0 < len(kept) < batch.planned_responses
    assert job_of(database, batch).state is JobState.RUNNING  # nobody was left to say otherwise
    faster = OwnArena.at(arena.home, **QUICK, generate_batch_size="16")
    with faster.running("worker"):
        wait_for(lambda: ended(database, batch), "the rest")
    assert job_of(database, batch).attempt == 2
    assert_whole(database, batch, uninterrupted, kept)
    assert arena.processes() == []


def test_a_child_notices_that_its_worker_was_killed(arena: OwnArena, database: Database, tiny: Tiny) -> None:
    batch = launch(database, tiny, arena.home)
    with arena.running("worker", "--queue", "gpu"):
        some_are_stored(database, batch)
        assert arena.processes(CHILD)
        arena.kill(CELERY)
        wait_for(lambda: not arena.processes(CHILD), "the child to stop")
    assert len(texts(database)) < batch.planned_responses
    assert job_of(database, batch).state is JobState.RUNNING


@on_postgres
def test_a_killed_child_is_followed_by_another_on_redis_and_postgres(
    uninterrupted: dict[tuple[int, str], str],
    arena: OwnArena,
    database_url: str,
    redis_url: str,
    tiny: Tiny,
) -> None:
    shared = {"database_url": database_url, "broker_url": redis_url}
    arena = OwnArena.at(arena.home, **QUICK, **shared, generate_batch_size="2")
    with process_settings(arena.home, **shared):
        database = get_database()
        batch = launch(database, tiny, arena.home)
        with arena.running("worker"):
            some_are_stored(database, batch)
            (killed,) = arena.kill(CHILD)
            wait_for(lambda: job_of(database, batch).attempt == 2, "the second attempt")
            kept = texts(database)
            wait_for(lambda: ended(database, batch), "the rest")
            assert killed not in arena.processes(CHILD)
        assert_whole(database, batch, uninterrupted, kept)
    assert not (arena.home / "broker").exists()
    assert arena.processes() == []
