"""The voting page. Blind side: this module may not import what names a checkpoint."""

import random
import uuid
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Annotated, Literal

from fastapi import APIRouter, Depends, Form, Request
from sqlalchemy.orm import Session
from starlette.responses import RedirectResponse, Response

from app.domain.errors import BadInputError, ConflictError, NotFoundError
from app.domain.terms import Choice, ReasonTag
from app.models import EvalBatch, Voter
from app.queries.ballots import VotePage, vote_page
from app.services import assignment, voting
from app.services.seats import require_seat
from app.services.slots import NOTHING_HERE
from app.web.deps import AccountDep, NowDep, RngDep, RulesDep, WriteDep
from app.web.limits import by_account, limited
from app.web.render import render

router = APIRouter()

SKIP = "skip"
LONGEST_REASON = 4000


@dataclass(frozen=True)
class Booth:
    """Somebody with a seat, in the transaction of the request that looked the seat up."""

    request: Request
    session: Session
    batch_id: uuid.UUID
    voter: Voter
    rules: assignment.Rules
    now: datetime
    rng: random.Random

    def page(self) -> VotePage:
        """Issue (or show again) the voter's ballot and describe the page around it."""
        ballot = assignment.issue(
            self.session, self.batch_id, self.voter, rules=self.rules, now=self.now, rng=self.rng
        )  # fmt: skip
        batch = self.session.get(EvalBatch, self.batch_id)
        if batch is None:
            raise NotFoundError(NOTHING_HERE)
        return vote_page(
            self.session,
            batch=batch,
            voter_id=self.voter.id,
            open_ballot=ballot,
            undoable=voting.undoable(self.session, self.batch_id, self.voter, rules=self.rules, now=self.now),
            grace=self.rules.grace,
            now=self.now,
        )

    def after(
        self,
        store: Callable[[], object],
        *,
        ballot_id: uuid.UUID | None = None,
        reason: str = "",
        tags: tuple[ReasonTag, ...] = (),
    ) -> Response:
        """Store something and go on to the next pair; ``reason`` and ``tags`` were typed for the ballot ``ballot_id``.

        A refusal is told above the ballot that the voter has now: a browser without JavaScript goes on there.
        """
        try:
            store()
        except (BadInputError, ConflictError) as error:
            if "application/json" in self.request.headers.get("accept", ""):
                raise
            self.session.rollback()  # its locks are given back before the page takes its own, in their order
            page = replace(self.page(), problem=error.message)
            if page.ballot is not None and page.ballot.ballot_id == ballot_id:
                page = replace(page, reason=reason, tags=tags)
            return render(self.request, "vote/page.html", status=error.status, page=page)
        return RedirectResponse(f"/vote/{self.batch_id}", status_code=303)


def get_booth(
    request: Request,
    session: WriteDep,
    account: AccountDep,
    rules: RulesDep,
    now: NowDep,
    rng: RngDep,
    batch_id: uuid.UUID,
) -> Booth:
    """The booth of whoever is signed in.

    Raises:
        NotFoundError: no seat there, or no such eval batch (one sentence for both).
    """
    voter = require_seat(session, batch_id, account.voter_id, account.role)
    return Booth(request, session, batch_id, voter, rules, now, rng)


BallotId = Annotated[uuid.UUID, Form()]


@router.get("/vote/{batch_id}")
def vote(booth: Annotated[Booth, Depends(get_booth)]) -> Response:
    """The voter's ballot. Asking again shows the same one, so nothing is used up by reloading."""
    return render(booth.request, "vote/page.html", page=booth.page())


@router.get("/vote/{batch_id}/ballot")
def vote_ballot(booth: Annotated[Booth, Depends(get_booth)]) -> Response:
    """The ballot alone, for a page that waits for the next pair; while it waits, it leaves the focus where it is."""
    return render(booth.request, "vote/_ballot.html", page=booth.page(), asked_again=True)


@router.post("/vote/{batch_id}", dependencies=[limited("vote", by_account)])
def cast(
    booth: Annotated[Booth, Depends(get_booth)],
    ballot_id: BallotId,
    choice: Annotated[str, Form(max_length=20)],
    tags: Annotated[list[ReasonTag], Form(default_factory=list, max_length=20)],
    reason: Annotated[str, Form()] = "",
) -> Response:
    """A choice on a ballot, or a skip, and why if somebody says so. Sent twice it changes nothing the second time."""
    reason = reason.replace("\r\n", "\n").strip()

    def store() -> None:
        _check(choice, reason)
        if choice == SKIP:
            voting.skip(booth.session, ballot_id, booth.voter, now=booth.now, reason=reason)
        else:
            voting.cast(
                booth.session, ballot_id, booth.voter, Choice(choice), rules=booth.rules, now=booth.now,
                reason=reason, tags=tags,
            )  # fmt: skip

    return booth.after(store, ballot_id=ballot_id, reason=reason, tags=tuple(tags))


def _check(choice: str, reason: str) -> None:
    if choice != SKIP and choice not in list(Choice):
        raise BadInputError("This choice is unknown: A, B, tie, both bad and skip exist. Nothing was stored.")
    if len(reason) > LONGEST_REASON:
        raise BadInputError(
            f"Your choice was not stored yet: the reason has {len(reason)} characters, and at most "
            f"{LONGEST_REASON} are kept. It is still in its field; shorten it and choose again."
        )


@router.post("/vote/{batch_id}/undo", dependencies=[limited("vote", by_account)])
def undo(booth: Annotated[Booth, Depends(get_booth)], ballot_id: BallotId) -> Response:
    """Take the last vote back and show its pair again."""

    def store() -> None:
        voting.undo(booth.session, ballot_id, booth.voter, rules=booth.rules, now=booth.now)

    return booth.after(store)


@router.post("/vote/{batch_id}/recognised", dependencies=[limited("vote", by_account)])
def recognised(
    booth: Annotated[Booth, Depends(get_booth)], ballot_id: BallotId, answer: Annotated[Literal["yes", "no"], Form()]
) -> Response:
    """Whether the voter thinks they recognised who wrote one of the texts of their last vote."""

    def store() -> None:
        voting.recognise(booth.session, ballot_id, booth.voter, answer == "yes", rules=booth.rules, now=booth.now)

    return booth.after(store)
