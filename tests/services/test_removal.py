"""Deleting checkpoints: never one that a result depends on, and no weights before the commit."""

import os
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import select
from sqlalchemy.orm import Session

from app.db import Database
from app.domain.errors import ConflictError
from app.domain.terms import CheckpointKind, JobState, Keep
from app.models import Checkpoint, Intake, Job, Run
from app.services.checkpoints import register_adapter
from app.services.intake import TakenIn, accept, add_intake
from app.services.removal import (
    clean_run,
    clear_broken_uploads,
    delete_checkpoint,
    forget_upload,
    keep_only,
    why_not,
)
from tests.factories import NOW, make_base, make_run, make_study, saved_adapter, sha256
from tests.fixtures import on_sqlite
from tests.services.test_intake import kept

pytestmark = on_sqlite


@pytest.fixture
def artifacts(tmp_path: Path) -> Path:
    return tmp_path / "artifacts"


def adapter_in(session: Session, run: Run, folder: Path, step: int, loss: float | None = None) -> Checkpoint:
    folder.mkdir(parents=True)
    (folder / "weights").write_bytes(b"x")
    saved = saved_adapter(
        sha256(str(step)), label=f"step-{step}", step=step, folder=str(folder), validation_loss=loss, is_last=False
    )
    return register_adapter(session, run, saved, now=NOW)


@pytest.fixture
def trained(database: Database, tmp_path: Path, artifacts: Path) -> Run:
    """A finished run with three checkpoints, the second of them the best."""
    with database.session_scope() as session:
        make_base(session, tmp_path)
        run = make_run(session, tmp_path, name="mine")
        for step, loss in ((1, 2.0), (2, 1.0), (3, 1.5)):
            adapter_in(session, run, artifacts / f"runs/{step}", step, loss)
    return run


def names(database: Database) -> list[str]:
    with database.session_scope(write=False) as session:
        adapters = select(Checkpoint.name).where(Checkpoint.kind == CheckpointKind.ADAPTER).order_by(Checkpoint.step)
        return list(session.scalars(adapters))


def folders(artifacts: Path) -> list[str]:
    return sorted(folder.name for folder in (artifacts / "runs").iterdir())


def the(session: Session, name: str) -> Checkpoint:
    return session.scalars(select(Checkpoint).where(Checkpoint.name == name)).one()


def test_a_clean_up_keeps_the_best(database: Database, trained: Run, artifacts: Path) -> None:
    with database.session_scope() as session:
        done = clean_run(session, trained, artifacts=artifacts, now=NOW)
        assert folders(artifacts) == ["1", "2", "3"]
    assert done.removed == ("mine/step-1", "mine/step-3")
    assert [(stays.name, stays.reason) for stays in done.kept] == [
        ("mine/step-2", "its validation loss is the lowest, 1.0000 nats per token")
    ]
    assert done.freed_bytes == 2_000
    assert names(database) == ["mine/step-2"]
    assert folders(artifacts) == ["2"]


def test_a_clean_up_may_keep_the_last_instead(database: Database, trained: Run, artifacts: Path) -> None:
    with database.session_scope() as session:
        clean_run(session, trained, artifacts=artifacts, now=NOW, keep=Keep.LAST)
    assert names(database) == ["mine/step-3"]


def test_a_dry_run_changes_nothing(database: Database, trained: Run, artifacts: Path) -> None:
    with database.session_scope() as session:
        done = clean_run(session, trained, artifacts=artifacts, now=NOW, dry_run=True)
    assert done.removed == ("mine/step-1", "mine/step-3")
    assert (len(names(database)), folders(artifacts)) == (3, ["1", "2", "3"])


def test_without_validation_the_last_is_the_best(database: Database, tmp_path: Path, artifacts: Path) -> None:
    with database.session_scope() as session:
        make_base(session, tmp_path)
        run = make_run(session, tmp_path, name="mine")
        for step in (1, 2):
            adapter_in(session, run, artifacts / f"runs/{step}", step)
        assert clean_run(session, run, artifacts=artifacts, now=NOW).removed == ("mine/step-1",)


def test_a_rollback_costs_no_weights(database: Database, trained: Run, artifacts: Path) -> None:
    with database.session_scope() as session:
        clean_run(session, trained, artifacts=artifacts, now=NOW)
        session.rollback()
    assert (len(names(database)), folders(artifacts)) == (3, ["1", "2", "3"])


def test_while_it_trains_nothing_is_deleted(database: Database, trained: Run, artifacts: Path) -> None:
    with database.session_scope() as session:
        session.get_one(Job, trained.job_id).state = JobState.RUNNING
        with pytest.raises(ConflictError, match="mine is still training"):
            clean_run(session, trained, artifacts=artifacts, now=NOW)
        with pytest.raises(ConflictError, match="mine is still training"):
            delete_checkpoint(session, the(session, "mine/step-1"), artifacts=artifacts, now=NOW)


