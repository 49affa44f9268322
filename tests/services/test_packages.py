"""Packages: one of each form, and gone with their checkpoint."""

from pathlib import Path

import pytest
from sqlalchemy import select

from app.db import Database
from app.domain.errors import ConflictError
from app.domain.terms import BaseModelState, NumberFormat, PackageKind
from app.models import BaseModel, Checkpoint, Job, Package
from app.queries.lookup import base_of
from app.queries.packages import packages_of
from app.services.packages import ask_for_package, packed
from app.services.removal import delete_checkpoint, delete_package
from tests.factories import NOW, finish_job, make_adapter, make_base


@pytest.fixture
def checkpoint(database: Database, tmp_path: Path) -> Checkpoint:
    with database.session_scope() as session:
        make_base(session, tmp_path)
        return make_adapter(session, tmp_path)


def ask(database: Database, checkpoint: Checkpoint, kind: PackageKind, form: NumberFormat) -> Package:
    with database.session_scope() as session:
        return ask_for_package(session, checkpoint, kind, card="card", now=NOW, number_format=form)


def done(database: Database, package: Package, folder: Path) -> Package:
    folder.mkdir(parents=True)
    with database.session_scope() as session:
        stored = session.get_one(Package, package.id)
        finish_job(session, session.get_one(Job, stored.job_id))
        packed(session, stored, folder=folder, size_bytes=12, off=1e-6, now=NOW)
        return stored


def test_there_is_one_of_each_form(database: Database, checkpoint: Checkpoint) -> None:
    for kind in PackageKind:
        for form in NumberFormat:
            assert ask(database, checkpoint, kind, form).id == ask(database, checkpoint, kind, form).id
    with database.session_scope(write=False) as session:
        rows = packages_of(session, checkpoint.id).rows
        assert {(row.kind, row.number_format) for row in rows} == {
            (PackageKind.ADAPTER, NumberFormat.FLOAT32),
            (PackageKind.GGUF, NumberFormat.FLOAT32),
            *((PackageKind.MERGED, form) for form in NumberFormat),
        }
        assert len(session.scalars(select(Job.id).where(Job.subject_id.in_([row.id for row in rows]))).all()) == 5


def test_one_that_is_ready_is_not_made_again(database: Database, checkpoint: Checkpoint, tmp_path: Path) -> None:
    package = ask(database, checkpoint, PackageKind.GGUF, NumberFormat.FLOAT32)
    done(database, package, tmp_path / "artifacts/packages/one")
    again = ask(database, checkpoint, PackageKind.GGUF, NumberFormat.FLOAT32)
    assert (again.id, again.job_id, again.ready_at) == (package.id, package.job_id, NOW)


def test_what_has_no_adapter_is_not_packed(database: Database, checkpoint: Checkpoint) -> None:
    with database.session_scope() as session:
        bare = base_of(session, checkpoint)
        with pytest.raises(ConflictError, match="has no adapter of its own"):
            ask_for_package(session, bare, PackageKind.MERGED, card="", now=NOW)
        session.get_one(BaseModel, checkpoint.base_model_id).state = BaseModelState.FAILED
        with pytest.raises(ConflictError, match="base model tiny is not on this machine"):
            ask_for_package(session, checkpoint, PackageKind.MERGED, card="", now=NOW)


def test_deleting_a_package_leaves_the_checkpoint(database: Database, checkpoint: Checkpoint, tmp_path: Path) -> None:
    package = ask(database, checkpoint, PackageKind.ADAPTER, NumberFormat.FLOAT32)
    artifacts = tmp_path / "artifacts"
    with pytest.raises(ConflictError, match="still being made"), database.session_scope() as session:
        delete_package(session, session.get_one(Package, package.id), artifacts=artifacts, now=NOW)
    folder = Path(done(database, package, artifacts / "packages/one").folder)
    with database.session_scope() as session:
        delete_package(session, session.get_one(Package, package.id), artifacts=artifacts, now=NOW)
        assert folder.is_dir(), "nothing goes before the commit"
    assert not folder.exists()
    with database.session_scope(write=False) as session:
        assert session.get(Checkpoint, checkpoint.id) is not None
        assert packages_of(session, checkpoint.id).rows == ()


def test_packages_go_with_their_checkpoint(database: Database, checkpoint: Checkpoint, tmp_path: Path) -> None:
    artifacts = tmp_path / "artifacts"
    package = ask(database, checkpoint, PackageKind.ADAPTER, NumberFormat.FLOAT32)
    folder = Path(done(database, package, artifacts / "packages/one").folder)
    with database.session_scope() as session:
        delete_checkpoint(session, session.get_one(Checkpoint, checkpoint.id), artifacts=artifacts, now=NOW)
    assert not folder.exists()
    with database.session_scope(write=False) as session:
        assert session.scalars(select(Package)).all() == []
