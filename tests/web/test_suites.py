import json
from typing import Any

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from httpx2 import Response
from sqlalchemy import func, select

from app.domain.terms import Role
from app.models import Prompt, Suite
from tests.factories import Study, client_for, make_account, prompt_row, visitor
from tests.fixtures import on_sqlite

HEADER = {"suite": "suite", "title": "A suite", "description": "Four prompts."}
TALK = [
    {"role": "user", "content": "Is it so?"},
    {"role": "assistant", "content": "It may be."},
    {"role": "user", "content": "Why?"},
]


def lines(*rows: dict[str, Any]) -> bytes:
    return "".join(json.dumps(row) + "\n" for row in rows).encode()


def send(client: TestClient, content: bytes, file: str = "suite.jsonl", **fields: str) -> Response:
    return client.post("/suites", files={"file": (file, content)}, data=fields)


def suite_at(answer: Response) -> str:
    assert answer.status_code == 303, answer.text
    return answer.headers["location"]


def versions(app: FastAPI, name: str = "suite") -> list[int]:
    with app.state.database.session_scope(write=False) as session:
        return list(session.scalars(select(Suite.version).where(Suite.name == name).order_by(Suite.version)))


def typed(*prompts: dict[str, Any], **changed: str) -> dict[str, Any]:
    """The editor's form as a browser sends it."""
    form: dict[str, Any] = {"title": "A suite", "description": "Four prompts.", "prompt": []} | changed
    for number, row in enumerate(prompts, 1):
        form["prompt"].append(str(number))
        turns = row.get("messages") or [{"role": "user", "content": row.get("prompt", "")}]
        form[f"turn-{number}"] = [turn["content"] for turn in turns]
        form[f"role-{number}"] = [turn["role"] for turn in turns]
        form |= {f"{field}-{number}": row.get(field, "") for field in ("key", "category", "domain")}
        if row.get("delete"):
            form[f"delete-{number}"] = "true"
    return form


EMPTY = {"key": "", "category": "", "domain": "in_domain", "prompt": ""}


def test_a_suite_is_imported_downloaded_and_recognised(app: FastAPI, admin: TestClient) -> None:
    content = lines(HEADER, prompt_row(0), {"key": "talk", "category": "c", "domain": "in_domain", "messages": TALK})
    place = suite_at(send(admin, content))
    page = admin.get(place).text
    assert "Question number 0?" in page
    assert "It may be." in page
    file = admin.get(f"{place}/file")
    assert file.headers["content-disposition"] == 'attachment; filename="suite-v1.jsonl"'
    assert [json.loads(line) for line in file.text.splitlines()] == [json.loads(line) for line in content.splitlines()]
    assert suite_at(send(admin, file.content.replace(b'": ', b'":'))) == place  # written otherwise, says the same
    assert versions(app) == [1]
    assert suite_at(send(admin, content, file="else.jsonl")) == place  # the header names the suite
    assert suite_at(send(admin, content, name="another")) != place


@on_sqlite
@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "suite.jsonl is empty"),
        (b"{\xc3(}\n", "suite.jsonl, line 1: the line is not UTF-8 text"),
        (lines(HEADER), "suite.jsonl holds no prompt"),
        (lines(prompt_row(0), prompt_row(0)), "suite.jsonl, line 2: the same key stands in line 1 already"),
        (lines(prompt_row(0, domain="elsewhere")), "must be in_domain or out_of_domain"),
    ],
)
def test_a_file_that_cannot_be_used_is_named_with_its_line(
    app: FastAPI, admin: TestClient, content: bytes, reason: str
) -> None:
    answer = send(admin, content)
    assert answer.status_code == 422
    assert reason in answer.text
    assert versions(app) == []


@on_sqlite
def test_no_file_and_too_large_a_file_are_said(admin: TestClient) -> None:
    answer = admin.post("/suites", data={"name": "x"})
    assert (answer.status_code, "No file was chosen" in answer.text) == (422, True)
    row = json.dumps(prompt_row(0, prompt="x" * 2_000_000)).encode()
    assert send(admin, row + b"\n").status_code == 303  # more than other forms may bring
    answer = send(admin, b"x" * 65_000_000)
    assert (answer.status_code, "64 MB" in answer.text) == (413, True)


