import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from sqlalchemy import event, func, select
from sqlalchemy.exc import IntegrityError, OperationalError, ProgrammingError
from sqlalchemy.orm import Session

from app.models import EvalBatch, Verdict
from tests.factories import Study
from tests.fixtures import on_sqlite
from tests.web.addresses import addresses, filled

IDS = (
    "batch_id", "run_id", "suite_id", "dataset_id", "checkpoint_id", "job_id", "pair_id", "account_id", "invite_id",
    "voter_id", "token_id", "judge_id", "judging_id", "format_name", "intake_id", "package_id", "trial_id",
    "sending_id",
)  # fmt: skip
NOT_IDS = ["1", "nonsense", "%00", "..%2f..", "x" * 3000, "0" * 32 + "0"]


@on_sqlite
@pytest.mark.parametrize("wrong", NOT_IDS, ids=lambda value: value[:10])
def test_what_is_no_id_is_a_page_that_does_not_exist(app: FastAPI, admin: TestClient, wrong: str) -> None:
    for method, path in addresses(app):
        if "_id}" in path:
            values = dict.fromkeys(IDS, wrong)
            answer = admin.request(method, filled(path, values))
            assert answer.status_code == 404, (method, path)


def test_unknown_ids_are_not_found(app: FastAPI, admin: TestClient) -> None:
    form = {"ballot_id": str(uuid.uuid4()), "choice": "a", "answer": "yes"}
    for method, path in addresses(app):
        if "_id}" in path:
            address = filled(path, dict.fromkeys(IDS, uuid.uuid4()))
            answer = admin.request(method, address, data=form if method == "POST" else None)
            assert (answer.status_code, 'id="error"' in answer.text) == (404, True), (method, path)


BAD_FORMS: dict[str, tuple[str, dict[str, object]]] = {
    "nothing at all": ("/batches", {}),
    "no baseline": ("/batches", {"suite": "suite"}),
    "a text for a number": ("/batches", {"replicates": "many"}),
    "no number": ("/batches", {"temperature": "nan"}),
    "infinity": ("/batches", {"temperature": "inf"}),
    "a negative number": ("/batches", {"votes_per_pair": -1}),
    "a number beyond every column": ("/batches", {"seed": 10**40}),
    "a name beyond its column": ("/batches", {"name": "n" * 121}),
    "no challenger": ("/batches", {"challengers": []}),
    "no base model": ("/models", {}),
    "an empty base model": ("/models", {"wanted": "  "}),
    "an impossible folder": ("/models", {"wanted": "/" + "x" * 999}),
    "no recipe": ("/runs", {}),
    "an unknown recipe": ("/runs", {"recipe": "../../etc/passwd"}),
}


@on_sqlite
@pytest.mark.parametrize(("path", "changed"), BAD_FORMS.values(), ids=BAD_FORMS)
def test_a_form_that_cannot_be_used_says_why(
    app: FastAPI, admin: TestClient, study: Study, path: str, changed: dict[str, object]
) -> None:
    whole = {"suite": "suite", "baseline": "base", "challengers": ["brie-v1/epoch-2"]}
    form = whole | changed if path == "/batches" and len(changed) == 1 and "suite" not in changed else changed
    answer = admin.post(path, data=form)
    assert (answer.status_code, 'id="error"' in answer.text) == (422, True)
    with app.state.database.session_scope(write=False) as session:
        assert session.scalar(select(func.count(EvalBatch.id))) == 1


@on_sqlite
@pytest.mark.parametrize("name", ["suite@²", f"suite@{10**30}", "suite@", "absent", "suite%"])
def test_a_name_that_is_nothing_is_not_found(admin: TestClient, study: Study, name: str) -> None:
    form = {"suite": name, "baseline": "base", "challengers": "brie-v1/epoch-2"}
    assert admin.post("/batches", data=form).status_code == 404
    assert admin.get("/batches/plan", params=form).status_code == 404


