"""Adding, watching and deleting checkpoints in the browser."""

import hashlib
import re
from pathlib import Path

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from httpx2 import Response
from sqlalchemy import select

from app import jobs
from app.domain.terms import IntakeState, JobState, Role
from app.models import Checkpoint, Intake, Job
from app.services import eval_batches, receiving
from app.services import intake as intakes
from app.services.intake import TakenIn
from app.services.sending import LARGEST_PIECE
from tests.factories import NOW, Study, client_for, make_account, make_adapter, make_base, make_study, sha256
from tests.fixtures import on_sqlite
from tests.uploads import stored_intake

pytestmark = on_sqlite

CONTENT = b"PK\x03\x04 nobody opens this here"


def send(client: TestClient, *files: tuple[str, bytes], **fields: str) -> Response:
    sent = [("files", file) for file in files or (("my adapter.zip", CONTENT),)]
    return client.post("/checkpoints/add", files=sent, data=fields)


def intake_of(app: FastAPI) -> Intake:
    with app.state.database.session_scope(write=False) as session:
        return session.scalars(select(Intake)).one()


@pytest.fixture
def base(app: FastAPI, tmp_path: Path) -> None:
    with app.state.database.session_scope() as session:
        make_base(session, tmp_path)


@pytest.mark.usefixtures("base")
def test_what_is_sent_waits_for_its_check_as_it_came(app: FastAPI, admin: TestClient) -> None:
    form = admin.get("/checkpoints/add").text
    assert "<option>tiny</option>" in form
    answer = send(admin, base="tiny", name="mine")
    assert answer.status_code == 303, answer.text
    intake = intake_of(app)
    assert answer.headers["location"] == f"/checkpoints/uploads/{intake.id}"
    assert (intake.name, intake.state, intake.files[0]["name"]) == ("mine", IntakeState.WAITING, "my adapter.zip")
    assert (Path(intake.folder) / "0").read_bytes() == CONTENT
    page = admin.get(answer.headers["location"]).text
    assert "waiting for a worker" in page
    assert "my adapter.zip" in page
    assert hashlib.sha256(CONTENT).hexdigest() in page
    assert "mine" in admin.get("/checkpoints/add").text


@pytest.mark.usefixtures("base")
def test_the_two_files_may_come_by_themselves(app: FastAPI, admin: TestClient) -> None:
    names = ("adapter_config.json", "adapter_model.safetensors")
    assert send(admin, *((name, name.encode()) for name in names)).status_code == 303
    intake = intake_of(app)
    assert [told["name"] for told in intake.files] == list(names)
    assert sorted(path.read_bytes() for path in Path(intake.folder).iterdir()) == sorted(
        name.encode() for name in names
    )


@pytest.mark.usefixtures("base")
@pytest.mark.parametrize(
    ("files", "fields", "status", "said"),
    [
        ([("", b"")], {}, 422, "No file was chosen"),
        ([("a.zip", b"")], {}, 422, "a.zip is empty"),
        ([(f"{number}.json", b"x") for number in range(12)], {}, 422, "More than 8 files were sent"),
        ([("a.zip", b"x")], {"name": "../up"}, 422, "cannot be the name of a checkpoint"),
        ([("a.zip", b"x")], {"base": "huge"}, 404, "There is no base model"),
    ],
)
def test_what_cannot_be_added_is_said_and_leaves_nothing(
    files: list[tuple[str, bytes]], fields: dict[str, str], status: int, said: str,
    app: FastAPI, admin: TestClient, tmp_path: Path,
) -> None:  # fmt: skip
    answer = send(admin, *files, **fields)
    assert (answer.status_code, said in answer.text) == (status, True), answer.text
    assert list(app.state.settings.artifacts.glob("uploads/*")) == []
    with app.state.database.session_scope(write=False) as session:
        assert session.scalars(select(Intake)).all() == []


