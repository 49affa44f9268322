"""Pages of an eval batch that was imported, and of one that is still being read in."""

from pathlib import Path

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from sqlalchemy import select

from app.models import Checkpoint, EvalBatch, Judge, Pair, Suite
from tests.factories import write_rows
from tests.fixtures import on_sqlite
from tests.imported import gathered, store

pytestmark = on_sqlite

SAID = (("a", {"rater": "ann"}), ("b", {"rater": "bob"}), ("tie", {"judge": "j", "reply": "Neither."}))
ROWS = [
    {"prompt": f"Question {n}?", "model_a": "x", "model_b": "y", "response_a": f"a{n}", "response_b": "", **who}
    | {"winner": winner}
    for n in range(8)
    for winner, who in SAID
] + [{"left": "x", "right": "z", "winner": "right"}]


@pytest.mark.parametrize("portions", [None, 0])
def test_every_page_of_it_opens(app: FastAPI, admin: TestClient, tmp_path: Path, portions: int | None) -> None:
    batch_id = store(
        app.state.database, gathered("plain", write_rows(tmp_path / "f.jsonl", ROWS)), "study", portions=portions
    )
    with app.state.database.session_scope(write=False) as session:
        pages = [f"/checkpoints/{id_}" for id_ in session.scalars(select(Checkpoint.id))]
        pages += [f"/judges/{id_}" for id_ in session.scalars(select(Judge.id))]
        pages += [f"/judges/{id_}/calls" for id_ in session.scalars(select(Judge.id))]
        pages += [f"/batches/{batch_id}/pairs/{id_}" for id_ in session.scalars(select(Pair.id).limit(3))]
        batch = session.get_one(EvalBatch, batch_id)
        pages += [f"/suites/{id_}" for id_ in session.scalars(select(Suite.id).where(Suite.id == batch.suite_id))]
    pages += [f"/{what}" for what in ("", "batches", "judges", "checkpoints", "suites", "raters")]
    pages += [f"/batches/{batch_id}", f"/batches/{batch_id}/judges", f"/batches/{batch_id}/pairs"]
    pages += [f"/results/{batch_id}", f"/raters/{batch_id}", f"/vote/{batch_id}"]
    assert {page: admin.get(page, follow_redirects=True).status_code for page in pages} == dict.fromkeys(pages, 200)
    assert "imported" in admin.get("/judges").text
    page = admin.get(f"/batches/{batch_id}").text
    assert "/vote/" not in page
    assert ("It was imported (plain)" if portions is None else "It is being imported (plain)") in page


def test_results_are_those_of_the_import(app: FastAPI, admin: TestClient, tmp_path: Path) -> None:
    batch_id = store(app.state.database, gathered("plain", write_rows(tmp_path / "f.jsonl", ROWS)), "study")
    page = admin.get(f"/results/{batch_id}").text
    assert "study/y" in page
    assert "study/z" in page
    told = admin.get(f"/batches/{batch_id}/pairs").text
    assert "study/x" in told
