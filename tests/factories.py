"""Rows for tests, made through the real services. Every moment is given; nothing here draws at random."""

import hashlib
import json
import logging
import random
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

from fastapi import FastAPI
from fastapi.testclient import TestClient
from sqlalchemy.orm import Session

from app import jobs
from app.config import DATA, Settings
from app.domain.names import CONTROLS
from app.domain.recipes import RecipeRow
from app.domain.terms import Choice, FinishReason, JobState, Role, RunKind, VoterKind
from app.main import create_app
from app.models import Account, BaseModel, Checkpoint, Dataset, EvalBatch, Job, Pair, Run, Suite, Voter
from app.queries.ballots import BlindBallot, blind_ballot
from app.queries.sample_study import sample_files
from app.services import accounts, assignment, eval_batches, responses, voting
from app.services.assignment import Rules
from app.services.base_models import Fetched, add_base_model, fetch_base_model, mark_ready
from app.services.checkpoints import SavedAdapter, register_adapter
from app.services.controls import import_controls
from app.services.datasets import import_dataset
from app.services.eval_batches import LaunchPlan
from app.services.responses import Generated, Planned
from app.services.runs import launch_run
from app.services.sample_study import MANIFEST, RESPONSES
from app.services.seats import give_seat
from app.services.suites import import_suite
from app.web.deps import COOKIE

NOW = datetime(2026, 1, 31, 12, tzinfo=UTC)
RULES = Rules(secret=b"a key for tests", lease=timedelta(hours=1), grace=timedelta(minutes=2))
ENGINE = "no engine: written by a test"

Text = Callable[[int, Planned], str]
"""What a member says: its position in the batch (0 is the baseline) and the planned response in, a text out."""


def sha256(text: str) -> str:
    """A hash to tell things apart by."""
    return hashlib.sha256(text.encode()).hexdigest()