@pytest.mark.usefixtures("base")
@pytest.mark.parametrize("declared", [True, False])
def test_too_large_is_said_whatever_was_declared(
    declared: bool, app: FastAPI, admin: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(receiving, "LARGEST", 400)
    body = multipart(b"x" * 1000)
    content = body if declared else iter([body[:300], body[300:]])
    answer = admin.post("/checkpoints/add", content=content, headers=MULTIPART)
    assert (answer.status_code, "A checkpoint may have" in answer.text) == (413, True)
    assert list(app.state.settings.artifacts.glob("uploads/*")) == []


MULTIPART = {"content-type": "multipart/form-data; boundary=edge"}


def multipart(content: bytes, disposition: bytes = b'form-data; name="files"; filename="a.zip"') -> bytes:
    return b"--edge\r\nContent-Disposition: " + disposition + b"\r\n\r\n" + content + b"\r\n--edge--\r\n"


@pytest.mark.usefixtures("base")
@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (multipart(b"x"), "text/plain"),
        (multipart(b"x"), "multipart/form-data"),
        (multipart(b"x")[:40], MULTIPART["content-type"]),
        (b"nonsense", MULTIPART["content-type"]),
        (b"", MULTIPART["content-type"]),
        (multipart(b"x", b'form-data; name="' + b"x" * 20_000 + b'"'), MULTIPART["content-type"]),
        (multipart(b"x" * 20_000, b'form-data; name="name"'), MULTIPART["content-type"]),
    ],
)
def test_a_form_that_arrives_broken_leaves_nothing(body: bytes, kind: str, app: FastAPI, admin: TestClient) -> None:
    answer = admin.post("/checkpoints/add", content=body, headers={"content-type": kind})
    assert (answer.status_code, "nothing was added" in answer.text) == (422, True), answer.text
    assert list(app.state.settings.artifacts.glob("uploads/*")) == []


@pytest.mark.usefixtures("base")
def test_an_upload_that_ends_in_the_middle_is_not_taken_for_whole(app: FastAPI, admin: TestClient) -> None:
    whole = multipart(b"first").removesuffix(b"--edge--\r\n") + multipart(b"x" * 1000)
    assert admin.post("/checkpoints/add", content=whole, headers=MULTIPART).status_code == 303
    kept = list(app.state.settings.artifacts.glob("uploads/*"))
    cut = whole[:-30]
    answer = admin.post("/checkpoints/add", content=cut, headers=MULTIPART)
    assert (answer.status_code, "arrived broken" in answer.text) == (422, True), answer.text
    assert list(app.state.settings.artifacts.glob("uploads/*")) == kept


def pieces(client: TestClient, *files: tuple[str, bytes]) -> str:
    """Send files in pieces of ten bytes; the address of the upload."""
    announced = {"name": [name for name, _ in files], "size": [str(len(content)) for _, content in files]}
    begun = client.post("/checkpoints/sending", data=announced)
    assert begun.status_code == 201, begun.text
    address = f"/checkpoints/sending/{begun.json()['id']}"
    for number, (_, content) in enumerate(files):
        for at in range(0, len(content), 10):
            told = client.post(address, params={"file": number, "at": at}, content=content[at : at + 10])
            assert told.json()["received"][number] == min(at + 10, len(content))
    assert client.get(address).json()["received"] == [len(content) for _, content in files]
    return address


@pytest.mark.usefixtures("base")
def test_what_comes_in_pieces_is_checked_as_what_comes_at_once(app: FastAPI, admin: TestClient) -> None:
    address = pieces(admin, ("my adapter.zip", CONTENT))
    refused = admin.post(f"{address}/taken", data={"name": "../up"})
    assert (refused.status_code, "cannot be the name" in refused.text) == (422, True)
    told = admin.post(f"{address}/taken", data={"name": "mine", "base": "tiny"})
    intake = intake_of(app)
    assert told.json() == {"address": f"/checkpoints/uploads/{intake.id}"}
    assert address.endswith(str(intake.id)), "whoever got no answer knows where to look"
    assert (intake.name, intake.files[0]["sha256"]) == ("mine", hashlib.sha256(CONTENT).hexdigest())
    assert [path.name for path in Path(intake.folder).iterdir()] == ["0"]
    assert "waiting for a worker" in admin.get(told.json()["address"]).text
    for late in (
        admin.get(address),
        admin.post(f"{address}/taken"),
        admin.post(f"{address}?file=0&at=0", content=b"x"),
    ):
        assert late.status_code == 404


