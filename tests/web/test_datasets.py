import json
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from httpx2 import Response
from sqlalchemy import select

from app.models import Dataset
from tests.fixtures import on_sqlite

pytestmark = on_sqlite


def rows(count: int, word: str = "lesson") -> bytes:
    made = [
        {
            "category": "even" if number % 2 == 0 else "odd",
            "prompt": f"{word} {number}?",
            "completion": f"It is {number}.",
        }
        for number in range(count)
    ]
    return "".join(json.dumps(row) + "\n" for row in made).encode()


def send(client: TestClient, file: bytes, validation: bytes | None = None, **fields: str) -> Response:
    files: dict[str, Any] = {"file": ("lessons.train.jsonl", file)}
    if validation is not None:
        files["validation"] = ("lessons.val.jsonl", validation)
    return client.post("/datasets", files=files, data=fields)


def place(answer: Response) -> str:
    assert answer.status_code == 303, answer.text
    return answer.headers["location"]


def stored(app: FastAPI) -> Dataset:
    with app.state.database.session_scope(write=False) as session:
        return session.scalars(select(Dataset)).one()


def test_a_dataset_is_imported_with_its_validation_file(app: FastAPI, admin: TestClient) -> None:
    page = admin.get(place(send(admin, rows(5), rows(2, "exam")))).text
    assert "5 rows to train on, 2 to validate" in page
    dataset = stored(app)
    assert (dataset.name, dataset.source) == ("lessons", "lessons.train.jsonl")
    assert Path(dataset.validation_path).read_bytes() == rows(2, "exam")


def test_without_one_rows_are_held_back_and_the_name_can_be_chosen(app: FastAPI, admin: TestClient) -> None:
    place(send(admin, rows(20), name=" my-lessons "))
    dataset = stored(app)
    assert (dataset.name, dataset.rows, dataset.validation_rows) == ("my-lessons", 18, 2)


def test_rows_are_read_page_by_page(admin: TestClient) -> None:
    here = place(send(admin, rows(30), rows(1, "exam")))
    first, last = admin.get(here).text, admin.get(f"{here}?page=3").text
    assert "lesson 11?" in first
    assert "lesson 12?" not in first
    assert "page 1 of 3" in first
    assert "lesson 24?" in last
    assert "lesson 29?" in last
    assert admin.get(f"{here}?page=99").text.count("<article") == 6  # beyond the end is the end
    assert "exam 0?" in admin.get(f"{here}?part=validation").text


def test_rows_are_found_by_words_and_category(admin: TestClient) -> None:
    here = place(send(admin, rows(30), rows(1)))
    found = admin.get(f"{here}?text=IT IS 7").text
    assert "1 row that fits" in found
    assert "lesson 7?" in found
    assert "15 rows that fit" in admin.get(f"{here}?category=odd").text
    page = admin.get(f"{here}?category=odd&page=2").text
    assert "category=odd" in page
    assert page.count("<article") == 3
    nothing = admin.get(f"{here}?text=nowhere")
    assert (nothing.status_code, "0 rows that fit" in nothing.text) == (200, True)


@pytest.mark.parametrize(
    ("file", "validation", "reason"),
    [
        (b"{}\n", None, "lessons.train.jsonl, line 1: a row needs"),
        (rows(1), None, "holds a single row"),
        (rows(3), b"[]\n", "lessons.val.jsonl, line 1"),
        (rows(3), b" ", "lessons.val.jsonl is empty"),
    ],
)
def test_a_file_that_cannot_be_used_is_named_with_its_line(
    app: FastAPI, admin: TestClient, file: bytes, validation: bytes | None, reason: str
) -> None:
    answer = send(admin, file, validation)
    assert answer.status_code == 422
    assert reason in answer.text
    with app.state.database.session_scope(write=False) as session:
        assert session.scalars(select(Dataset)).all() == []


def test_a_frozen_file_that_is_gone_is_said(app: FastAPI, admin: TestClient) -> None:
    here = place(send(admin, rows(3), rows(1)))
    Path(stored(app).path).unlink()
    assert "The frozen file is gone" in admin.get(here).text
    assert place(send(admin, rows(3), rows(1))) == here  # importing it again brings it back, as the page says
    assert "lesson 2?" in admin.get(here).text
