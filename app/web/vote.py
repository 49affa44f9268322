"""The voting page. Blind side: this module may not import what names a checkpoint."""

import random
import uuid
from dataclasses import replace
from datetime import datetime
from typing import Annotated, Literal

from fastapi import APIRouter, Form, Request
from sqlalchemy.orm import Session
from starlette.responses import RedirectResponse, Response

from app.domain.errors import ArenaError, BadInputError, ConflictError, NotFoundError
from app.domain.terms import Choice, ReasonTag
from app.models import EvalBatch, Voter
from app.queries.ballots import VotePage, vote_page
from app.services import assignment, voting
from app.web.deps import NowDep, RngDep, RulesDep, SeatedVoterDep, WriteDep
from app.web.limits import by_account, limited
from app.web.render import render

router = APIRouter()

SKIP = "skip"
LONGEST_REASON = 4000


def _page(
    session: Session, batch_id: uuid.UUID, voter: Voter, rules: assignment.Rules, now: datetime, rng: random.Random
) -> VotePage:
    """Issue (or show again) the voter's ballot and describe the page around it."""
    ballot = assignment.issue(session, batch_id, voter, rules=rules, now=now, rng=rng)
    batch = session.get(EvalBatch, batch_id)
    if batch is None:
        raise NotFoundError(assignment.NOTHING_HERE)
    return vote_page(
        session,
        batch=batch,
        voter_id=voter.id,
        open_ballot=ballot,
        undoable=voting.undoable(session, batch_id, voter, rules=rules, now=now),
        grace=rules.grace,
        now=now,
    )


def _refused(request: Request, error: ArenaError, page: VotePage) -> Response:
    """Why nothing was stored, above the ballot that the voter has now: a browser without JavaScript goes on there."""
    if "application/json" in request.headers.get("accept", ""):
        raise error
    return render(request, "vote/page.html", status=error.status, page=replace(page, problem=error.message))


@router.get("/vote/{batch_id}")
def vote(
    request: Request,
    session: WriteDep,
    voter: SeatedVoterDep,
    rules: RulesDep,
    now: NowDep,
    rng: RngDep,
    batch_id: uuid.UUID,
) -> Response:
    """The voter's ballot. Asking again shows the same one, so nothing is used up by reloading."""
    return render(request, "vote/page.html", page=_page(session, batch_id, voter, rules, now, rng))


@router.get("/vote/{batch_id}/ballot")
def vote_ballot(
    request: Request,
    session: WriteDep,
    voter: SeatedVoterDep,
    rules: RulesDep,
    now: NowDep,
    rng: RngDep,
    batch_id: uuid.UUID,
) -> Response:
    """The ballot alone, for a page that waits for the next pair."""
    return render(request, "vote/_ballot.html", page=_page(session, batch_id, voter, rules, now, rng))


@router.post("/vote/{batch_id}", dependencies=[limited("vote", by_account)])
def cast(
    request: Request,
    session: WriteDep,
    voter: SeatedVoterDep,
    rules: RulesDep,
    now: NowDep,
    rng: RngDep,
    batch_id: uuid.UUID,
    ballot_id: Annotated[uuid.UUID, Form()],
    choice: Annotated[str, Form(max_length=20)],
    tags: Annotated[list[ReasonTag], Form(default_factory=list, max_length=20)],
    reason: Annotated[str, Form()] = "",
) -> Response:
    """A choice on a ballot, or a skip, and why if somebody says so. Sent twice it changes nothing the second time."""
    reason = reason.replace("\r\n", "\n").strip()
    try:
        _check(choice, reason)
        if choice == SKIP:
            voting.skip(session, ballot_id, voter, now=now, reason=reason)
        else:
            voting.cast(session, ballot_id, voter, Choice(choice), rules=rules, now=now, reason=reason, tags=tags)
    except (BadInputError, ConflictError) as error:
        session.rollback()  # its locks are given back before the page takes its own, in their order
        page = _page(session, batch_id, voter, rules, now, rng)
        if page.ballot is not None and page.ballot.ballot_id == ballot_id:
            page = replace(page, reason=reason, tags=tuple(tags))
        return _refused(request, error, page)
    return RedirectResponse(f"/vote/{batch_id}", status_code=303)


def _check(choice: str, reason: str) -> None:
    if choice != SKIP and choice not in list(Choice):
        raise BadInputError("This choice is unknown: A, B, tie, both bad and skip exist. Nothing was stored.")
    if len(reason) > LONGEST_REASON:
        raise BadInputError(
            f"Your choice was not stored yet: the reason has {len(reason)} characters, and at most "
            f"{LONGEST_REASON} are kept. It is still in its field; shorten it and choose again."
        )


@router.post("/vote/{batch_id}/undo", dependencies=[limited("vote", by_account)])
def undo(
    request: Request,
    session: WriteDep,
    voter: SeatedVoterDep,
    rules: RulesDep,
    now: NowDep,
    rng: RngDep,
    batch_id: uuid.UUID,
    ballot_id: Annotated[uuid.UUID, Form()],
) -> Response:
    """Take the last vote back and show its pair again."""
    try:
        voting.undo(session, ballot_id, voter, rules=rules, now=now)
    except ConflictError as error:
        session.rollback()
        return _refused(request, error, _page(session, batch_id, voter, rules, now, rng))
    return RedirectResponse(f"/vote/{batch_id}", status_code=303)


@router.post("/vote/{batch_id}/recognised", dependencies=[limited("vote", by_account)])
def recognised(
    request: Request,
    session: WriteDep,
    voter: SeatedVoterDep,
    rules: RulesDep,
    now: NowDep,
    rng: RngDep,
    batch_id: uuid.UUID,
    ballot_id: Annotated[uuid.UUID, Form()],
    answer: Annotated[Literal["yes", "no"], Form()],
) -> Response:
    """Whether the voter thinks they recognised who wrote one of the texts of their last vote."""
    try:
        voting.recognise(session, ballot_id, voter, answer == "yes", rules=rules, now=now)
    except ConflictError as error:
        session.rollback()
        return _refused(request, error, _page(session, batch_id, voter, rules, now, rng))
    return RedirectResponse(f"/vote/{batch_id}", status_code=303)
