"""Nothing on the voting path tells who wrote a text: marks on everything that could, looked for everywhere."""

import json
import logging
import random
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
from app.domain.terms import JobState, JudgingState, PairKind, Reveal, Role
from app.models import (
    Ballot,
    BaseModel,
    Checkpoint,
    Dataset,
    EvalBatch,
    Event,
    Job,
    Judge,
    JudgeCall,
    Judging,
    Pair,
    Prompt,
    Response,
    Run,
    Suite,
    Voter,
)
from app.services import eval_batches, judging, voting
from app.services.responses import Planned
from app.web.deps import get_rng
from tests.factories import NOW, Study, client_for, make_account, make_study, pairs_of, question, visitor
from tests.fixtures import on_sqlite
from tests.judged import a_judge, reply, work
from tests.web.ballots import choose, look, seated

MARKS = {
    "run": "quillon", "checkpoint": "zephyra", "base model": "bramwell", "recipe": "ondine", "dataset": "tamsin",
    "batch": "verity", "suite": "osprey", "rater": "marlowe", "prompt key": "lindqvist", "category": "sorrel",
    "engine": "havisham", "folder": "peregrine", "source": "thackeray",
    "judge": "ptolemy", "judge's model": "whitlock", "judge's reason": "rosalind",
}  # fmt: skip
TOKENS = 1_486_117_395
JUDGED = json.dumps({"reasoning": MARKS["judge's reason"], "choice": "A", "confidence": "low"})
RECIPE = "the recipe wrote ondine"


def text(member: int, planned: Planned) -> str:
    """Two texts that differ in their words and in nothing a page could measure."""
    return f"{'Amber' if member else 'Cobalt'} light on {question(planned)}"


@pytest.fixture
def marked(app: FastAPI, tmp_path: Path) -> Study:
    """A study in which whatever could name a competitor carries a mark of its own."""
    with app.state.database.session_scope() as session:
        study = make_study(
            session, tmp_path, prompts=4, text=text, votes_per_pair=2, ask_recognised=True, reveal=Reveal.NEVER
        )
        judge = a_judge(session, MARKS["judge"], MARKS["judge's model"])
        asked = judging.ask(session, study.batch, judge, now=NOW)
        work(session, asked, lambda *_: reply(text=JUDGED))
        judging.end(session, asked, JudgingState.STOPPED, message=MARKS["judge"], now=NOW)
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
        for table in (
            Checkpoint,
            BaseModel,
            Run,
            Dataset,
            Prompt,
            Response,
            Pair,
            Suite,
            Voter,
            Job,
            Judge,
            Judging,
            JudgeCall,
        ):
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
        yield choose(client, batch_id, ballot.ballot_id, choice, reason="x" * 4001)
        yield choose(client, batch_id, ballot.ballot_id, choice, tags="nonsense")
        yield client.post(f"{address}/recognised", data={"ballot_id": ballot.ballot_id, "answer": "yes"})
        yield choose(client, batch_id, ballot.ballot_id, choice, reason=f"reason {step}", tags="clear")
        yield client.get(address)
        yield client.get(f"{address}/yours")
        yield choose(client, batch_id, ballot.ballot_id, choice)
        yield choose(client, batch_id, ballot.ballot_id, "tie" if choice != "tie" else "a")
        yield client.post(address, data={"ballot_id": ballot.ballot_id}, headers=programs)
        if choice != "skip":
            yield client.post(f"{address}/undo", data={"ballot_id": ballot.ballot_id})
            again = look(client, batch_id)
            yield client.get(address)
            yield choose(client, batch_id, again.ballot_id, choice)
            yield client.get(address)
            for answer in ("yes", "yes", "no", "perhaps"):
                yield client.post(f"{address}/recognised", data={"ballot_id": again.ballot_id, "answer": answer})
        yield client.post(f"{address}/undo", data={"ballot_id": str(uuid.uuid4())})
        yield client.post(f"{address}/recognised", data={"ballot_id": str(uuid.uuid4()), "answer": "no"})
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
    yield client.get(f"{address}/yours")  # nobody is ever told


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


@pytest.mark.usefixtures("same_draws")
@pytest.mark.parametrize("role", list(Role))
@on_sqlite
def test_checks_look_like_every_other_ballot(
    app: FastAPI, tmp_path: Path, lines: list[str], role: Role, database_url: str
) -> None:
    """Gold pairs, pairs of the base with itself, repeats: the page of each is that of a main pair but for its texts."""
    with app.state.database.session_scope() as session:
        study = make_study(
            session, tmp_path, prompts=14, text=text, repeat_pairs=2, votes_per_pair=2,
            ask_recognised=True,
        )  # fmt: skip
        study.batch.gold_pairs = study.batch.placebo_pairs = 2
        pairs = pairs_of(session, study.batch)
        for pair, kind in zip(pairs, [PairKind.GOLD, PairKind.GOLD, PairKind.PLACEBO, PairKind.PLACEBO], strict=False):
            pair.kind = kind
    client = client_for(app) if role is Role.ADMIN else seated(app, "somebody", study.batch)
    shapes: dict[str, set[str]] = {}
    number = 0
    while (seen := look(client, study.batch.id)).ballot_id is not None:
        number += 1
        page = whole(client.get(f"/vote/{study.batch.id}"))
        fragment = client.get(f"/vote/{study.batch.id}/ballot").text
        with app.state.database.session_scope(write=False) as session:
            ballot = session.get_one(Ballot, uuid.UUID(seen.ballot_id))
            kind = session.get_one(Pair, ballot.pair_id).kind
        if number > 1:
            shapes.setdefault("repeat" if ballot.is_repeat else kind, set()).add(shape(page) + shape(fragment))
        assert not re.search("gold|placebo|canary|repeat|(?<!cache-)control", page + fragment, re.IGNORECASE)
        choose(client, study.batch.id, seen.ballot_id, "a")
    assert set(shapes) >= {PairKind.MAIN, PairKind.GOLD, PairKind.PLACEBO, "repeat"}
    assert len(set().union(*shapes.values())) == 1
    logged = "\n".join(line for line in lines if "app." in line.split()[0])
    assert not re.search("gold|placebo|repeat", logged, re.IGNORECASE)


