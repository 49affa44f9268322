"""The application on a database, and who asks it."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from tests.factories import Study, client_for, make_study, web_app


@pytest.fixture
def app(database_url: str, tmp_path: Path) -> Iterator[FastAPI]:
    """The application with a home of its own."""
    with web_app(tmp_path, database_url) as made:
        yield made


@pytest.fixture
def admin(app: FastAPI) -> TestClient:
    """A browser in which the admin is signed in."""
    return client_for(app)


@pytest.fixture
def study(app: FastAPI, tmp_path: Path) -> Study:
    """An eval batch on four prompts with one challenger, ready to be voted on."""
    with app.state.database.session_scope() as session:
        return make_study(session, tmp_path)