def test_its_own_job_keeps_what_the_recipe_says_and_what_a_result_depends_on(
    database: Database, tmp_path: Path, artifacts: Path
) -> None:
    with database.session_scope() as session:
        study = make_study(session, tmp_path, name="study")
        adapter = study.adapters[0]
        run = session.get_one(Run, adapter.run_id)
        session.get_one(Job, run.job_id).state = JobState.RUNNING
        for step, loss in ((98, 0.2), (99, 0.1)):
            adapter_in(session, run, artifacts / f"runs/{step}", step, loss)
        done = keep_only(session, run, artifacts=artifacts, now=NOW, keep=Keep.BEST)
    assert done.removed == (f"{run.name}/step-98",)
    assert {stays.name for stays in done.kept} == {adapter.name, f"{run.name}/step-99"}
    assert folders(artifacts) == ["99"]


def test_one_that_a_result_depends_on_stays_and_names_it(database: Database, tmp_path: Path, artifacts: Path) -> None:
    with database.session_scope() as session:
        study = make_study(session, tmp_path, name="study")
        adapter = study.adapters[0]
        run = session.get_one(Run, adapter.run_id)
        adapter_in(session, run, artifacts / "runs/99", 99, 0.1)
    with database.session_scope() as session:
        with pytest.raises(ConflictError, match=r"was not deleted: it takes part in the eval batch study\."):
            delete_checkpoint(session, the(session, adapter.name), artifacts=artifacts, now=NOW)
        done = clean_run(session, session.get_one(Run, run.id), artifacts=artifacts, now=NOW)
        assert done.removed == ()
        assert {stays.name for stays in done.kept} == {adapter.name, f"{run.name}/step-99"}
        bare = session.scalars(select(Checkpoint).where(Checkpoint.kind == CheckpointKind.BASE)).one()
        assert "bare base model" in why_not(session, bare)


def test_what_a_link_points_to_is_not_deleted(database: Database, tmp_path: Path, artifacts: Path) -> None:
    with database.session_scope() as session:
        make_base(session, tmp_path)
        run = make_run(session, tmp_path, name="mine")
        elsewhere = adapter_in(session, run, tmp_path / "elsewhere", 1)
        linked = adapter_in(session, run, tmp_path / "precious", 2)
        link = artifacts / "runs/link"
        link.parent.mkdir(parents=True)
        link.symlink_to(tmp_path / "precious")
        linked.folder = str(link)
        delete_checkpoint(session, elsewhere, artifacts=artifacts, now=NOW)
        delete_checkpoint(session, linked, artifacts=artifacts, now=NOW)
    assert not link.is_symlink()
    assert (tmp_path / "precious/weights").exists()
    assert (tmp_path / "elsewhere/weights").exists()


def test_a_folder_that_two_checkpoints_share_stays(database: Database, trained: Run, artifacts: Path) -> None:
    with database.session_scope() as session:
        the(session, "mine/step-3").folder = the(session, "mine/step-1").folder
        delete_checkpoint(session, the(session, "mine/step-3"), artifacts=artifacts, now=NOW)
    assert folders(artifacts) == ["1", "2", "3"]


def test_an_upload_outlives_its_checkpoint(database: Database, tmp_path: Path, artifacts: Path) -> None:
    with database.session_scope() as session:
        base = make_base(session, tmp_path)
        intake = add_intake(session, kept(artifacts), now=NOW, name="mine")
        taken = TakenIn(base.id, str(artifacts / "checkpoints/mine"), sha256("a"), 10, {"passed": True})
        delete_checkpoint(session, accept(session, intake, taken, now=NOW), artifacts=artifacts, now=NOW)
    with database.session_scope(write=False) as session:
        assert session.get_one(Intake, intake.id).checkpoint_id is None


def test_an_upload_is_forgotten_with_its_files_once_nobody_checks_it(
    database: Database, tmp_path: Path, artifacts: Path
) -> None:
    with database.session_scope() as session:
        make_base(session, tmp_path)
        intake = add_intake(session, kept(artifacts), now=NOW, name="mine")
        with pytest.raises(ConflictError, match="mine is still being checked"):
            forget_upload(session, intake, artifacts=artifacts)
        session.get_one(Job, intake.job_id).state = JobState.FAILED
    assert Path(intake.folder).exists()
    with database.session_scope() as session:
        forget_upload(session, session.get_one(Intake, intake.id), artifacts=artifacts)
    assert not Path(intake.folder).exists()
    with database.session_scope(write=False) as session:
        assert session.get(Intake, intake.id) is None


def test_an_upload_that_was_killed_on_the_way_goes_after_a_day_and_no_other(
    database: Database, tmp_path: Path, artifacts: Path
) -> None:
    stored = kept(artifacts)
    old, young, growing = (artifacts / "uploads" / name for name in ("old", "young", "growing"))
    for folder in (old, young, growing):
        folder.mkdir()
        (folder / "0").write_bytes(b"half")
    late = NOW + timedelta(days=2)
    for path in (old, old / "0", stored.folder, stored.folder / "0", growing):
        os.utime(path, (NOW.timestamp(), NOW.timestamp()))
    for path in (young, young / "0", growing / "0"):
        os.utime(path, (late.timestamp(), late.timestamp()))
    with database.session_scope() as session:
        make_base(session, tmp_path)
        add_intake(session, stored, now=NOW, name="mine")
        assert clear_broken_uploads(session, artifacts=artifacts, now=late) == 1
        assert old.is_dir(), "nothing goes before the commit"
    assert {folder.name for folder in (artifacts / "uploads").iterdir()} == {"growing", "young", stored.folder.name}
