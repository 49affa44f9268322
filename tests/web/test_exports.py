import io
import zipfile
from pathlib import Path

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from app.domain.terms import Role
from app.models import EvalBatch
from app.queries.exports import FORMATS
from app.queries.exports.writing import files
from app.services import eval_batches
from tests.factories import NOW, Study, client_for, make_account
from tests.fixtures import on_sqlite

pytestmark = on_sqlite


@pytest.fixture
def closed(app: FastAPI, study: Study) -> Study:
    with app.state.database.session_scope() as session:
        eval_batches.close(session, session.get_one(EvalBatch, study.batch.id), now=NOW)
    return study


@pytest.mark.parametrize("name", FORMATS)
def test_a_download_is_the_export(app: FastAPI, admin: TestClient, closed: Study, name: str) -> None:
    here, chosen = f"/batches/{closed.batch.id}/export/{name}", FORMATS[name]
    assert f'href="{here}"' in admin.get(f"/results/{closed.batch.id}").text
    sent = admin.get(here)
    assert sent.status_code == 200
    with app.state.database.session_scope(write=False) as session:
        expected = {file: "".join(text) for file, text in files(chosen.rows(session, closed.batch.id), chosen)}
    assert sent.headers["Content-Disposition"].endswith(f'filename="suite-1.{chosen.file or name + ".zip"}"')
    if chosen.file:
        assert sent.content.decode() == expected.get(chosen.file, "")
        return
    with zipfile.ZipFile(io.BytesIO(sent.content)) as archive:
        assert {file: archive.read(file).decode() for file in archive.namelist()} == expected


def test_only_of_closed_batches_and_only_for_admins(
    app: FastAPI, admin: TestClient, study: Study, tmp_path: Path
) -> None:
    here = f"/batches/{study.batch.id}/export"
    assert admin.get(f"{here}/csv").status_code == 409
    assert "Member" not in admin.get(f"{here}/csv").text
    assert "/export/" not in admin.get(f"/results/{study.batch.id}").text
    assert admin.get(f"{here}/xlsx").status_code == 404
    with app.state.database.session_scope() as session:
        account_id = make_account(session, "somebody", Role.RATER).id
    assert client_for(app, account_id).get(f"{here}/csv").status_code == 403
