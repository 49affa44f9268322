import random
from datetime import timedelta
from pathlib import Path
from uuid import uuid4

import pytest
from sqlalchemy import select
from sqlalchemy.orm import Session

from app.domain.errors import NotFoundError
from app.domain.terms import BallotState, Choice, Role, VoterKind
from app.models import Ballot, Tally, Verdict, Voter
from app.services import assignment, seats, slots, voting
from tests.factories import NOW, RULES, TITLE, Study, make_account, make_study


@pytest.fixture
def study(session: Session, tmp_path: Path) -> Study:
    return make_study(session, tmp_path, prompts=3)


def test_admins_vote_everywhere_and_raters_where_they_have_a_seat(session: Session, study: Study) -> None:
    batch_id = study.batch.id
    admin, seated, other = (
        make_account(session, "a", Role.ADMIN),
        make_account(session, "b", Role.RATER, seat_in=study.batch),
        make_account(session, "c", Role.RATER),
    )
    seats.require_seat(session, batch_id, admin.voter_id, admin.role)
    seats.require_seat(session, batch_id, seated.voter_id, seated.role)
    said = set()
    for account, where in ((other, batch_id), (seated, uuid4()), (other, uuid4())):
        with pytest.raises(NotFoundError) as refused:
            seats.require_seat(session, where, account.voter_id, account.role)
        said.add(refused.value.message)
    with pytest.raises(NotFoundError) as unknown:
        slots.locked(session, uuid4())
    assert said == {unknown.value.message}


def test_a_script_has_a_seat_like_a_rater(session: Session, study: Study) -> None:
    script = Voter(kind=VoterKind.SCRIPT, name="script", created_at=NOW)
    session.add(script)
    session.flush()
    with pytest.raises(NotFoundError):
        seats.require_seat(session, study.batch.id, script.id, Role.RATER)
    first = seats.give_seat(session, study.batch, script, title=TITLE, now=NOW)
    assert seats.give_seat(session, study.batch, script, title="another", now=NOW) is first
    seats.require_seat(session, study.batch.id, script.id, Role.RATER)


def test_a_seat_taken_back_frees_the_slot_and_keeps_the_votes(session: Session, study: Study) -> None:
    account = make_account(session, "rater", Role.RATER, seat_in=study.batch)
    voter = session.get_one(Voter, account.voter_id)
    rng = random.Random(1)  # noqa: S311

    def issue() -> Ballot:
        ballot = assignment.issue(session, study.batch.id, voter, rules=RULES, now=NOW, rng=rng)
        assert ballot is not None
        return ballot

    voted = issue()
    voting.cast(session, voted.id, voter, Choice.A, rules=RULES, now=NOW)
    open_ballot = issue()
    seat = seats.revoke_seat(session, study.batch.id, voter.id, now=NOW)
    again = seats.revoke_seat(session, study.batch.id, voter.id, now=NOW + timedelta(days=1))
    assert again.revoked_at == seat.revoked_at == NOW
    session.refresh(open_ballot)
    assert open_ballot.state is BallotState.EXPIRED
    assert session.scalars(select(Tally.held).where(Tally.pair_id == open_ballot.pair_id)).one() == 0
    assert session.scalars(select(Verdict.ballot_id)).all() == [voted.id]
    with pytest.raises(NotFoundError):
        seats.require_seat(session, study.batch.id, voter.id, account.role)
    seats.restore_seat(session, study.batch.id, voter.id)
    seats.require_seat(session, study.batch.id, voter.id, account.role)
    assert issue().pair_id != voted.pair_id


def test_a_seat_that_is_not_there_cannot_be_changed(session: Session, study: Study) -> None:
    nobody = make_account(session, "nobody", Role.RATER).voter_id
    for batch_id in (study.batch.id, uuid4()):
        with pytest.raises(NotFoundError):
            seats.revoke_seat(session, batch_id, nobody, now=NOW)
        with pytest.raises(NotFoundError):
            seats.restore_seat(session, batch_id, nobody)