def write_rows(path: Path, rows: Sequence[dict[str, Any]]) -> Path:
    """A JSON Lines file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def prompt_row(number: int, **changed: Any) -> dict[str, Any]:
    """One row of a suite file: even numbers are in-domain, categories come in twos."""
    return {
        "key": f"key-{number}",
        "category": f"category_{number // 2}",
        "domain": "out_of_domain" if number % 2 else "in_domain",
        "prompt": f"Question number {number}?",
    } | changed


def make_suite(
    session: Session, folder: Path, prompts: int | Sequence[dict[str, Any]] = 4, *, name: str = "suite"
) -> Suite:
    """A suite of so many prompts, or of these rows."""
    rows = [prompt_row(number) for number in range(prompts)] if isinstance(prompts, int) else list(prompts)
    return import_suite(session, write_rows(folder / f"{name}.jsonl", rows), now=NOW, name=name)


def make_base(session: Session, folder: Path, *, name: str = "tiny", weights: str = "") -> BaseModel:
    """A base model that is ready, with hashes but without weights."""
    place = folder / "bases" / name
    place.mkdir(parents=True, exist_ok=True)
    model = add_base_model(session, str(place), name=name, now=NOW)
    finish_job(session, fetch_base_model(session, model, now=NOW))
    fetched = Fetched(name, str(place), "", sha256(weights or name), sha256("tokenizer"), sha256("template"), 1_000)
    mark_ready(session, model, fetched, now=NOW)
    return model


def finish_job(session: Session, job: Job, state: JobState = JobState.DONE) -> None:
    """End a job as its worker would."""
    jobs.finish(session, job, state, now=NOW)
    session.flush()


def recipe(name: str = "brie-v1", *, base: str = "tiny", dataset: str = "lessons") -> RecipeRow:
    """A recipe as it would be read from a file."""
    content = {"name": name, "kind": "sft", "lora": {"r": 8}}
    return RecipeRow(name, RunKind.SFT, "A recipe for tests.", base, dataset, content)


def make_run(session: Session, folder: Path, *, name: str = "", base: str = "tiny", done: bool = True) -> Run:
    """A run on a small dataset that is imported with it."""
    rows = [{"prompt": f"question {number}", "completion": f"answer {number}"} for number in range(3)]
    path = write_rows(folder / "lessons.jsonl", rows)
    import_dataset(session, path, artifacts=folder / "artifacts", now=NOW)
    run = launch_run(session, recipe(base=base), name=name, now=NOW)
    if done:
        finish_job(session, session.get_one(Job, run.job_id))
    return run


def make_dataset(session: Session, folder: Path, name: str) -> Dataset:
    """Another small dataset."""
    path = write_rows(
        folder / f"{name}.jsonl", [{"prompt": f"{name} {place}", "completion": "yes"} for place in range(3)]
    )
    return import_dataset(session, path, artifacts=folder / "artifacts", now=NOW, name=name)


def saved_adapter(fingerprint: str, *, label: str = "epoch-2", step: int = 10, **changed: Any) -> SavedAdapter:
    """What the training would have written; by default it passed the effect gate."""
    values: dict[str, Any] = {
        "folder": f"nowhere/{label}",
        "epoch": 2.0,
        "is_last": True,
        "size_bytes": 1_000,
        "validation_loss": 1.5,
        "effect": {"passed": True, "reason": "", "kl_mean": 0.1, "kl_max": 0.5, "delta_norm": 1.0},
    }
    return SavedAdapter(label=label, fingerprint=fingerprint, step=step, **values | changed)


def make_adapter(
    session: Session, folder: Path, *, name: str = "brie-v1", base: str = "tiny", **changed: Any
) -> Checkpoint:
    """A finished run and its last checkpoint, called ``name/epoch-2``."""
    run = make_run(session, folder, name=name, base=base)
    return register_adapter(session, run, saved_adapter(sha256(name), **changed), now=NOW)


def question(planned: Planned) -> str:
    """The last turn of what was asked."""
    return str(planned.messages[-1]["content"])


def plain_text(position: int, planned: Planned) -> str:
    """A text that says which member wrote it."""
    again = " once more" if planned.key["twin"] else ""
    return f"Member {position} on “{question(planned)}”, take {planned.replicate}{again}."


def write_responses(session: Session, batch: EvalBatch, text: Text = plain_text, *, now: datetime = NOW) -> int:
    """Write every response of the plan and form the pairs, as the worker would; returns how many pairs are new."""
    plan = responses.plan_of(session, batch)
    members = list(dict.fromkeys(planned.checkpoint_id for planned in plan))
    generated = [
        Generated(planned, text(members.index(planned.checkpoint_id), planned), 7, FinishReason.STOP)
        for planned in plan
    ]
    responses.store(session, batch, generated, engine=ENGINE, now=now)
    new = responses.form_pairs(session, batch, plan, secret=RULES.secret, now=now)
    if batch.job_id is not None:
        finish_job(session, session.get_one(Job, batch.job_id))
    return new


@dataclass(frozen=True)
class Study:
    """An eval batch that can be voted on, and what it was made from."""

    batch: EvalBatch
    suite: Suite
    base: BaseModel
    adapters: tuple[Checkpoint, ...]


def make_study(
    session: Session,
    folder: Path,
    *,
    prompts: int | Sequence[dict[str, Any]] = 4,
    challengers: int = 1,
    text: Text = plain_text,
    **plan: Any,
) -> Study:
    """Base, adapters, suite, launched batch, responses and pairs; ``plan`` are fields of ``LaunchPlan``."""
    suite = make_suite(session, folder, prompts)
    base = make_base(session, folder)
    adapters = tuple(make_adapter(session, folder, name=f"brie-v{number + 1}") for number in range(challengers))
    names = tuple(adapter.name for adapter in adapters)
    if plan.get("gold_pairs") or plan.get("canary_pairs"):
        import_control_pairs(session)
    batch = eval_batches.launch(
        session, LaunchPlan(suite=suite.name, challengers=names, **plan), secret=RULES.secret, now=NOW
    )
    write_responses(session, batch, text)
    return Study(batch, suite, base, adapters)


def write_sample(session: Session, batches: Sequence[EvalBatch], folder: Path) -> dict[str, Any]:
    """These batches as a sample study in a folder; returns its manifest."""
    manifest, rows = sample_files(session, batches, commands=["./arena train brie-v2"], now=NOW)
    folder.mkdir()
    (folder / MANIFEST).write_text(manifest, encoding="utf-8")
    (folder / RESPONSES).write_text(rows, encoding="utf-8")
    found: dict[str, Any] = json.loads(manifest)
    return found


def import_control_pairs(session: Session) -> None:
    """The gold and canary pairs that ship."""
    for name in CONTROLS:
        import_controls(session, DATA / "controls" / f"{name.removeprefix('brie-')}.jsonl", now=NOW, name=name)


def pairs_of(session: Session, batch: EvalBatch) -> list[Pair]:
    """The pairs of a batch in a fixed order."""
    found = session.query(Pair).where(Pair.eval_batch_id == batch.id)
    return sorted(found, key=lambda pair: (str(pair.prompt_id), pair.replicate, str(pair.second_id)))


def make_rater(session: Session, name: str = "rater") -> Voter:
    """Somebody who votes."""
    voter = Voter(kind=VoterKind.RATER, name=name, created_at=NOW)
    session.add(voter)
    session.flush()
    return voter


TITLE = "A comparison of texts"
"""What raters of tests are told they join."""


def make_account(session: Session, name: str, role: Role, *, seat_in: EvalBatch | None = None) -> Account:
    """Somebody who may sign in, and vote on one eval batch if it is given."""
    account = Account(name=name, role=role, voter_id=make_rater(session, name).id, created_at=NOW)
    session.add(account)
    session.flush()
    if seat_in is not None:
        give_seat(session, seat_in, session.get_one(Voter, account.voter_id), title=TITLE, now=NOW)
    return account


def vote_blind(
    session: Session, batch: EvalBatch, voter: Voter, pick: Callable[[BlindBallot], Choice], *, rng: random.Random
) -> int:
    """Vote until nothing is left, seeing nothing but what a rater sees; returns the number of votes."""
    votes = 0
    while (ballot := assignment.issue(session, batch.id, voter, rules=RULES, now=NOW, rng=rng)) is not None:
        choice = pick(blind_ballot(session, ballot.id))
        voting.cast(session, ballot.id, voter, choice, rules=RULES, now=NOW)
        votes += 1
    return votes


@contextmanager
def web_app(folder: Path, database_url: str, **settings: Any) -> Iterator[FastAPI]:
    """The application on a database. Logging, which it sets up for the process, is put back afterwards."""
    root = logging.getLogger()
    handlers, level = root.handlers, root.level
    given = {"home": folder, "database_url": database_url, "secret": "a key for tests"} | settings
    app = create_app(Settings(_env_file=None, **given))
    try:
        yield app
    finally:
        app.state.database.engine.dispose()
        root.handlers, root.level = handlers, level


def client_for(app: FastAPI, account_id: UUID | None = None) -> TestClient:
    """A browser that is signed in: as this account, or as the admin."""
    client = visitor(app)
    now = datetime.now(UTC)
    with app.state.database.session_scope() as session:
        account = session.get_one(Account, account_id) if account_id else accounts.the_admin(session, now=now)
        link = accounts.make_entry_link(session, account, now=now)
        session.flush()
        token = accounts.enter(session, link, now=now, lifetime=timedelta(days=1))
    client.cookies.set(COOKIE, token)
    return client


def visitor(app: FastAPI) -> TestClient:
    """A browser that is not signed in. It follows no redirect and shows server errors as it would get them."""
    return TestClient(app, follow_redirects=False, raise_server_exceptions=False)
