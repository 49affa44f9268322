"""The canary script: a voter that knows the winners goes the whole real path, so that a mixed-up order shows.

It asks the real application for the page, reads the two texts from the HTML as a person would, chooses by text alone,
and posts the form. What arrived is read by ``queries.controls`` through the tallies that the results are made from.
"""

import asyncio
import contextlib
import uuid
from dataclasses import dataclass, field
from datetime import UTC, datetime
from html.parser import HTMLParser

import httpx
from fastapi import FastAPI
from sqlalchemy.exc import SQLAlchemyError
from starlette.concurrency import run_in_threadpool

from app.db import Database
from app.domain.errors import ArenaError
from app.domain.terms import Choice
from app.log import get_logger
from app.models import EvalBatch
from app.services import canaries
from app.services.canaries import ScriptSeat
from app.services.controls import CANARY_PHRASE
from app.web.deps import COOKIE
from app.web.live import LiveHub

log = get_logger(__name__)

_HEADINGS = {"text-A": Choice.A, "text-B": Choice.B}
_FAILURES = (ArenaError, SQLAlchemyError, httpx.HTTPError)


class _StoppedError(Exception):
    """A page that the script cannot vote on; the text says why."""


@dataclass
class _Ballot(HTMLParser):
    """What a voter finds on the page: the text under each heading, and the form with its hidden fields and buttons."""

    path: str
    texts: dict[Choice, str] = field(default_factory=dict)
    hidden: dict[str, str] = field(default_factory=dict)
    buttons: set[str] = field(default_factory=set)
    _side: Choice | None = None
    _in_form: bool = False

    def __post_init__(self) -> None:
        super().__init__()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        said = {name: value or "" for name, value in attrs}
        if tag == "section" and said.get("aria-labelledby") in _HEADINGS:
            self._side = _HEADINGS[said["aria-labelledby"]]
            self.texts[self._side] = ""
        elif tag == "form":
            self._in_form = said.get("action") == self.path
        elif self._in_form and tag == "input" and said.get("type") == "hidden":
            self.hidden[said["name"]] = said["value"]
        elif self._in_form and tag == "button" and said.get("name") == "choice":
            self.buttons.add(said.get("value", ""))

    def handle_endtag(self, tag: str) -> None:
        if tag == "section":
            self._side = None
        elif tag == "form":
            self._in_form = False

    def handle_data(self, data: str) -> None:
        if self._side is not None:
            self.texts[self._side] += data


def _choose(ballot: _Ballot) -> Choice:
    """The side on which the phrase stands."""
    found = [side for side, text in ballot.texts.items() if CANARY_PHRASE in " ".join(text.split())]
    if len(found) != 1 or len(ballot.texts) != len(_HEADINGS):
        raise _StoppedError(f"The phrase of the winner stands in {len(found)} of {len(ballot.texts)} texts on the page")
    if found[0] not in ballot.buttons:
        raise _StoppedError(f"The page has no button for side {found[0].upper()}")
    return found[0]


async def _vote_on_all(app: FastAPI, seat: ScriptSeat, most: int) -> None:
    """Vote until the page offers no ballot."""
    path = f"/vote/{seat.batch_id}"
    transport = httpx.ASGITransport(app=app, raise_app_exceptions=False)
    async with httpx.AsyncClient(
        transport=transport, base_url="http://localhost", cookies={COOKIE: seat.token}, follow_redirects=True
    ) as browser:
        page = await browser.get(path)
        for _ in range(most + 1):
            if page.is_error:
                raise _StoppedError(f"The voting page answered {page.status_code}")
            ballot = _Ballot(path)
            ballot.feed(page.text)
            if not ballot.hidden:
                return
            form = ballot.hidden | {"choice": _choose(ballot)}
            page = await browser.post(path, data=form, headers={"Sec-Fetch-Site": "same-origin"})
        raise _StoppedError("The voting page went on showing ballots after the last one")


async def run_canaries(app: FastAPI, batch_id: uuid.UUID) -> str:
    """One pass of a new script over the canary pairs of a batch; returns why it stopped early, if it did.

    Raises:
        ArenaError: the batch has no canaries or is closed; nothing was begun.
    """
    database: Database = app.state.database

    def begin() -> tuple[ScriptSeat, int]:
        with database.session_scope() as session:
            batch = session.get_one(EvalBatch, batch_id)
            return canaries.begin(session, batch, now=datetime.now(UTC)), 2 * batch.canary_pairs

    def end(note: str) -> None:
        with database.session_scope() as session:
            canaries.end(session, seat, note=note, now=datetime.now(UTC))

    seat, most = await run_in_threadpool(begin)
    note = ""
    try:
        await _vote_on_all(app, seat, most)
    except _StoppedError as stop:
        note = str(stop)
    except _FAILURES as error:
        note = f"The voting page failed ({type(error).__name__})"
    await run_in_threadpool(end, note)
    if note:
        log.warning("canaries_stopped", batch_id=str(batch_id), reason=note)
    return note


async def watch(app: FastAPI) -> None:
    """Send the script to each open batch that it has not voted on: at the start, and whenever one is launched.

    Runs until cancelled. Whatever fails here must not take the page with it: it is logged and asked again later.
    """
    hub: LiveHub = app.state.live
    while True:
        with hub.subscribe() as hints:
            try:
                await _turn(app)
                while (hint := await hints.get()) is not None:
                    if hint.topic == "pairs":
                        await _turn(app)
            except _FAILURES as error:
                log.warning("canaries_failed", reason=type(error).__name__)
                await asyncio.sleep(hub.poll_seconds)


async def _turn(app: FastAPI) -> None:
    database: Database = app.state.database

    def waiting() -> list[uuid.UUID]:
        with database.session_scope(write=False) as session:
            return list(canaries.waiting(session))

    for batch_id in await run_in_threadpool(waiting):
        with contextlib.suppress(ArenaError):  # closed in between
            await run_canaries(app, batch_id)