def test_an_edit_makes_the_next_version_and_says_what_it_did(app: FastAPI, admin: TestClient) -> None:
    talk = {"key": "talk", "category": "c", "domain": "in_domain", "messages": TALK}
    place = suite_at(send(admin, lines(HEADER, prompt_row(0), prompt_row(1), talk)))
    editor = admin.get(f"{place}/edit").text
    assert "Edit into version 2" in editor
    assert editor.count('name="prompt"') == 6
    new = {"key": "new", "category": "c", "domain": "out_of_domain", "prompt": "And now?"}
    changed = prompt_row(0) | {"prompt": "Asked otherwise?"}
    form = typed(changed, prompt_row(1) | {"delete": True}, talk, new, EMPTY, title="A better suite")
    saved = suite_at(admin.post(f"{place}/edit", data=form))
    page = admin.get(saved).text
    assert "A better suite" in page
    assert "1 changed, 1 added, 1 removed" in page
    with app.state.database.session_scope(write=False) as session:
        keys = session.scalars(
            select(Prompt.key).join(Suite, Suite.id == Prompt.suite_id).where(Suite.version == 2)
            .order_by(Prompt.position)
        ).all()  # fmt: skip
        kept = session.scalar(select(Prompt.messages).join(Suite).where(Suite.version == 2, Prompt.key == "talk"))
    assert (keys, kept) == (["key-0", "talk", "new"], TALK)
    assert "Version 2 is the newest" in admin.get(place).text
    assert "Edit version 2" in admin.get(f"{place}/edit").text


def test_saving_without_a_change_makes_no_version(app: FastAPI, admin: TestClient) -> None:
    place = suite_at(send(admin, lines(HEADER, prompt_row(0), prompt_row(1))))
    assert suite_at(admin.post(f"{place}/edit", data=typed(prompt_row(0), prompt_row(1), EMPTY))) == place
    assert versions(app) == [1]


def test_what_ships_does_not_come_back_on_top_of_an_edit(app: FastAPI, admin: TestClient) -> None:
    shipped = lines(HEADER, prompt_row(0))
    place = suite_at(send(admin, shipped))
    edited = suite_at(admin.post(f"{place}/edit", data=typed(prompt_row(0) | {"prompt": "Better?"})))
    assert edited != place
    assert suite_at(send(admin, shipped)) == place  # as every start does
    assert versions(app) == [1, 2]
    back = suite_at(admin.post(f"{edited}/edit", data=typed(prompt_row(0))))
    assert back not in (place, edited)  # who edits back wants a newest version
    assert versions(app) == [1, 2, 3]


@on_sqlite
def test_two_who_edit_the_same_version_do_not_undo_each_other(app: FastAPI, admin: TestClient) -> None:
    place = suite_at(send(admin, lines(HEADER, prompt_row(0))))
    first = typed(prompt_row(0) | {"prompt": "One way?"})
    second = typed(prompt_row(0) | {"prompt": "Another way?"})
    assert admin.post(f"{place}/edit", data=first).status_code == 303
    answer = admin.post(f"{place}/edit", data=second)
    assert (answer.status_code, "Nothing was saved" in answer.text) == (409, True)
    assert versions(app) == [1, 2]


@on_sqlite
@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"key": ""}, "Prompt 2: &#34;key&#34; must be a text that is not empty"),
        ({"key": "key-0"}, "Prompt 2: the same key stands in line 2 already"),
        ({"prompt": " "}, "Prompt 2: &#34;prompt&#34; must be a text that is not empty"),
        ({"domain": "x"}, "Prompt 2:"),
    ],
)
def test_a_prompt_that_cannot_be_saved_is_named(
    app: FastAPI, admin: TestClient, changed: dict[str, str], reason: str
) -> None:
    place = suite_at(send(admin, lines(HEADER, prompt_row(0))))
    answer = admin.post(f"{place}/edit", data=typed(prompt_row(0), prompt_row(1) | changed))
    assert answer.status_code == 422
    assert reason in answer.text
    assert "Nothing was saved" in answer.text
    assert versions(app) == [1]


@on_sqlite
def test_a_large_suite_is_edited_in_its_file(admin: TestClient) -> None:
    place = suite_at(send(admin, lines(HEADER, *(prompt_row(number) for number in range(1000)))))
    assert "too large for a form" in admin.get(f"{place}/edit").text
    assert admin.get(place).status_code == 200


@on_sqlite
def test_suites_in_use_keep_their_batches(app: FastAPI, admin: TestClient, study: Study) -> None:
    rows = [prompt_row(number) for number in range(4)]
    answer = admin.post(f"/suites/{study.suite.id}/edit", data=typed(*rows[:3], title="suite", description=""))
    assert "no eval batch yet" in admin.get(suite_at(answer)).text
    assert study.batch.name in admin.get(f"/suites/{study.suite.id}").text
    with app.state.database.session_scope(write=False) as session:
        assert session.scalar(select(func.count(Prompt.id)).where(Prompt.suite_id == study.suite.id)) == 4


@on_sqlite
@pytest.mark.parametrize("path", ["/suites", "/datasets", "/suites/{suite_id}/edit"])
def test_nobody_else_may_send_files(app: FastAPI, study: Study, path: str) -> None:
    path = path.format(suite_id=study.suite.id)
    with app.state.database.session_scope() as session:
        account_id = make_account(session, "somebody", Role.RATER).id
    for client, status in ((visitor(app), 401), (client_for(app, account_id), 403)):
        assert client.post(path, files={"file": ("a.jsonl", lines(prompt_row(0)))}).status_code == status
    assert versions(app) == [1]
