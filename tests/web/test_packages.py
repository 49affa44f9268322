"""Packages on the page of a checkpoint, and as downloads."""

import io
import zipfile
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from sqlalchemy import select

from app.domain.terms import CheckpointKind, NumberFormat, PackageKind
from app.models import Checkpoint, Job, Package
from app.services.packages import packed
from app.web.model_card import card_for_package
from app.web.zipped import zipped
from tests.factories import NOW, Study, finish_job
from tests.fixtures import on_sqlite


def packages(app: FastAPI) -> list[Package]:
    with app.state.database.session_scope(write=False) as session:
        return list(session.scalars(select(Package)))


def finished(app: FastAPI, package: Package, folder: Path) -> None:
    """As a worker leaves it."""
    folder.mkdir(parents=True)
    (folder / "README.md").write_text(package.card, encoding="utf-8")
    (folder / "model.safetensors").write_bytes(bytes(range(256)) * 10_000)
    with app.state.database.session_scope() as session:
        stored = session.get_one(Package, package.id)
        finish_job(session, session.get_one(Job, stored.job_id))
        packed(session, stored, folder=folder, size_bytes=2_560_000, off=2e-6, now=NOW)


@on_sqlite
def test_a_package_is_asked_for_watched_and_downloaded(
    app: FastAPI, admin: TestClient, study: Study, tmp_path: Path
) -> None:
    page = f"/checkpoints/{study.adapters[0].id}"
    answer = admin.post(f"{page}/packages", data={"package": "merged-bfloat16"}, follow_redirects=False)
    assert (answer.status_code, answer.headers["location"]) == (303, f"{page}#elsewhere")
    (package,) = packages(app)
    assert (package.kind, package.number_format) == (PackageKind.MERGED, NumberFormat.BFLOAT16)
    assert 'library_name: "transformers"' in package.card
    assert ", merged into its base in bfloat16." in package.card
    address = f"/packages/{package.id}/download"
    assert address not in admin.get(page).text
    assert "is not ready yet" in admin.get(address).text
    finished(app, package, tmp_path / "artifacts/packages/one")
    assert address in admin.get(page).text
    assert address in admin.get(f"{page}/packages").text
    answer = admin.get(address)
    assert answer.headers["content-disposition"] == 'attachment; filename="brie-v1-epoch-2-merged-bfloat16.zip"'
    with zipfile.ZipFile(io.BytesIO(answer.content)) as archive:
        assert archive.testzip() is None
        name = "brie-v1-epoch-2-merged-bfloat16"
        assert archive.namelist() == [f"{name}/README.md", f"{name}/model.safetensors"]
        assert archive.read(f"{name}/model.safetensors") == bytes(range(256)) * 10_000
    admin.post(f"/packages/{package.id}/delete")
    assert packages(app) == []
    assert not (tmp_path / "artifacts/packages/one").exists()


@on_sqlite
def test_a_folder_that_is_gone_is_said(app: FastAPI, admin: TestClient, study: Study, tmp_path: Path) -> None:
    admin.post(f"/checkpoints/{study.adapters[0].id}/packages", data={"package": "gguf"})
    (package,) = packages(app)
    finished(app, package, tmp_path / "one")
    (tmp_path / "one").rename(tmp_path / "two")
    answer = admin.get(f"/packages/{package.id}/download")
    assert (answer.status_code, "is gone" in answer.text) == (409, True)


@on_sqlite
def test_a_bare_base_offers_none(app: FastAPI, admin: TestClient, study: Study) -> None:
    with app.state.database.session_scope(write=False) as session:
        bare = session.scalars(select(Checkpoint).where(Checkpoint.kind == CheckpointKind.BASE)).one()
    assert "Use it elsewhere" not in admin.get(f"/checkpoints/{bare.id}").text
    assert admin.post(f"/checkpoints/{bare.id}/packages").status_code == 409
    assert admin.post(f"/checkpoints/{bare.id}/packages", data={"package": "pickle"}).status_code == 422
    assert packages(app) == []


@on_sqlite
@pytest.mark.parametrize("kind", PackageKind)
def test_the_card_of_an_adapter_from_elsewhere_says_what_is_known(
    app: FastAPI, study: Study, kind: PackageKind
) -> None:
    with app.state.database.session_scope() as session:
        adapter = session.get_one(Checkpoint, study.adapters[0].id)
        adapter.run_id = None
        session.flush()
        card = card_for_package(session, adapter, kind)
    front: dict[str, Any] = pytest.importorskip("yaml").safe_load(card.split("---\n")[1])
    libraries = {PackageKind.ADAPTER: "peft", PackageKind.MERGED: "transformers", PackageKind.GGUF: "gguf"}
    assert front["library_name"] == libraries[kind]
    assert (front["base_model"], f"`{adapter.fingerprint}`" in card) == ("tiny", True)
    assert "that was trained elsewhere" in card


def test_an_archive_is_made_in_pieces_and_not_in_one(tmp_path: Path) -> None:
    (tmp_path / "weights").write_bytes(b"x" * 5_000_000)
    pieces = list(zipped(tmp_path, "a"))
    assert max(map(len, pieces)) < 1_100_000
    with zipfile.ZipFile(io.BytesIO(b"".join(pieces))) as archive:
        assert archive.read("a/weights") == b"x" * 5_000_000