@pytest.fixture
def same_draws(app: FastAPI) -> None:
    """Pairs and orders as the dice of one series fall: where checks lie is the same in every run."""
    series = random.Random(2)  # noqa: S311
    app.dependency_overrides[get_rng] = lambda: series


def shape(page: str) -> str:
    """A page without what is of this one ballot: its id, its place, its texts and the time that is left."""
    page = re.sub(r"[0-9a-f]{8}-[0-9a-f-]{27}", "ID", page)
    page = re.sub(r"\d+ of \d+|(?:value|max)=\"\d+\"|possible for [^<]*|content-length: \d+", "COUNT", page)
    return re.sub(r"(?:Amber|Cobalt) light on |Question number \d+\?", "TEXT", page)


@pytest.mark.usefixtures("same_draws")
@on_sqlite
def test_the_two_orders_of_a_check_differ_by_the_two_texts_alone(app: FastAPI, tmp_path: Path) -> None:
    with app.state.database.session_scope() as session:
        study = make_study(session, tmp_path, prompts=16, text=text)
        study.batch.gold_pairs = 1
        pairs_of(session, study.batch)[0].kind = PairKind.GOLD
    client = seated(app, "somebody", study.batch)
    pages = []
    while (seen := look(client, study.batch.id)).ballot_id is not None:
        with app.state.database.session_scope(write=False) as session:
            ballot = session.get_one(Ballot, uuid.UUID(seen.ballot_id))
            is_gold = session.get_one(Pair, ballot.pair_id).kind is PairKind.GOLD
        if is_gold:
            page = client.get(f"/vote/{study.batch.id}").text
            pages.append((ballot.order, re.sub("Amber|Cobalt", "TEXT", shape(page)), (seen.text_a, seen.text_b)))
        choose(client, study.batch.id, seen.ballot_id, "tie")
    assert len(pages) == 2, "fifteen pairs lie beside the gold one, so there is room between its orders"
    (order, page, texts), (other_order, other_page, other_texts) = pages
    assert order is not other_order
    assert texts == other_texts[::-1]
    assert form_of(page) == form_of(other_page)


def form_of(page: str) -> str:
    """Everything from the prompt on: above it stands what is left of the vote before."""
    return page[page.index('<section class="prompt"') :]


def test_every_reason_why_there_is_no_ballot_keeps_quiet_too(
    app: FastAPI, marked: Study, secrets: set[str], lines: list[str]
) -> None:
    """The end of voting in all its forms, for a rater, an admin and somebody who never voted."""
    clients = [seated(app, "somebody", marked.batch), client_for(app), seated(app, "late", marked.batch)]
    address = f"/vote/{marked.batch.id}"
    told = []
    for limit, value in (("rater_limit", 1), ("vote_limit", 2)):
        with app.state.database.session_scope() as session:
            batch = session.get_one(EvalBatch, marked.batch.id)
            batch.rater_limit = batch.vote_limit = None
            setattr(batch, limit, value)
        for client in clients[:2]:
            ballot = look(client, marked.batch.id)
            if ballot.ballot_id is not None:
                choose(client, marked.batch.id, ballot.ballot_id, "b")
        told += [whole(client.get(path)) for client in clients for path in (address, f"{address}/ballot")]
    with app.state.database.session_scope() as session:
        eval_batches.close(session, session.get_one(EvalBatch, marked.batch.id), now=NOW)
    told += [
        whole(client.get(path)) for client in clients for path in (address, f"{address}/ballot", f"{address}/yours")
    ]
    everything = "\n".join([*told, *lines]).lower()
    for heading in ("all the votes you were asked for", "has all the votes it needs", "voting is closed"):
        assert heading in everything
    assert {secret for secret in secrets if secret.lower() in everything} == set()


@on_sqlite
def test_what_open_pages_hear_of_a_vote_names_nobody(app: FastAPI, marked: Study, secrets: set[str]) -> None:
    client = seated(app, "somebody", marked.batch)
    ballot_id = look(client, marked.batch.id).ballot_id
    choose(client, marked.batch.id, ballot_id, "a", reason=MARKS["rater"])
    client.post(f"/vote/{marked.batch.id}/recognised", data={"ballot_id": ballot_id, "answer": "yes"})
    client.post(f"/vote/{marked.batch.id}/undo", data={"ballot_id": ballot_id})
    with app.state.database.session_scope(write=False) as session:
        hints = session.execute(select(Event.topic, Event.subject_id).where(Event.topic == "verdicts")).all()
        ids = {str(ballot) for ballot in session.scalars(select(Ballot.id))}
    assert {subject for _, subject in hints} == {marked.batch.id}
    heard = "\n".join(f"{topic} {subject}" for topic, subject in hints)
    assert {secret for secret in secrets | ids if secret in heard} == set(), "a topic and the eval batch, nothing else"


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
