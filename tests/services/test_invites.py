from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from app.db import Database
from app.domain.errors import ArenaError, BadInputError, ConflictError, ForbiddenError
from app.domain.terms import Role, VoterKind
from app.models import Account, EvalBatch, Invite, Seat, Voter
from app.services import accounts, eval_batches, invites, seats
from tests.factories import NOW, Study, make_account, make_study
from tests.services.test_voting_races import at_once

LATER = NOW + timedelta(days=7)


@pytest.fixture
def study(session: Session, tmp_path: Path) -> Study:
    return make_study(session, tmp_path, prompts=2)


@pytest.fixture
def admin(session: Session) -> Account:
    return accounts.the_admin(session, now=NOW)


def invited(session: Session, study: Study, admin: Account, **terms: object) -> tuple[Invite, str]:
    return invites.make_invite(session, study.batch, by=admin, now=NOW, **terms)


def test_one_name_makes_a_rater_with_a_seat(session: Session, study: Study, admin: Account) -> None:
    invite, token = invited(session, study, admin, title="  Two   texts ")
    account, seat = invites.join(session, token, None, name="  Anna  Maria ", now=NOW)
    assert (account.name, account.role, account.password_hash) == ("Anna Maria", Role.RATER, "")
    voter = session.get_one(Voter, account.voter_id)
    assert (voter.kind, voter.name, voter.simulated) == (VoterKind.RATER, "Anna Maria", False)
    assert (seat.eval_batch_id, seat.voter_id, seat.invite_id) == (study.batch.id, voter.id, invite.id)
    assert seat.title == invite.title == "Two texts"
    session.refresh(invite)
    assert invite.uses == 1
    seats.require_seat(session, study.batch.id, voter.id, account.role)


def test_only_a_hash_of_the_token_is_stored(session: Session, study: Study, admin: Account) -> None:
    invite, token = invited(session, study, admin)
    assert token not in {str(value) for value in vars(invite).values()}
    assert invited(session, study, admin)[1] != token


def test_a_taken_name_gets_a_quiet_number(session: Session, study: Study, admin: Account) -> None:
    _, token = invited(session, study, admin)
    names = ["Anna", "Anna", "ANNA", "anna 2", "Ann", "Admin", "admin", "An%", "Straße", "STRASSE"]
    given = [invites.join(session, token, None, name=name, now=NOW)[0].name for name in names]
    assert given == [
        "Anna", "Anna 2", "ANNA 3", "anna 2 2", "Ann", "Admin 2", "admin 3", "An%", "Straße", "STRASSE",
    ]  # fmt: skip


def test_nobody_becomes_the_admin_by_being_called_so_first(session: Session, study: Study, admin: Account) -> None:
    rater, _ = invites.join(session, invited(session, study, admin)[1], None, name=" admin", now=NOW)
    assert (rater.name, rater.role) == ("admin 2", Role.RATER)
    assert accounts.the_admin(session, now=NOW) is admin


@pytest.mark.parametrize("name", ["", "   ", "\u200d", "x" * 81, "a\x00b", "a\u202eb", "a\x1b[0m"])
def test_what_is_no_name_lets_nobody_in(session: Session, study: Study, admin: Account, name: str) -> None:
    _, token = invited(session, study, admin)
    with pytest.raises(BadInputError):
        invites.join(session, token, None, name=name, now=NOW)
    assert session.scalar(select(func.count(Seat.id))) == 0


def test_an_account_joins_once_and_uses_one_place(session: Session, study: Study, admin: Account) -> None:
    invite, token = invited(session, study, admin, uses=1)
    anna = make_account(session, "Anna", Role.RATER)
    first = invites.join(session, token, anna, now=NOW)
    assert first[0] is anna
    for when in (NOW, LATER):  # also when the invite is used up and over
        assert invites.join(session, token, anna, now=when) == first
        assert invites.open_invite(session, token, anna, now=when).seat is first[1]
    session.refresh(invite)
    assert invite.uses == 1
    with pytest.raises(ForbiddenError):
        invites.join(session, token, make_account(session, "Ben", Role.RATER), now=NOW)


def test_whatever_the_reason_a_link_that_lets_nobody_in_says_the_same(
    session: Session, study: Study, admin: Account
) -> None:
    over, used, revoked, unknown = (invited(session, study, admin, uses=1)[1] for _ in range(4))
    invites.join(session, used, None, name="Anna", now=NOW)
    found = select(Invite).where(Invite.token_sha256 == accounts.sha256(revoked))
    invites.revoke_invite(session, session.scalars(found).one(), now=NOW)
    out = make_account(session, "Out", Role.RATER, seat_in=study.batch)
    seats.revoke_seat(session, study.batch.id, out.voter_id, now=NOW)
    said = set()
    for token, account, when in (
        (over, None, LATER),
        (used, None, NOW),
        (revoked, None, NOW),
        (unknown + "x", None, NOW),
        ("", None, NOW),
        (unknown, out, NOW),  # whose seat was taken back does not get another
    ):
        for ask in (invites.open_invite, invites.join):
            with pytest.raises(ForbiddenError) as refused:
                ask(session, token, account, now=when)
            said.add(refused.value.message)
    assert said == {invites.REFUSED}
    invites.open_invite(session, over, None, now=LATER - timedelta(seconds=1))


