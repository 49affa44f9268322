from datetime import timedelta

import pytest
from sqlalchemy import select

from app.db import Database
from app.domain.errors import BadInputError, ForbiddenError, NotFoundError, SignInRequiredError
from app.domain.terms import Role, TokenScope
from app.models import Account, ApiToken
from app.queries.tokens import token_rows
from app.services import tokens
from tests.factories import NOW, make_account

VOTE = (TokenScope.VOTE,)
DAY = timedelta(days=1)


@pytest.fixture
def rater(database: Database) -> Account:
    with database.session_scope() as session:
        return make_account(session, "rater", Role.RATER)


def make(database: Database, account: Account, **changed: object) -> str:
    given = {"name": "a script", "scopes": VOTE, "now": NOW} | changed
    with database.session_scope() as session:
        return tokens.make(session, session.get_one(Account, account.id), **given)[1]


def refused(database: Database, text: str, now: object = NOW) -> bool:
    with pytest.raises(SignInRequiredError):
        tokens.authenticate(database, text, now=now)
    return True


def test_a_token_acts_for_its_account_within_its_scopes(database: Database, rater: Account) -> None:
    holder = tokens.authenticate(database, make(database, rater), now=NOW)
    assert (holder.account_id, holder.voter_id, holder.role) == (rater.id, rater.voter_id, Role.RATER)
    assert holder.scopes == {TokenScope.VOTE}


def test_the_database_holds_no_secret(database: Database, rater: Account) -> None:
    secret = make(database, rater).split("_", 2)[2]  # it may hold an underscore itself
    with database.engine.connect() as connection:
        row = str(connection.execute(select(ApiToken.__table__)).one())
    assert secret not in row


def test_what_is_not_quite_the_token_is_refused(database: Database, rater: Account) -> None:
    text = make(database, rater)
    other = make(database, rater)
    wrong = {
        "", "arena_", text[:-1], text + "A", text.swapcase(), f" {text}", text.replace("arena", "Arena"),
        text[:38] + "_" + other[39:],  # the id of one with the secret of another
        "arena_" + "0" * 32 + text[38:], "arena_" + "g" * 32 + text[38:], text + "\n", "é" * 50, "x" * 10_000,
    }  # fmt: skip
    assert all(refused(database, one) for one in wrong)
    assert tokens.authenticate(database, text, now=NOW)


def test_a_token_ends_when_it_said(database: Database, rater: Account) -> None:
    text = make(database, rater, days=1)
    assert tokens.authenticate(database, text, now=NOW + DAY - timedelta(seconds=1))
    assert refused(database, text, NOW + DAY)
    assert tokens.authenticate(database, make(database, rater), now=NOW + 89 * DAY)
    assert refused(database, make(database, rater), NOW + 90 * DAY)


def test_a_revoked_token_is_refused_at_once(database: Database, rater: Account) -> None:
    text = make(database, rater)
    holder = tokens.authenticate(database, text, now=NOW)
    with database.session_scope() as session:
        tokens.revoke(session, holder.token_id, now=NOW, account_id=rater.id)
    assert refused(database, text)
    with database.session_scope() as session:
        again = tokens.revoke(session, holder.token_id, now=NOW + DAY, account_id=rater.id)
        assert again.revoked_at == NOW
        (row,) = token_rows(session, now=NOW)
        assert row.state == "revoked"


def test_nobody_revokes_the_token_of_another(database: Database, rater: Account) -> None:
    holder = tokens.authenticate(database, make(database, rater), now=NOW)
    with database.session_scope() as session:
        other = make_account(session, "other", Role.RATER)
        with pytest.raises(NotFoundError):
            tokens.revoke(session, holder.token_id, now=NOW, account_id=other.id)


def test_a_disabled_account_has_no_programs(database: Database, rater: Account) -> None:
    text = make(database, rater)
    with database.session_scope() as session:
        session.get_one(Account, rater.id).disabled_at = NOW
    assert refused(database, text)
    with pytest.raises(ForbiddenError):
        make(database, rater)


def test_raters_make_tokens_for_voting_alone(database: Database, rater: Account) -> None:
    for scope in (TokenScope.RESULTS, TokenScope.METRICS):
        with pytest.raises(ForbiddenError):
            make(database, rater, scopes=(TokenScope.VOTE, scope))
    with database.session_scope() as session:
        admin = make_account(session, "boss", Role.ADMIN)
    assert tokens.authenticate(database, make(database, admin, scopes=tuple(TokenScope)), now=NOW).scopes == {
        *TokenScope
    }


def test_who_is_no_longer_an_admin_has_programs_that_vote_alone(database: Database) -> None:
    with database.session_scope() as session:
        admin = make_account(session, "boss", Role.ADMIN)
    text = make(database, admin, scopes=tuple(TokenScope))
    with database.session_scope() as session:
        session.get_one(Account, admin.id).role = Role.RATER
    assert tokens.authenticate(database, text, now=NOW).scopes == {TokenScope.VOTE}


@pytest.mark.parametrize(
    "wrong", [{"name": "  "}, {"name": "n" * 121}, {"name": "a\0b"}, {"scopes": ()}, {"days": 0}, {"days": 366}],
    ids=str,
)  # fmt: skip
def test_a_token_needs_a_name_a_scope_and_an_end(database: Database, rater: Account, wrong: dict[str, object]) -> None:
    with pytest.raises(BadInputError):
        make(database, rater, **wrong)


def test_its_use_is_written_down_once_a_minute(database: Database, rater: Account) -> None:
    text = make(database, rater)

    def used(after: int) -> object:
        tokens.authenticate(database, text, now=NOW + timedelta(seconds=after))
        with database.session_scope(write=False) as session:
            return (session.scalars(select(ApiToken.last_used_at)).one() - NOW).total_seconds()

    assert [used(after) for after in (0, 1, 59, 60, 61, 200)] == [0, 0, 0, 60, 60, 200]