@pytest.mark.usefixtures("base")
def test_pieces_that_do_not_follow_are_refused(app: FastAPI, admin: TestClient) -> None:
    address = pieces(admin, ("a.zip", CONTENT), ("b.json", b"{}"))
    begun = admin.post("/checkpoints/sending", data={"name": ["a.zip"], "size": ["20"]}).json()
    other = f"/checkpoints/sending/{begun['id']}"
    for path, content, status in (
        (f"{address}?file=0&at=3", b"x", 409),
        (f"{address}?file=2&at=0", b"x", 404),
        (f"{address}?file=first&at=0", b"x", 422),
        (f"{address}?file=0", b"x", 422),
        (f"{other}?file=0&at=0", b"x" * 21, 422),
        (f"{other}?file=0&at=0", b"x" * (LARGEST_PIECE + 1), 413),
        (f"{other}/taken", b"", 409),
    ):
        answer = admin.post(path, content=content, headers={"accept": "application/json"})
        assert (answer.status_code, bool(answer.json()["error"])) == (status, True), path
    assert admin.get(other).json()["received"] == [0]
    for form in ({}, {"name": ["a", "b"], "size": ["1"]}, {"name": ["a"], "size": ["much"]}):
        assert admin.post("/checkpoints/sending", data=form).status_code == 422
    with app.state.database.session_scope() as session:
        another = make_account(session, "another", Role.ADMIN).id
    stranger = client_for(app, another)
    assert stranger.get(address).status_code == 404
    assert stranger.post(f"{address}/taken").status_code == 404


def test_without_a_base_model_the_page_says_what_comes_first(admin: TestClient) -> None:
    page = admin.get("/checkpoints/add").text
    assert "No base model is ready" in page
    assert "<form" not in page.split("<main", 1)[1].split("</main", 1)[0]


def test_a_refusal_is_shown_with_its_reason_and_never_as_markup(app: FastAPI, admin: TestClient) -> None:
    evil = "<img src=x onerror=alert(1)>"
    with app.state.database.session_scope() as session:
        files = [{"name": evil, "bytes": 1, "sha256": "a" * 64}]
        intake = stored_intake(session, reason=f"The upload was refused: “{evil}” is a link.", files=files)
    for path in (f"/checkpoints/uploads/{intake.id}", f"/checkpoints/uploads/{intake.id}/check", "/checkpoints/add"):
        page = admin.get(path).text
        assert "is a link." in page
        assert evil not in page


@pytest.mark.usefixtures("base")
def test_a_check_that_failed_can_be_tried_again(app: FastAPI, admin: TestClient) -> None:
    send(admin)
    intake = intake_of(app)
    with app.state.database.session_scope() as session:
        jobs.finish(session, session.get_one(Job, intake.job_id), JobState.FAILED, now=NOW, error="The disk is full.")
    page = admin.get(f"/checkpoints/uploads/{intake.id}").text
    assert "The disk is full." in page
    assert f'action="/jobs/{intake.job_id}/retry"' in page


def test_a_refused_upload_can_be_forgotten(app: FastAPI, admin: TestClient) -> None:
    with app.state.database.session_scope() as session:
        intake = stored_intake(session)
    forget = f"/checkpoints/uploads/{intake.id}/forget"
    assert f'action="{forget}"' in admin.get(f"/checkpoints/uploads/{intake.id}").text
    assert admin.post(forget).headers["location"] == "/checkpoints/add"
    assert admin.get(f"/checkpoints/uploads/{intake.id}").status_code == 404


def taken_in(app: FastAPI, admin: TestClient) -> Checkpoint:
    """Sent by the admin, and found to be fine."""
    send(admin, name="mine")
    layers = {f"model.layers.{block}.mlp.up_proj": 0.1 * (block + 1) for block in range(4)}
    effect = {"passed": True, "reason": "", "kl_mean": 0.1, "kl_max": 0.5, "delta_norm": 1.0, "layers": layers}
    with app.state.database.session_scope() as session:
        intake = session.scalars(select(Intake)).one()
        made = session.scalars(select(Checkpoint)).one().base_model_id
        assert made is not None
        taken = TakenIn(made, "", sha256("a"), 10, effect, ("It came from mlx-lm.",))
        return intakes.accept(session, intake, taken, now=NOW)


