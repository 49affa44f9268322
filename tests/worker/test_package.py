"""Packing a checkpoint, done in this process on a tiny model."""

import shutil
import uuid
from pathlib import Path

import pytest
from sqlalchemy import select

from app.db import Database
from app.domain.errors import ConflictError, NotFoundError
from app.domain.terms import CheckpointKind, JobState, NumberFormat, PackageKind
from app.models import BaseModel, Checkpoint, Job, Package
from app.services.packages import ask_for_package
from app.services.removal import delete_checkpoint
from tests.factories import NOW
from tests.fakes.tiny_model import make_tiny_model
from tests.fixtures import on_sqlite
from tests.tiny_arena import Tiny, add_tiny_base, copy_adapter, launch_tiny_batch
from training.errors import AdapterError, Cancelled
from training.fingerprint import fingerprint_adapter
from worker import package
from worker.claim import Claim, claim

pytestmark = on_sqlite


def never() -> bool:
    return False


@pytest.fixture
def checkpoint(database: Database, tiny: Tiny, home: Path) -> Checkpoint:
    """An adapter of its own folder that no result depends on."""
    folder = copy_adapter(tiny, home / "artifacts/checkpoints/mine")
    with database.session_scope() as session:
        base = add_tiny_base(session, tiny)
        made = Checkpoint(
            name="mine", kind=CheckpointKind.ADAPTER, base_model_id=base.id, run_id=None, step=None, epoch=None,
            fingerprint=fingerprint_adapter(folder), folder=str(folder), validation_loss=None, effect=None, origin=None,
            created_at=NOW,
        )  # fmt: skip
        session.add(made)
        return made


def asked(database: Database, checkpoint: Checkpoint, kind: PackageKind) -> tuple[uuid.UUID, Claim]:
    with database.session_scope() as session:
        made = ask_for_package(session, checkpoint, kind, card="# Card\n", now=NOW, number_format=NumberFormat.BFLOAT16)
    assert made.job_id is not None
    taken = claim(made.job_id, worker="here")
    assert taken is not None
    return made.id, taken


@pytest.mark.parametrize("kind", PackageKind)
def test_a_package_is_written_and_told(database: Database, checkpoint: Checkpoint, kind: PackageKind) -> None:
    package_id, taken = asked(database, checkpoint, kind)
    package.run(taken, never)
    with database.session_scope(write=False) as session:
        done = session.get_one(Package, package_id)
        assert done.ready_at is not None
        assert done.size_bytes == sum(file.stat().st_size for file in Path(done.folder).iterdir())
        assert (Path(done.folder) / "README.md").read_text() == "# Card\n"
        assert (done.off is not None) == (kind is PackageKind.MERGED)
        expected = NumberFormat.BFLOAT16 if kind is PackageKind.MERGED else NumberFormat.FLOAT32
        assert done.number_format is expected
        assert session.get_one(Job, taken.job_id).title.startswith("Pack mine ")


def test_a_checkpoint_that_trained_here_is_packed_as_well(database: Database, tiny: Tiny, home: Path) -> None:
    launch_tiny_batch(database, tiny, home)
    with database.session_scope(write=False) as session:
        trained = session.scalars(select(Checkpoint).where(Checkpoint.kind == CheckpointKind.ADAPTER)).one()
    package_id, taken = asked(database, trained, PackageKind.ADAPTER)
    package.run(taken, never)
    with database.session_scope(write=False) as session:
        folder = Path(session.get_one(Package, package_id).folder)
    assert fingerprint_adapter(folder) == trained.fingerprint


def test_weights_that_changed_are_not_packed(database: Database, checkpoint: Checkpoint, home: Path) -> None:
    _, taken = asked(database, checkpoint, PackageKind.MERGED)
    weights = Path(checkpoint.folder) / "adapter_model.safetensors"
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    with pytest.raises(AdapterError, match="weights changed since it was registered"):
        package.run(taken, never)
    assert not (home / "artifacts/packages").exists()


def test_a_base_that_was_exchanged_is_not_merged(database: Database, checkpoint: Checkpoint, home: Path) -> None:
    exchanged = make_tiny_model(home / "exchanged", seed=1)
    with database.session_scope() as session:
        session.get_one(BaseModel, checkpoint.base_model_id).folder = str(exchanged)
    _, taken = asked(database, checkpoint, PackageKind.MERGED)
    with pytest.raises(ConflictError, match="holds weights other than when it was added"):
        package.run(taken, never)


def test_packing_stops_when_it_is_told_to(database: Database, checkpoint: Checkpoint, home: Path) -> None:
    package_id, taken = asked(database, checkpoint, PackageKind.MERGED)
    with pytest.raises(Cancelled):
        package.run(taken, lambda: True)
    assert list((home / "artifacts/packages").iterdir()) == []
    with database.session_scope(write=False) as session:
        assert session.get_one(Package, package_id).ready_at is None


def test_a_package_of_a_checkpoint_that_is_gone_is_not_made(
    database: Database, checkpoint: Checkpoint, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Deleted while it was written: nothing that nobody knows of stays on the disk."""
    _, taken = asked(database, checkpoint, PackageKind.ADAPTER)
    original = package.pack

    def written(*arguments: object, **named: object) -> object:
        done = original(*arguments, **named)  # type: ignore[arg-type]
        with database.session_scope() as session:
            found = session.get_one(Checkpoint, checkpoint.id)
            delete_checkpoint(session, found, artifacts=home / "artifacts", now=NOW)
        return done

    monkeypatch.setattr(package, "pack", written)
    with pytest.raises(NotFoundError, match="no such package"):
        package.run(taken, never)
    assert list((home / "artifacts/packages").iterdir()) == []
    assert not Path(checkpoint.folder).exists()


def test_a_folder_that_was_lost_is_written_again(database: Database, checkpoint: Checkpoint) -> None:
    package_id, taken = asked(database, checkpoint, PackageKind.ADAPTER)
    package.run(taken, never)
    with database.session_scope() as session:
        taken.end(session, JobState.DONE)
        folder = Path(session.get_one(Package, package_id).folder)
    shutil.rmtree(folder)
    again_id, again = asked(database, checkpoint, PackageKind.ADAPTER)
    package.run(again, never)
    assert (again_id, again.job_id != taken.job_id) == (package_id, True)
    assert (folder / "adapter_model.safetensors").is_file()
