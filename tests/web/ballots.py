"""A rater's eyes: what can be read from the voting page, and nothing else."""

import html
import re
from dataclasses import dataclass

from fastapi import FastAPI
from fastapi.testclient import TestClient
from httpx2 import Response
from sqlalchemy import select

from app.domain.terms import Role
from app.models import Account, EvalBatch, Seat
from tests.factories import NOW, client_for, make_account

_BALLOT = re.compile(r'<form class="choices".*?name="ballot_id" value="([0-9a-f-]{36})"', re.DOTALL)
_UNDO = re.compile(r'/undo".*?name="ballot_id" value="([0-9a-f-]{36})"', re.DOTALL)
_SIDE = re.compile(r'<section class="text" aria-labelledby="text-([AB])"[^>]*>(.*?)</section>', re.DOTALL)


@dataclass(frozen=True)
class Seen:
    """The ballot on the page, if there is one, and the ballot that can be taken back."""

    ballot_id: str | None
    text_a: str
    text_b: str
    undo_id: str | None


def seated(app: FastAPI, name: str, *batches: EvalBatch) -> TestClient:
    """A browser in which a rater of this name is signed in who has a seat in these eval batches."""
    with app.state.database.session_scope() as session:
        account = session.scalar(select(Account).where(Account.name == name)) or make_account(session, name, Role.RATER)
        for batch in batches:
            here = Seat.eval_batch_id == batch.id, Seat.voter_id == account.voter_id
            if session.scalar(select(Seat).where(*here)) is None:
                seat = Seat(eval_batch_id=batch.id, voter_id=account.voter_id, title="A comparison", joined_at=NOW)
                session.add(seat)
        session.flush()
        account_id = account.id
    return client_for(app, account_id)


def look(client: TestClient, batch_id: object) -> Seen:
    """Read the voting page."""
    page = client.get(f"/vote/{batch_id}")
    assert page.status_code == 200
    ballot, undo = _BALLOT.search(page.text), _UNDO.search(page.text)
    shown = {side: section.rpartition('<div class="reading">')[2] for side, section in _SIDE.findall(page.text)}
    texts = {side: html.unescape(re.sub(r"<[^>]+>", "", text)).strip() for side, text in shown.items()}
    return Seen(ballot[1] if ballot else None, texts.get("A", ""), texts.get("B", ""), undo[1] if undo else None)


def choose(client: TestClient, batch_id: object, ballot_id: object, choice: str, **more: str) -> Response:
    """Press a button of the page."""
    return client.post(f"/vote/{batch_id}", data={"ballot_id": str(ballot_id), "choice": choice, **more})
