"""Nothing on the voting path tells who wrote a text: marks on everything that could, looked for everywhere."""

import logging
import re
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from httpx2 import Response as Answer
from sqlalchemy import select

from app.domain.blinding import opposite
from app.domain.terms import JobState, Role
from app.models import Ballot, BaseModel, Checkpoint, Dataset, EvalBatch, Job, Pair, Prompt, Response, Run, Suite, Voter
from app.services import eval_batches, voting
from app.services.responses import Planned
from tests.factories import NOW, Study, client_for, make_account, make_study, question, visitor
from tests.fixtures import on_sqlite
from tests.web.ballots import choose, look

MARKS = {
    "run": "quillon", "checkpoint": "zephyra", "base model": "bramwell", "recipe": "ondine", "dataset": "tamsin",
    "batch": "verity", "suite": "osprey", "rater": "marlowe", "prompt key": "lindqvist", "category": "sorrel",
    "engine": "havisham", "folder": "peregrine", "source": "thackeray",
}  # fmt: skip
TOKENS = 1_486_117_395
RECIPE = "the recipe wrote ondine"


def text(member: int, planned: Planned) -> str:
    """Two texts that differ in their words and in nothing a page could measure."""
    return f"{'Amber' if member else 'Cobalt'} light on {question(planned)}"


@pytest.fixture
def marked(app: FastAPI, tmp_path: Path) -> Study:
    """A study in which whatever could name a competitor carries a mark of its own."""
    with app.state.database.session_scope() as session:
        study = make_study(session, tmp_path, prompts=4, text=text, votes_per_pair=2)
        run = session.get_one(Run, study.adapters[0].run_id)
        run.name, run.recipe_name, run.notes = MARKS["run"], MARKS["recipe"], RECIPE
        session.get_one(Dataset, run.dataset_id).name = MARKS["dataset"]
        study.base.name, study.base.folder = MARKS["base model"], MARKS["folder"]
        study.base.location = MARKS["source"]
        study.batch.name = MARKS["batch"]
        study.suite.name = study.suite.title = study.suite.description = MARKS["suite"]
        study.batch.seed = 8_315_662_907
        for number, checkpoint in enumerate(session.scalars(select(Checkpoint))):
            checkpoint.name = f"{MARKS['checkpoint']}/{number}"
            checkpoint.folder = MARKS["folder"]
        for number, prompt in enumerate(session.scalars(select(Prompt))):
            prompt.key, prompt.category = f"{MARKS['prompt key']}-{number}", MARKS["category"]
        for response in session.scalars(select(Response)):
            response.token_count, response.engine = TOKENS, MARKS["engine"]
        for job in session.scalars(select(Job)):
            job.title = job.message = MARKS["run"]
    return study


@pytest.fixture
def secrets(app: FastAPI, marked: Study) -> set[str]:
    """Every name, id, hash, seed and count that the voting path must not say."""
    with app.state.database.session_scope(write=False) as session:
        found = {*MARKS.values(), str(TOKENS), str(marked.batch.seed)}
        for table in (Checkpoint, BaseModel, Run, Dataset, Prompt, Response, Pair, Suite, Voter, Job):
            found |= {form for id_ in session.scalars(select(table.id)) for form in (str(id_), id_.hex)}
        for column in (Checkpoint.fingerprint, Response.fingerprint, Response.prompt_sha256, Response.text_sha256):
            found |= {value[:12] for value in session.scalars(select(column))}
        found |= {str(seed) for seed in session.scalars(select(Response.seed))}
        found |= set(session.scalars(select(Ballot.seal)))
    return found


