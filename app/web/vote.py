"""The voting page. Blind side: this module may not import what names a checkpoint."""

import uuid
from typing import Annotated

from fastapi import APIRouter, Form, Request
from sqlalchemy.orm import Session
from starlette.responses import RedirectResponse, Response

from app.domain.errors import BadInputError, NotFoundError
from app.domain.terms import Choice
from app.models import EvalBatch, Voter
from app.queries.ballots import VotePage, vote_page
from app.services import assignment, voting
from app.web.deps import NowDep, RngDep, RulesDep, SeatedVoterDep, WriteDep
from app.web.limits import by_account, limited
from app.web.render import render

router = APIRouter()

SKIP = "skip"


def _page(
    session: Session, batch_id: uuid.UUID, voter: Voter, rules: assignment.Rules, now: NowDep, rng: RngDep
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
    )


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
    session: WriteDep,
    voter: SeatedVoterDep,
    rules: RulesDep,
    now: NowDep,
    batch_id: uuid.UUID,
    ballot_id: Annotated[uuid.UUID, Form()],
    choice: Annotated[str, Form(max_length=20)],
    reason: Annotated[str, Form(max_length=4000)] = "",
) -> Response:
    """A choice on a ballot, or a skip. Sent twice it changes nothing the second time."""
    if choice == SKIP:
        voting.skip(session, ballot_id, voter, now=now, reason=reason)
    elif choice in list(Choice):
        voting.cast(session, ballot_id, voter, Choice(choice), rules=rules, now=now, reason=reason)
    else:
        raise BadInputError("This choice is unknown: A, B, tie, both bad and skip exist. Nothing was stored.")
    return RedirectResponse(f"/vote/{batch_id}", status_code=303)


@router.post("/vote/{batch_id}/undo", dependencies=[limited("vote", by_account)])
def undo(
    session: WriteDep,
    voter: SeatedVoterDep,
    rules: RulesDep,
    now: NowDep,
    batch_id: uuid.UUID,
    ballot_id: Annotated[uuid.UUID, Form()],
) -> Response:
    """Take the last vote back and show its pair again."""
    voting.undo(session, ballot_id, voter, rules=rules, now=now)
    return RedirectResponse(f"/vote/{batch_id}", status_code=303)