def test_a_closed_comparison_takes_nobody_and_says_so(session: Session, study: Study, admin: Account) -> None:
    invite, token = invited(session, study, admin)
    anna, seat = invites.join(session, token, None, name="Anna", now=NOW)
    eval_batches.close(session, study.batch, now=NOW)
    assert invites.open_invite(session, token, None, now=NOW).closed
    with pytest.raises(ConflictError, match="is over"):
        invites.join(session, token, None, name="Ben", now=NOW)
    assert invites.join(session, token, anna, now=NOW) == (anna, seat)
    session.refresh(invite)
    assert invite.uses == 1
    with pytest.raises(ConflictError, match="no invite was made"):
        invited(session, study, admin)


@pytest.mark.parametrize(
    "terms",
    [
        {"days": 0},
        {"days": 91},
        {"uses": 0},
        {"uses": 1001},
        {"uses": -1},
        {"title": "x" * 121},
        {"title": "a\x07b"},
        {"title": "Is BRIE-v1/epoch-2 any good?"},
        {"title": "suite-1"},
    ],
    ids=str,
)
def test_terms_that_make_no_sense_or_would_tell_make_no_invite(
    session: Session, study: Study, admin: Account, terms: dict[str, object]
) -> None:
    with pytest.raises(BadInputError):
        invited(session, study, admin, **terms)
    assert session.scalar(select(func.count(Invite.id))) == 0


@pytest.mark.parametrize("terms", [{"days": 1, "uses": 1}, {"days": 90, "uses": 1000}], ids=str)
def test_the_ends_of_the_ranges_are_allowed(
    session: Session, study: Study, admin: Account, terms: dict[str, int]
) -> None:
    invite, _ = invited(session, study, admin, title=" ", **terms)
    assert (invite.title, invite.expires_at) == (invites.TITLE, NOW + timedelta(days=terms["days"]))


# ------------------------------------------------------------------------------------- several at the same moment


@pytest.fixture
def batch(database: Database, tmp_path: Path) -> EvalBatch:
    with database.session_scope() as session:
        return make_study(session, tmp_path, prompts=1).batch


def token_for(database: Database, batch: EvalBatch, uses: int) -> str:
    with database.session_scope() as session:
        by = accounts.the_admin(session, now=NOW)
        return invites.make_invite(session, session.merge(batch), by=by, uses=uses, now=NOW)[1]


def counts(database: Database) -> tuple[int, int]:
    with database.session_scope(write=False) as session:
        return session.scalars(select(Invite.uses)).one(), session.scalar(select(func.count(Seat.id))) or 0


@pytest.mark.parametrize("names", [["Anna"] * 6, ["Anna", "Ben", "Cleo", "Dora", "Emil", "Fritz"]], ids=["same", "own"])
def test_who_comes_together_for_the_last_place_is_let_in_once(
    database: Database, batch: EvalBatch, names: list[str]
) -> None:
    token = token_for(database, batch, 1)

    def join(name: str) -> str:
        try:
            with database.session_scope() as session:
                return invites.join(session, token, None, name=name, now=NOW)[0].name
        except ArenaError as error:
            return error.message

    said = at_once([lambda name=name: join(name) for name in names])
    assert said.count(invites.REFUSED) == len(names) - 1
    assert counts(database) == (1, 1)
    with database.session_scope(write=False) as session:
        assert session.scalar(select(func.count(Account.id)).where(Account.role == Role.RATER)) == 1


def test_people_of_one_name_come_together_through_several_invites(database: Database, batch: EvalBatch) -> None:
    tokens = [token_for(database, batch, 3) for _ in range(5)]

    def join(token: str) -> str:
        with database.session_scope() as session:
            return invites.join(session, token, None, name="Anna", now=NOW)[0].name

    given = at_once([lambda token=token: join(token) for token in tokens])
    assert sorted(given) == ["Anna", "Anna 2", "Anna 3", "Anna 4", "Anna 5"]


def test_two_clicks_of_one_account_take_one_place(database: Database, batch: EvalBatch) -> None:
    token = token_for(database, batch, 5)
    with database.session_scope() as session:
        anna = make_account(session, "Anna", Role.RATER)

    def join() -> object:
        with database.session_scope() as session:
            return invites.join(session, token, anna, now=NOW)[1].id

    assert len(set(at_once([join] * 6))) == 1
    assert counts(database) == (1, 1)
