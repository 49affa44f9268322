from email.message import Message
from pathlib import Path

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from hypothesis import given
from hypothesis import strategies as st

from app.services import eval_batches
from app.web.downloads import attachment
from tests.factories import NOW, make_study
from tests.fixtures import on_sqlite

NAME = 'Über "käse" / 1;\r\nX-Other: ✓'


@given(st.text(st.characters(exclude_categories=["Cs"]), min_size=1))
def test_every_name_fits_into_a_header_and_can_be_read_from_it(name: str) -> None:
    header = attachment(name)["Content-Disposition"]
    header.encode("latin-1")
    assert "\r" not in header
    assert "\n" not in header
    plain, _, real = header.removeprefix('attachment; filename="').partition('"')
    assert plain
    assert set(plain).isdisjoint('"/\\;')
    assert bool(real) is (plain != name)


def test_the_real_name_is_the_one_that_a_browser_reads() -> None:
    assert attachment("suite-1.report.html")["Content-Disposition"] == 'attachment; filename="suite-1.report.html"'
    message = Message()
    message["Content-Disposition"] = attachment("Käse.csv")["Content-Disposition"].replace('filename="K_se.csv"; ', "")
    assert message.get_filename() == "Käse.csv"


@on_sqlite
@pytest.mark.parametrize("path", ["report.html", "report.md", "report.json", "export/csv", "export/mt-bench"])
def test_a_name_of_any_kind_is_no_trouble(app: FastAPI, admin: TestClient, tmp_path: Path, path: str) -> None:
    with app.state.database.session_scope() as session:
        batch = make_study(session, tmp_path, name=NAME).batch
        eval_batches.close(session, batch, now=NOW)
    sent = admin.get(f"/batches/{batch.id}/{path}")
    assert sent.status_code == 200
    assert "X-Other" not in sent.headers
    assert "filename*=UTF-8''%C3%9Cber" in sent.headers["Content-Disposition"]
