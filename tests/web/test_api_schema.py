"""The API against its own description: requests made from the schema, with a real token and real ballots."""

import random
import shutil
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from fastapi import FastAPI
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from schemathesis import Case, GenerationMode
from schemathesis.openapi import from_asgi
from schemathesis.schemas import BaseSchema
from schemathesis.specs.openapi.checks import negative_data_rejection
from sqlalchemy import select

from app.models import Voter
from app.services import assignment
from app.services.assignment import Rules
from tests.factories import NOW, make_study, web_app
from tests.web.programs import token_for

BALLOTS = "/api/ballots/{ballot_id}"
OPERATIONS = {
    ("GET", "/api/batches"),
    ("GET", "/api/ballots/next"),
    ("POST", f"{BALLOTS}/verdict"),
    ("POST", f"{BALLOTS}/skip"),
    ("POST", f"{BALLOTS}/undo"),
    ("POST", f"{BALLOTS}/recognised"),
    ("GET", "/api/batches/{batch_id}/report"),
}
FEW, MANY = 25, 400


@dataclass
class Asked:
    """An arena whose admin has a ballot open whenever one is needed, and what was answered so far."""

    app: FastAPI
    batch_id: uuid.UUID
    token: str
    rng: random.Random
    statuses: set[tuple[str, int]] = field(default_factory=set)

    def ballot_id(self) -> uuid.UUID:
        """The ballot that is open for the holder of the token."""
        with self.app.state.database.session_scope() as session:
            voter = session.scalars(select(Voter)).one()
            rules = Rules.of(self.app.state.settings)
            ballot = assignment.issue(session, self.batch_id, voter, rules=rules, now=NOW, rng=self.rng)
            assert ballot is not None, "more prompts are needed for so many examples"
            return ballot.id

    def ask(self, case: Case, *, for_real: bool) -> None:
        """Send a case, at a ballot or eval batch that exists if wanted, and hold the answer against the schema."""
        parameters = case.path_parameters or {}
        if for_real and "ballot_id" in parameters:
            case.path_parameters = {"ballot_id": str(self.ballot_id())}
        if for_real and "batch_id" in parameters:
            case.path_parameters = {"batch_id": str(self.batch_id)}
        headers = {"Authorization": f"Bearer {self.token}"}
        # Unknown query parameters are passed over, as everywhere on the web; bodies are strict, see test_api.py.
        response = case.call_and_validate(headers=headers, excluded_checks=[negative_data_rejection])
        self.statuses.add((case.operation.path, response.status_code))


@pytest.fixture(scope="module")
def asked(tmp_path_factory: pytest.TempPathFactory, sqlite_template: Path) -> Iterator[Asked]:
    folder = tmp_path_factory.mktemp("asked")
    shutil.copyfile(sqlite_template, folder / "arena.db")
    with web_app(folder, f"sqlite:///{folder / 'arena.db'}", limit_api="", undo_seconds=1e9) as app:
        token = token_for(app)
        with app.state.database.session_scope() as session:
            batch_id = make_study(session, folder, prompts=1200).batch.id
        yield Asked(app, batch_id, token, random.Random(7))  # noqa: S311


@pytest.fixture(scope="module")
def schema(asked: Asked) -> BaseSchema:
    return from_asgi("/api/openapi.json", asked.app)


def test_the_description_names_every_route_and_no_page(asked: Asked) -> None:
    told = asked.app.openapi()
    assert {(method.upper(), path) for path, methods in told["paths"].items() for method in methods} == OPERATIONS
    assert told["components"]["securitySchemes"]["token"]["scheme"] == "bearer"
    assert "servers" not in told
    for methods in told["paths"].values():
        for said in methods.values():
            assert said["summary"]
            assert said["description"]
            assert said["security"] == [{"token": []}]
            assert {"401", "403", "422", "429", "503"} <= said["responses"].keys()
    assert "HTTPValidationError" not in told["components"]["schemas"]


def run(asked: Asked, schema: BaseSchema, operation: tuple[str, str], mode: GenerationMode, examples: int) -> None:
    method, path = operation
    strategy = schema[path][method].as_strategy(generation_mode=mode)

    @settings(
        max_examples=examples, derandomize=True, deadline=None, database=None, suppress_health_check=list(HealthCheck)
    )
    @given(case=strategy, for_real=st.booleans())
    def ask(case: Case, for_real: bool) -> None:
        asked.ask(case, for_real=for_real)

    ask()


@pytest.mark.parametrize("operation", sorted(OPERATIONS), ids=" ".join)
def test_what_fits_the_description_is_answered_as_it_says(
    asked: Asked, schema: BaseSchema, operation: tuple[str, str]
) -> None:
    run(asked, schema, operation, GenerationMode.POSITIVE, FEW)
    good = {status for path, status in asked.statuses if path == operation[1] and status < 300}
    deep = not operation[1].endswith(("undo", "recognised"))  # those need a vote first: the walk below
    assert bool(good) >= deep, "never got as far as the work itself"


@pytest.mark.parametrize("operation", sorted(OPERATIONS - {("GET", "/api/batches")}), ids=" ".join)
def test_what_does_not_fit_is_refused_as_it_says(asked: Asked, schema: BaseSchema, operation: tuple[str, str]) -> None:
    run(asked, schema, operation, GenerationMode.NEGATIVE, FEW)


@pytest.mark.slow
@pytest.mark.parametrize("mode", [GenerationMode.POSITIVE, GenerationMode.NEGATIVE])
@pytest.mark.parametrize("operation", sorted(OPERATIONS - {("GET", "/api/batches")}), ids=" ".join)
def test_many_more(asked: Asked, schema: BaseSchema, operation: tuple[str, str], mode: GenerationMode) -> None:
    run(asked, schema, operation, mode, MANY)


def test_after_a_vote_the_rest_is_answered_as_the_description_says(asked: Asked, schema: BaseSchema) -> None:
    """Vote, say whether somebody was recognised, take it back: each answer held against the schema."""
    ballot_id = asked.ballot_id()
    for action, body in (
        ("verdict", {"choice": "a", "reason": "é", "tags": ["deep"]}), ("verdict", {"choice": "a"}),
        ("verdict", {"choice": "b"}), ("recognised", {"recognised": True}), ("recognised", {"recognised": False}),
        ("undo", None), ("undo", None), ("skip", {}),
    ):  # fmt: skip
        operation = schema[f"{BALLOTS}/{action}"]["POST"]
        given_body = {} if body is None else {"body": body, "media_type": "application/json"}
        case = operation.Case(path_parameters={"ballot_id": str(ballot_id)}, **given_body)
        asked.ask(case, for_real=False)
    assert {(f"{BALLOTS}/undo", 200), (f"{BALLOTS}/undo", 409), (f"{BALLOTS}/recognised", 200)} <= asked.statuses
