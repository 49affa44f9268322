"""``arena checkpoints export``: the files land in the folder that was named, whole or not at all."""

from pathlib import Path

import pytest
from sqlalchemy import select

from app.cli import packing
from app.db import Database
from app.models import Job, Package
from app.services.packages import packed
from tests.command_line import Command
from tests.factories import NOW, finish_job, make_adapter, make_base


@pytest.fixture
def _worker(monkeypatch: pytest.MonkeyPatch, database: Database, tmp_path: Path) -> None:
    """Does what the worker does as soon as a command follows its job; the packing itself is tested with it."""

    def follow(job_id: object) -> None:
        with database.session_scope() as session:
            package = session.scalars(select(Package).where(Package.job_id == job_id)).one()
            if package.ready_at is None:
                folder = tmp_path / "home/artifacts/packages" / package.id.hex
                folder.mkdir(parents=True)
                (folder / "README.md").write_text(package.card, encoding="utf-8")
                finish_job(session, session.get_one(Job, package.job_id))
                packed(session, package, folder=folder, size_bytes=1, off=2e-6, now=NOW)

    monkeypatch.setattr(packing, "follow", follow)


@pytest.mark.usefixtures("_worker")
def test_a_checkpoint_lands_in_the_folder_and_nothing_else_stays(
    arena: Command, database: Database, tmp_path: Path
) -> None:
    with database.session_scope() as session:
        make_base(session, tmp_path)
        make_adapter(session, tmp_path)
    out = tmp_path / "out"
    arguments = ("checkpoints", "export", "brie-v1/epoch-2", "--format", "merged", "--dtype", "float16", "--out", out)
    said = arena(*arguments)
    assert (said.code, said.err) == (0, "")
    assert said.out.splitlines() == [
        f"brie-v1/epoch-2 is in {out}",
        "Asked the same as base and adapter, its logits differ by 2.0e-06 of the largest.",
    ]
    assert [file.name for file in out.iterdir()] == ["README.md"]
    assert "merged into its base in float16" in (out / "README.md").read_text(encoding="utf-8")
    with database.session_scope(write=False) as session:
        assert session.scalars(select(Package)).all() == []
    said = arena(*arguments)
    assert (said.code, "holds something already" in said.err) == (1, True)
    assert arena("checkpoints", "export", "nobody", "--out", tmp_path / "new").code == 1
    assert not (tmp_path / "new").exists()
