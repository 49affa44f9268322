"""Trials on the playground: what can be asked together, whose they are, and that they count nowhere."""

import uuid
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from app.db import Database
from app.domain.errors import ArenaError, BadInputError, ConflictError, NotFoundError
from app.domain.sampling import Sampling
from app.domain.terms import BaseModelState, JobState, Role
from app.models import Account, BaseModel, Checkpoint, Job, Response, Trial, Verdict
from app.queries.lookup import base_of
from app.queries.trials import askable, trial_view
from app.services import trials
from app.services.removal import delete_checkpoint
from app.services.trials import MOST_MEMBERS, Asked
from tests.factories import NOW, finish_job, make_account, make_adapter, make_base


@pytest.fixture
def adapter(database: Database, tmp_path: Path) -> Checkpoint:
    with database.session_scope() as session:
        make_base(session, tmp_path)
        return make_adapter(session, tmp_path)


@pytest.fixture
def admin(database: Database) -> Account:
    with database.session_scope() as session:
        return make_account(session, "an admin", Role.ADMIN)


def asked(*checkpoints: Checkpoint, prompt: str = "What is brie?", **changed: Any) -> Asked:
    settings = {"sampling": Sampling(), "seed": 5} | changed
    return Asked(prompt, tuple(one.id for one in checkpoints), **settings)


def test_a_trial_keeps_what_was_asked_in_order(database: Database, adapter: Checkpoint, admin: Account) -> None:
    with database.session_scope() as session:
        bare = base_of(session, adapter)
        trial = trials.start(session, admin, asked(adapter, bare, prompt="  What is brie?\n"), now=NOW)
        assert trial.prompt == "What is brie?"
        assert [(one["name"], one["folder"]) for one in trial.members] == [
            (adapter.name, adapter.folder),
            (bare.name, ""),
        ]
        assert (trial.sampling["seed"], trial.sampling["temperature"]) == (5, Sampling().temperature)
        view = trial_view(session, trial)
        assert (view.unfinished, [said.text for said in view.members]) == (True, ["", ""])
        assert session.get_one(Job, trial.job_id).title == "Playground: What is brie?"


def test_nothing_of_it_counts(database: Database, adapter: Checkpoint, admin: Account) -> None:
    with database.session_scope() as session:
        trial = trials.start(session, admin, asked(adapter), now=NOW)
        trials.write(trial, [{"text": "a cheese", "tokens": 3, "finish_reason": "stop"}])
        session.flush()
        assert trial_view(session, trial).members[0].text == "a cheese"
        for table in (Response, Verdict):
            assert session.scalar(select(func.count()).select_from(table)) == 0
        finish_job(session, session.get_one(Job, trial.job_id))
        delete_checkpoint(session, session.get_one(Checkpoint, adapter.id), artifacts=Path("nowhere"), now=NOW)
        view = trial_view(session, trial)
        assert (view.members[0].name, view.members[0].checkpoint_id) == ("brie-v1/epoch-2", "")


def test_what_cannot_be_asked_is_said(database: Database, adapter: Checkpoint, admin: Account, tmp_path: Path) -> None:
    with database.session_scope() as session:
        make_base(session, tmp_path, name="other")
        stray = make_adapter(session, tmp_path, name="stray", base="other")
        many = [make_adapter(session, tmp_path, name=f"run-{number}") for number in range(MOST_MEMBERS + 1)]
    unknown = Asked("x", (uuid.uuid4(),), Sampling(), 1)
    wrong: list[tuple[Asked, type[ArenaError], str]] = [
        (asked(adapter, prompt="  "), BadInputError, "A prompt has 1 to"),
        (asked(adapter, prompt="x" * 20_001), BadInputError, "A prompt has 1 to"),
        (asked(adapter, prompt="a\0b"), BadInputError, "A prompt has 1 to"),
        (asked(), BadInputError, "Choose 1 to 5"),
        (asked(*many), BadInputError, "Choose 1 to 5"),
        (asked(adapter, sampling=Sampling(max_new_tokens=2049)), BadInputError, "at most 2048 tokens"),
        (asked(adapter, stray), ConflictError, "different base models"),
        (unknown, NotFoundError, "does not exist any more"),
    ]
    for what, kind, words in wrong:
        with pytest.raises(kind, match=words), database.session_scope() as session:
            trials.start(session, admin, what, now=NOW)
    with database.session_scope() as session:
        session.get_one(BaseModel, adapter.base_model_id).state = BaseModelState.FAILED
        with pytest.raises(ConflictError, match="base model tiny is not on this machine"):
            trials.start(session, admin, asked(adapter), now=NOW)
        assert session.scalars(select(Trial)).all() == []
        assert [base.name for base in askable(session)] == ["other"]


def test_another_account_does_not_find_it(database: Database, adapter: Checkpoint, admin: Account) -> None:
    with database.session_scope() as session:
        trial = trials.start(session, admin, asked(adapter), now=NOW)
        other = make_account(session, "another admin", Role.ADMIN)
        assert trials.find(session, admin, trial.id) is trial
        for account, id_ in ((other, trial.id), (admin, uuid.uuid4())):
            with pytest.raises(NotFoundError, match="no such trial"):
                trials.find(session, account, id_)


def _start(session: Session, admin: Account, adapter: Checkpoint, number: int) -> Trial:
    return trials.start(session, admin, asked(adapter), now=NOW + timedelta(minutes=number))


def test_old_trials_are_forgotten_and_running_ones_are_not(
    database: Database, adapter: Checkpoint, admin: Account
) -> None:
    with database.session_scope() as session:
        running = _start(session, admin, adapter, 0)
        for number in range(1, 30):
            finish_job(session, session.get_one(Job, _start(session, admin, adapter, number).job_id), JobState.DONE)
        kept = session.scalars(select(Trial).order_by(Trial.created_at)).all()
        assert (kept[0], len(kept)) == (running, 21)


def test_the_bare_base_is_offered_first(database: Database, adapter: Checkpoint) -> None:
    with database.session_scope(write=False) as session:
        (base,) = askable(session)
        assert [(one.name, one.bare) for one in base.checkpoints] == [("tiny", True), (adapter.name, False)]