@on_sqlite
def test_the_page_starts_no_recipe_from_a_path(admin: TestClient, study: Study) -> None:
    assert admin.post("/runs", data={"recipe": "/etc/anything.toml"}).status_code == 404


@on_sqlite
def test_programs_get_their_errors_as_json(admin: TestClient) -> None:
    asks = {"Accept": "application/json"}
    for answer, status in (
        (admin.get(f"/runs/{uuid.uuid4()}", headers=asks), 404),
        (admin.get("/no/such/page", headers=asks), 404),
        (admin.post("/models", headers=asks), 422),
        (admin.delete("/runs", headers=asks), 405),
    ):
        assert (answer.status_code, list(answer.json())) == (status, ["error"])
        assert answer.json()["error"].endswith((".", "Allowed"))


# ---------------------------------------------------------------------------------------- a database that fails


@contextmanager
def failing_commit(error: Exception) -> Iterator[None]:
    """Every commit that would store something fails at its last moment."""

    def fail(session: Session) -> None:
        raise error

    event.listen(Session, "before_commit", fail)
    try:
        yield
    finally:
        event.remove(Session, "before_commit", fail)


FAILURES = {
    "a constraint": (lambda: IntegrityError("INSERT", {}, Exception("unique")), 409),
    "away": (lambda: OperationalError("COMMIT", {}, Exception("server closed the connection")), 503),
    "anything of the database": (lambda: ProgrammingError("COMMIT", {}, Exception("no such table")), 503),
    "a bug": (lambda: RuntimeError("a bug"), 500),
}


@on_sqlite
@pytest.mark.parametrize(("make", "status"), FAILURES.values(), ids=FAILURES)
def test_a_commit_that_fails_is_never_answered_as_if_it_had_worked(
    app: FastAPI, admin: TestClient, study: Study, make: Callable[[], Exception], status: int
) -> None:
    address = f"/vote/{study.batch.id}"
    ballot_id = admin.get(address).text.partition('name="ballot_id" value="')[2].partition('"')[0]
    posts = [
        (address, {"ballot_id": ballot_id, "choice": "a"}),
        (address, {"ballot_id": ballot_id, "choice": "skip"}),
        ("/batches", {"suite": "suite", "baseline": "base", "challengers": "brie-v1/epoch-2"}),
        (f"/batches/{study.batch.id}/close", {}),
        ("/models", {"wanted": "owner/model"}),
        ("/leave", {}),
    ]
    with failing_commit(make()):
        for path, form in posts:
            answer = admin.post(path, data=form)
            assert answer.status_code == status, path
            assert "Set-Cookie" not in answer.headers
    with app.state.database.session_scope(write=False) as session:
        assert session.scalar(select(func.count(Verdict.id))) == 0
    assert admin.post(address, data=posts[0][1]).status_code == 303


@on_sqlite
def test_a_database_that_is_away_is_said_to_be_away(app: FastAPI, admin: TestClient) -> None:
    with app.state.database.engine.begin() as connection:
        connection.exec_driver_sql("DROP TABLE sign_in")
    answer = admin.get("/")
    assert (answer.status_code, "cannot be used right now" in answer.text) == (503, True)
    assert admin.get("/healthz").status_code == 200


def test_a_text_that_the_database_cannot_hold_is_refused_or_stored(
    app: FastAPI, admin: TestClient, study: Study
) -> None:
    address = f"/vote/{study.batch.id}"
    ballot_id = admin.get(address).text.partition('name="ballot_id" value="')[2].partition('"')[0]
    form = {"ballot_id": ballot_id, "choice": "a", "reason": "a\0b"}
    stores_it = app.state.database.engine.dialect.name == "sqlite"
    assert admin.post(address, data=form).status_code == (303 if stores_it else 422)
    assert admin.post("/batches", data={"suite": "a\0b", "baseline": "b"}).status_code in {404, 422}
