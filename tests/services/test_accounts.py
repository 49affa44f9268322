from datetime import timedelta

import pytest
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from app.domain.errors import ForbiddenError
from app.domain.terms import Role, VoterKind
from app.models import Account, EntryLink, SignIn
from app.services import accounts
from tests.factories import NOW, make_account

MONTH = timedelta(days=30)


def test_the_admin_is_made_once_with_a_voter(session: Session) -> None:
    first, second = (accounts.the_admin(session, now=NOW) for _ in range(2))
    assert first is second
    assert first.role is Role.ADMIN
    assert accounts.voter_of(session, first.id).kind is VoterKind.RATER


def test_a_link_signs_in_once(session: Session) -> None:
    admin = accounts.the_admin(session, now=NOW)
    link = accounts.make_entry_link(session, admin, now=NOW)
    session.flush()
    token = accounts.enter(session, link, now=NOW, lifetime=MONTH)
    session.flush()
    assert accounts.account_of(session, token, now=NOW) is admin
    with pytest.raises(ForbiddenError, match="used before or has expired"):
        accounts.enter(session, link, now=NOW, lifetime=MONTH)
    assert session.scalar(select(func.count(SignIn.id))) == 1


def test_a_link_lasts_a_day(session: Session) -> None:
    admin = accounts.the_admin(session, now=NOW)
    links = [accounts.make_entry_link(session, admin, now=NOW) for _ in range(2)]
    session.flush()
    accounts.enter(session, links[0], now=NOW + accounts.LINK_LIFETIME - timedelta(seconds=1), lifetime=MONTH)
    with pytest.raises(ForbiddenError):
        accounts.enter(session, links[1], now=NOW + accounts.LINK_LIFETIME, lifetime=MONTH)


def test_an_unknown_link_gets_the_same_sentence_as_a_used_one(session: Session) -> None:
    link = accounts.make_entry_link(session, accounts.the_admin(session, now=NOW), now=NOW)
    session.flush()
    accounts.enter(session, link, now=NOW, lifetime=MONTH)
    sentences = set()
    for token in (link, "unknown", ""):
        with pytest.raises(ForbiddenError) as caught:
            accounts.enter(session, token, now=NOW, lifetime=MONTH)
        sentences.add(caught.value.message)
    assert len(sentences) == 1


def test_a_session_ends_with_its_time_or_by_leaving(session: Session) -> None:
    admin = accounts.the_admin(session, now=NOW)
    tokens = []
    for _ in range(2):
        link = accounts.make_entry_link(session, admin, now=NOW)
        session.flush()
        tokens.append(accounts.enter(session, link, now=NOW, lifetime=MONTH))
    session.flush()
    assert accounts.account_of(session, tokens[0], now=NOW + MONTH) is None
    accounts.leave(session, tokens[0])
    accounts.leave(session, "never signed in")
    session.flush()
    assert accounts.account_of(session, tokens[0], now=NOW) is None
    assert accounts.account_of(session, tokens[1], now=NOW) is admin


def test_tokens_belong_to_one_account_and_are_not_stored(session: Session) -> None:
    people = [make_account(session, name, Role.RATER) for name in ("one", "two")]
    tokens = []
    for person in people:
        link = accounts.make_entry_link(session, person, now=NOW)
        session.flush()
        tokens += [link, accounts.enter(session, link, now=NOW, lifetime=MONTH)]
    session.flush()
    assert [accounts.account_of(session, token, now=NOW) for token in tokens] == [None, people[0], None, people[1]]
    stored = [
        str(value)
        for table in (Account, EntryLink, SignIn)
        for row in session.scalars(select(table))
        for value in vars(row).values()
    ]
    assert not [token for token in tokens if any(token in value for value in stored)]