@pytest.mark.usefixtures("base")
def test_a_checkpoint_says_who_brought_it_and_which_layers_it_changes(app: FastAPI, admin: TestClient) -> None:
    checkpoint = taken_in(app, admin)
    page = admin.get(f"/checkpoints/{checkpoint.id}").text
    assert re.search(r"An adapter on tiny that \w+ brought here", page)
    assert hashlib.sha256(CONTENT).hexdigest() in page
    assert "It changes <code>model.layers.3.mlp.up_proj</code> most of 4 layers" in page
    assert page.count('class="layer-cell"') == 4
    upload = admin.get(f"/checkpoints/uploads/{intake_of(app).id}").text
    assert f'href="/checkpoints/{checkpoint.id}"' in upload
    assert "It came from mlx-lm." in upload
    assert 'name="mine"' not in admin.get("/checkpoints").text
    assert "mine" in admin.get("/checkpoints").text


@pytest.mark.usefixtures("base")
def test_a_checkpoint_that_nothing_depends_on_can_be_deleted(app: FastAPI, admin: TestClient) -> None:
    checkpoint = taken_in(app, admin)
    assert f'action="/checkpoints/{checkpoint.id}/delete"' in admin.get(f"/checkpoints/{checkpoint.id}").text
    assert admin.post(f"/checkpoints/{checkpoint.id}/delete").status_code == 303
    assert admin.get(f"/checkpoints/{checkpoint.id}").status_code == 404
    assert "has been deleted since" in admin.get(f"/checkpoints/uploads/{intake_of(app).id}").text


def test_one_that_a_result_depends_on_stays(app: FastAPI, admin: TestClient, study: Study) -> None:
    adapter = study.adapters[0]
    page = admin.get(f"/checkpoints/{adapter.id}").text
    assert "It takes part in 1 eval batch, so it stays" in page
    assert f'action="/checkpoints/{adapter.id}/delete"' not in page
    answer = admin.post(f"/checkpoints/{adapter.id}/delete")
    assert (answer.status_code, study.batch.name in answer.text) == (409, True)


def test_a_clean_up_is_shown_before_it_is_done(app: FastAPI, admin: TestClient, tmp_path: Path) -> None:
    with app.state.database.session_scope() as session:
        make_study(session, tmp_path)
        best = make_adapter(session, tmp_path, name="spare", validation_loss=1.0)
        worse = Checkpoint(
            name="spare/epoch-3", kind=best.kind, base_model_id=best.base_model_id, run_id=best.run_id, step=20,
            fingerprint=sha256("worse"), validation_loss=2.0, size_bytes=5_000_000, created_at=NOW,
        )  # fmt: skip
        session.add(worse)
    page = admin.get(f"/runs/{best.run_id}/clean").text
    assert "1 checkpoint can go, which frees 5.0 MB" in page
    assert "Delete 1 checkpoint" in page
    answer = admin.post(f"/runs/{best.run_id}/clean", data={"keep": "best"})
    assert answer.headers["location"] == f"/runs/{best.run_id}"
    assert admin.get(f"/checkpoints/{worse.id}").status_code == 404
    assert "Nothing can go" in admin.get(f"/runs/{best.run_id}/clean").text


def test_every_page_and_report_shows_a_checkpoint_without_a_run(
    app: FastAPI, admin: TestClient, study: Study, tmp_path: Path
) -> None:
    with app.state.database.session_scope() as session:
        adapter = session.merge(study.adapters[0])
        adapter.run_id = adapter.step = adapter.epoch = adapter.validation_loss = None
        adapter.name = "brought-here"
        eval_batches.close(session, session.merge(study.batch), now=NOW)
    for path in (
        "/checkpoints", f"/checkpoints/{adapter.id}", f"/batches/{study.batch.id}", f"/batches/{study.batch.id}/report",
        f"/results/{study.batch.id}", f"/batches/{study.batch.id}/pairs", "/batches/launch", "/",
        f"/batches/{study.batch.id}/export/csv", f"/batches/{study.batch.id}/export/jsonl",
    ):  # fmt: skip
        page = admin.get(path)
        assert page.status_code == 200, path
        assert "None" not in re.sub(r"<[^>]*>", "", page.text), path
    assert "brought-here" in admin.get(f"/batches/{study.batch.id}/report").text
