"""A run through a real worker: cancelled from outside, and jobs that fail with a sentence instead of a traceback."""

from pathlib import Path

from sqlalchemy import select

from app.db import Database
from app.domain.recipes import read_recipe
from app.domain.terms import JobState, Split
from app.models import Checkpoint, RunMetric
from app.services.runs import cancel_run, launch_run
from tests.factories import NOW
from tests.processes import OwnArena, wait_for
from tests.tiny_arena import Tiny, copy_adapter, ended, job_of, launch_tiny_batch, texts
from training.checkpoint import verify_checkpoint


def test_a_cancel_takes_effect_and_saves_and_a_changed_adapter_is_refused(
    arena: OwnArena, database: Database, tiny: Tiny
) -> None:
    link = arena.home / "current"
    link.symlink_to(copy_adapter(tiny, arena.home / "honest"))
    batch = launch_tiny_batch(database, tiny, arena.home, adapter=link)
    endless = arena.home / "endless.toml"
    endless.write_text(
        tiny.recipe.read_text(encoding="utf-8").replace(
            "num_train_epochs = 2", 'max_steps = 100000\nsave_strategy = "end"'
        )
    )
    with database.session_scope() as session:
        run = launch_run(session, read_recipe(endless), now=NOW, name="endless")
    link.unlink()
    link.symlink_to(arena.home / "elsewhere")

    def losses() -> int:
        with database.session_scope(write=False) as session:
            steps = select(RunMetric.id).where(RunMetric.run_id == run.id, RunMetric.split == Split.TRAIN)
            return len(session.scalars(steps).all())

    with arena.running("worker", "--queue", "gpu"):
        wait_for(lambda: ended(database, batch), "the generation to be refused")
        wait_for(lambda: losses() > 0 or ended(database, run), "the first losses")
        with database.session_scope() as session:
            cancel_run(session, run, now=NOW)
        wait_for(lambda: ended(database, run), "the run to stop")

    refused = job_of(database, batch)
    assert refused.state is JobState.FAILED
    assert str(link) in refused.error
    assert "Traceback" not in refused.error
    assert texts(database) == {}

    cancelled = job_of(database, run)
    assert (cancelled.state, cancelled.error) == (JobState.CANCELLED, "")
    with database.session_scope(write=False) as session:
        (saved,) = session.scalars(select(Checkpoint).where(Checkpoint.run_id == run.id))
    assert saved.step == losses() == cancelled.done
    verify_checkpoint(Path(saved.folder), saved.fingerprint)
    assert arena.processes() == []