@pytest.fixture
def lines() -> Iterator[list[str]]:
    """Everything that is logged, down to the finest level."""
    caught: list[str] = []

    class Catcher(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            caught.append(f"{record.name} {record.levelname} {record.getMessage()} {record.__dict__}")

    root, catcher = logging.getLogger(), Catcher()
    root.addHandler(catcher)
    level = root.level
    root.setLevel(logging.DEBUG)
    yield caught
    root.removeHandler(catcher)
    root.setLevel(level)


def rater(app: FastAPI, study: Study, name: str) -> TestClient:
    with app.state.database.session_scope() as session:
        account_id = make_account(session, name, Role.RATER, seat_in=study.batch).id
    return client_for(app, account_id)


def walk(app: FastAPI, client: TestClient, batch_id: uuid.UUID) -> Iterator[Answer]:
    """The whole voting path of one rater, with everything that can go wrong on it."""
    address = f"/vote/{batch_id}"
    programs = {"Accept": "application/json"}
    yield visitor(app).get(address)
    yield visitor(app).post(address, headers=programs)
    yield client.get(f"/vote/{uuid.uuid4()}")
    yield client.get("/vote/nonsense", headers=programs)
    for step, choice in enumerate(("a", "b", "skip", "both_bad")):
        ballot = look(client, batch_id)
        yield client.get(address)
        yield client.get(f"{address}/ballot")
        yield client.get(address, headers={"HX-Request": "true"})
        yield choose(client, batch_id, ballot.ballot_id, "first")
        yield choose(client, batch_id, uuid.uuid4(), choice)
        yield choose(client, batch_id, ballot.ballot_id, choice, reason=f"reason {step}")
        yield choose(client, batch_id, ballot.ballot_id, choice)
        yield choose(client, batch_id, ballot.ballot_id, "tie" if choice != "tie" else "a")
        yield client.post(address, data={"ballot_id": ballot.ballot_id}, headers=programs)
        if choice != "skip":
            yield client.post(f"{address}/undo", data={"ballot_id": ballot.ballot_id})
            again = look(client, batch_id)
            yield client.get(address)
            yield choose(client, batch_id, again.ballot_id, choice)
        yield client.post(f"{address}/undo", data={"ballot_id": str(uuid.uuid4())})
        yield client.post(f"{address}/undo", data={}, headers=programs)
        yield client.post(address, headers={"Sec-Fetch-Site": "cross-site"})
    yield client.get(address)  # nothing is left
    with app.state.database.session_scope() as session:
        session.get_one(Job, session.get_one(EvalBatch, batch_id).job_id).state = JobState.RUNNING
    yield client.get(address)  # the next responses are still being written
    with app.state.database.session_scope() as session:
        eval_batches.close(session, session.get_one(EvalBatch, batch_id), now=NOW)
    yield client.get(address)  # closed
    yield choose(client, batch_id, uuid.uuid4(), "a")


def whole(answer: Answer) -> str:
    """Every byte of an answer: status line, headers (cookies among them) and body, as the browser gets it."""
    headers = "\n".join(f"{name}: {value}" for name, value in answer.headers.multi_items())
    return f"{answer.status_code}\n{headers}\n\n{answer.text}"


def test_no_byte_of_the_voting_path_names_a_competitor(
    app: FastAPI, marked: Study, lines: list[str], secrets: set[str]
) -> None:
    client, other = (
        rater(app, marked, "somebody"),
        rater(app, marked, MARKS["rater"]),
    )  # who reads an error sees the own name, no other
    choose(other, marked.batch.id, look(other, marked.batch.id).ballot_id, "a", reason=MARKS["rater"])
    with app.state.database.session_scope(write=False) as session:
        secrets |= {str(id_) for id_ in session.scalars(select(Voter.id))}
    statuses = set()
    for answer in walk(app, client, marked.batch.id):
        statuses.add(answer.status_code)
        told = whole(answer).lower()
        assert {secret for secret in secrets if secret.lower() in told} == set(), answer.request.url
    assert statuses == {200, 303, 401, 403, 404, 409, 422}
    logged = "\n".join(lines).lower()
    assert {secret for secret in secrets if secret.lower() in logged} == set()


def test_the_texts_and_reasons_are_not_logged(app: FastAPI, marked: Study, lines: list[str]) -> None:
    for _ in walk(app, rater(app, marked, "somebody"), marked.batch.id):
        pass
    logged = "\n".join(lines)
    assert not [word for word in ("Amber", "Cobalt", "Question number", "reason 0") if word in logged]


def test_a_failure_on_the_voting_path_says_nothing_either(
    app: FastAPI, marked: Study, lines: list[str], secrets: set[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    client = rater(app, marked, "somebody")
    ballot = look(client, marked.batch.id)
    monkeypatch.setattr(voting, "own_ballot", lambda *_: 1 / 0)
    answer = choose(client, marked.batch.id, ballot.ballot_id, "a")
    assert answer.status_code == 500
    told = (whole(answer) + "\n".join(lines)).lower()
    assert {secret for secret in secrets if secret.lower() in told} == set()


def test_the_two_orders_of_a_pair_differ_by_the_two_texts_alone(app: FastAPI, marked: Study) -> None:
    client = rater(app, marked, "somebody")
    seen = look(client, marked.batch.id)
    pages = [client.get(f"/vote/{marked.batch.id}").text]
    with app.state.database.session_scope() as session:
        ballot = session.get_one(Ballot, uuid.UUID(seen.ballot_id))
        ballot.order = opposite(ballot.order)
    swapped = look(client, marked.batch.id)
    pages.append(client.get(f"/vote/{marked.batch.id}").text)
    assert (swapped.text_a, swapped.text_b) == (seen.text_b, seen.text_a)
    assert pages[0] != pages[1]
    hidden = [page.replace(seen.text_a, "TEXT").replace(seen.text_b, "TEXT") for page in pages]
    assert hidden[0] == hidden[1]
    assert hidden[0].count("TEXT") == 2


@on_sqlite
def test_the_two_orders_as_two_raters_see_them(app: FastAPI, tmp_path: Path) -> None:
    with app.state.database.session_scope() as session:
        study = make_study(session, tmp_path, prompts=1, text=text, votes_per_pair=2)
    pages = []
    for name in ("one", "two"):
        client = rater(app, study, name)
        seen = look(client, study.batch.id)
        page = client.get(f"/vote/{study.batch.id}").text
        pages.append((seen, page.replace(seen.ballot_id, "BALLOT")))
    (first, one), (second, two) = pages
    assert (first.text_a, first.text_b) == (second.text_b, second.text_a)
    assert re.sub("Amber|Cobalt", "TEXT", one) == re.sub("Amber|Cobalt", "TEXT", two)


@on_sqlite
def test_an_empty_text_looks_the_same_on_either_side(app: FastAPI, admin: TestClient, marked: Study) -> None:
    """White space and lengths are shown as they are, and no badge is added to either side."""
    page = admin.get(f"/vote/{marked.batch.id}").text
    sections = re.findall(r'<section class="text".*?</section>', page, re.DOTALL)
    assert len(sections) == 2
    plain = [re.sub("Amber|Cobalt", "TEXT", re.sub(r"text-[AB]|>[AB]<", "SIDE", section)) for section in sections]
    assert plain[0] == plain[1]


@on_sqlite
def test_the_marks_are_really_there_to_be_found(app: FastAPI, admin: TestClient, marked: Study) -> None:
    """The same search finds the marks where they may stand, so that it can find them where they may not."""
    ids = {"suites": marked.suite.id, "checkpoints": marked.adapters[0].id, "batches": marked.batch.id}
    lists = [f"/{name}" for name in ("runs", "checkpoints", "suites", "batches", "models", "datasets")]
    told = "".join(admin.get(path).text for path in (*lists, *(f"/{name}/{id_}" for name, id_ in ids.items()))).lower()
    shown = {"run", "checkpoint", "base model", "batch", "suite", "dataset", "prompt key", "category", "folder"}
    assert {name for name in shown if MARKS[name] not in told} == set()
