"""The API for voting clients. Blind side: this module may not import what names a checkpoint.

The rules are those of the voting page, because the services are: what a page can do, a program can do, and no more.
"""

import uuid
from typing import Annotated

from fastapi import APIRouter, Query, Response
from sqlalchemy.orm import Session

from app.domain.errors import BadInputError, NotFoundError
from app.domain.terms import BatchState, Choice, Role
from app.models import EvalBatch, Voter
from app.queries.ballots import BlindBallot, has_verdict, vote_page
from app.queries.progress import progress_of
from app.queries.seats import batch_of_ballot, places_of
from app.services import assignment, voting
from app.services.seats import require_seat
from app.services.slots import NOTHING_HERE
from app.services.tokens import Holder
from app.web.api_shapes import (
    ApiBallot,
    ApiBatch,
    ApiBatches,
    NextBallot,
    Recognised,
    Skip,
    Skipped,
    StoredRecognised,
    StoredVote,
    Turn,
    Undone,
    Vote,
    errors,
)
from app.web.clients import FIRST, VotingClient
from app.web.deps import NowDep, ReadDep, RngDep, RulesDep, WriteDep

router = APIRouter(prefix="/api", tags=["voting"], dependencies=FIRST)


@router.get("/batches", summary="Where this account may vote", responses=errors())
def batches(session: ReadDep, client: VotingClient) -> ApiBatches:
    """Eval batches with a seat for this account; for an admin also the open ones. Scope `vote`."""
    found = []
    for place in places_of(session, client.voter_id, is_admin=client.role is Role.ADMIN):
        done = progress_of(session, session.get_one(EvalBatch, place.batch_id), client.voter_id)
        total = done.voted + done.skipped + done.open + done.left
        found.append(
            ApiBatch(
                id=place.batch_id, title=place.title, state=place.state, voted=done.voted, total=total
            )
        )  # fmt: skip
    return ApiBatches(batches=found)


@router.get("/ballots/next", summary="The ballot to vote on", responses=errors(404))
def next_ballot(
    session: WriteDep,
    client: VotingClient,
    rules: RulesDep,
    now: NowDep,
    rng: RngDep,
    batch: Annotated[
        uuid.UUID | None, Query(description="The eval batch; needed where more than one is open to this account.")
    ] = None,
) -> NextBallot:
    """Issues a ballot, or shows the open one again: asking twice uses nothing up. Scope `vote`.

    Without a ballot the answer is also 200, and `state` says why: `waiting` (ask again later, responses are still
    being written), `finished`, `quota`, `full` or `closed`.
    """
    batch_id = batch or _only_batch(session, client)
    voter = require_seat(session, batch_id, client.voter_id, client.role)
    ballot = assignment.issue(session, batch_id, voter, rules=rules, now=now, rng=rng)
    plan = session.get_one(EvalBatch, batch_id)
    undoable = voting.undoable(session, batch_id, voter, rules=rules, now=now)
    page = vote_page(
        session, batch=plan, voter_id=voter.id, open_ballot=ballot, undoable=undoable, grace=rules.grace, now=now
    )
    return NextBallot(
        state=page.state,
        batch_id=batch_id,
        ballot=_shown(page.ballot) if page.ballot else None,
        voted=page.voted,
        total=page.total,
        undo_ballot_id=page.undo_ballot_id,
        ask_recognised=plan.ask_recognised,
    )


def _only_batch(session: Session, client: Holder) -> uuid.UUID:
    """The one eval batch that can be meant.

    Raises:
        NotFoundError: there is none.
        BadInputError: there are several.
    """
    places = places_of(session, client.voter_id, is_admin=client.role is Role.ADMIN)
    meant = [place for place in places if place.state is BatchState.OPEN] or list(places)
    if not meant:
        raise NotFoundError(NOTHING_HERE)
    if len(meant) > 1:
        raise BadInputError("Say which eval batch: ?batch=ID. GET /api/batches lists those you may vote on.")
    return meant[0].batch_id


def _shown(ballot: BlindBallot) -> ApiBallot:
    return ApiBallot(
        ballot_id=ballot.ballot_id,
        prompt=[Turn(role=turn.role, content=turn.content) for turn in ballot.prompt],
        text_a=ballot.text_a,
        text_b=ballot.text_b,
        choices=list(Choice),
    )


def _voter(session: Session, ballot_id: uuid.UUID, client: Holder) -> Voter:
    """Who votes on this ballot, where the seat still stands. Locks nothing.

    Raises:
        NotFoundError: no such ballot, somebody else's, or a seat taken back (one sentence for all).
    """
    batch_id = batch_of_ballot(session, ballot_id, client.voter_id)
    if batch_id is None:
        raise NotFoundError(NOTHING_HERE)
    return require_seat(session, batch_id, client.voter_id, client.role)


@router.post(
    "/ballots/{ballot_id}/verdict",
    summary="Vote",
    status_code=201,
    responses={
        200: {"model": StoredVote, "description": "The same choice stood already; nothing was stored twice."},
        **errors(400, 404, 409, 413),
    },
)
def verdict(
    response: Response, session: WriteDep, client: VotingClient, rules: RulesDep, now: NowDep,
    ballot_id: uuid.UUID, vote: Vote,
) -> StoredVote:  # fmt: skip
    """Stores a choice: 201. The same choice again is 200 and changes nothing; another one is 409. Scope `vote`."""
    voter = _voter(session, ballot_id, client)
    voting.own_ballot(session, ballot_id, voter)  # locked: of two votes at the same moment one is the first
    if has_verdict(session, ballot_id):
        response.status_code = 200
    stored = voting.cast(
        session, ballot_id, voter, vote.choice, rules=rules, now=now, reason=vote.reason, tags=vote.tags
    )
    return StoredVote(ballot_id=ballot_id, choice=stored.choice, late=stored.surplus)


@router.post("/ballots/{ballot_id}/skip", summary="Skip", responses=errors(400, 404, 409, 413))
def skip(
    session: WriteDep, client: VotingClient, now: NowDep, ballot_id: uuid.UUID, why: Skip | None = None
) -> Skipped:
    """Closes a ballot without a vote. Scope `vote`."""
    reason = why.reason if why else ""
    voting.skip(session, ballot_id, _voter(session, ballot_id, client), now=now, reason=reason)
    return Skipped(ballot_id=ballot_id)


@router.post("/ballots/{ballot_id}/undo", summary="Take the last vote back", responses=errors(404, 409))
def undo(session: WriteDep, client: VotingClient, rules: RulesDep, now: NowDep, ballot_id: uuid.UUID) -> Undone:
    """Only the last vote in its eval batch, and only shortly after it (`undo_ballot_id` names it). Scope `vote`."""
    again = voting.undo(session, ballot_id, _voter(session, ballot_id, client), rules=rules, now=now)
    return Undone(ballot_id=again.id, undone_ballot_id=ballot_id)


@router.post(
    "/ballots/{ballot_id}/recognised",
    summary="Say whether an author was recognised",
    responses=errors(400, 404, 409, 413),
)
def recognised(
    session: WriteDep, client: VotingClient, rules: RulesDep, now: NowDep, ballot_id: uuid.UUID, said: Recognised
) -> StoredRecognised:
    """Kept beside the vote and measures blindness. The first answer stands. Scope `vote`."""
    voter = _voter(session, ballot_id, client)
    voting.recognise(session, ballot_id, voter, said.recognised, rules=rules, now=now)
    return StoredRecognised(ballot_id=ballot_id, recognised=said.recognised)
