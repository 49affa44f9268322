"""Arenas in states that are about people: their doors, a rater's desk, the raters of an eval batch."""

from datetime import timedelta

from sqlalchemy.orm import Session

from app.domain.terms import Outcome, Role, TokenScope
from app.models import Account, EvalBatch, Voter
from app.services import accounts, invites, passwords, seats, tokens
from tests.browser.arena import SCRIPT, Arena
from tests.browser.page import Page
from tests.factories import make_study
from tests.many import seats as many_seats

FIRST, SECOND, TIE = Outcome.FIRST, Outcome.SECOND, Outcome.TIE
LONG = "Ferdinand-Alexander Graf von Westerholt-Gysenberg zu Hohenlohe-Schillingsfürst"
TITLE = "Which of two answers about cheese do you prefer?"


def _invited(arena: Arena, batch: EvalBatch, **terms: object) -> str:
    """The token of a new invite."""
    with arena.writing() as session:
        admin = accounts.the_admin(session, now=arena.now)
        return invites.make_invite(session, session.merge(batch), by=admin, now=arena.now, **terms)[1]


def _joined(arena: Arena, token: str, name: str) -> str:
    """Somebody joins; returns the path of a link that signs them in."""
    with arena.writing() as session:
        there = session.query(Account).filter_by(name=name).one_or_none()
        account, _ = invites.join(session, token, there, name=name, now=arena.now)
        return _entry(arena, session, account)


def _entry(arena: Arena, session: Session, account: Account) -> str:
    return f"/enter/{accounts.make_entry_link(session, account, now=arena.now)}"


def _batch(arena: Arena, name: str = "cheese", **plan: object) -> EvalBatch:
    arena.suite(name, [f"What is cheese number {number}?" for number in range(12)])
    batch = arena.batch(name, name=f"{name} after two epochs", **plan)
    arena.write(batch)
    return batch


def doors(arena: Arena) -> list[Page]:
    """Signing in, joining, and links that let nobody in."""
    batch = _batch(arena)
    token = _invited(arena, batch, title=TITLE)
    used = _invited(arena, batch, uses=1)
    over = _batch(arena, "bread")
    closed = _invited(arena, over)
    anna = _joined(arena, used, "Anna")
    arena.close(over)
    arena.suite("later", ["What is milk?"])
    unwritten = _invited(arena, arena.batch("later"))
    with arena.writing() as session:
        ben = accounts.make_account(session, LONG, Role.RATER, now=arena.now)
        ben.password_hash = passwords.hashed("under the old walnut tree")
        own, again, third = (_entry(arena, session, ben) for _ in range(3))
        owner = accounts.the_admin(session, now=arena.now)
        for name, days in (("length judge", 90), (LONG, 365), ("last month's script", 1)):
            made_at = arena.now - timedelta(days=3)
            made, _ = tokens.make(session, owner, name, tuple(TokenScope), now=made_at, days=days)
        made.last_used_at = arena.now - timedelta(days=2)
    return [
        Page("sign-in", "/enter", "main button", signed_in=False),
        Page("sign-in-needed", "/batches?q=cheese", "main button", signed_in=False, status=401),
        Page("sign-in-again", "/enter", "main button"),
        Page("entry-link", own, "main button", signed_in=False),
        Page("join", f"/join/{token}", "main button", signed_in=False),
        Page("join-as", f"/join/{token}", "main button", entry=again),
        Page("join-not-written", f"/join/{unwritten}", "main button", signed_in=False),
        Page("join-again", f"/join/{used}", "main button", entry=anna),
        Page("join-closed", f"/join/{closed}", signed_in=False),
        Page("join-refused", f"/join/{used}", "main a", signed_in=False, status=403),
        Page("account-admin", "/account", "main .button-main"),
        Page("account-rater", "/account", "main .button-main", entry=own),
        Page("tokens", "/account/tokens", "main .button-main"),
        Page("tokens-rater", "/account/tokens", "main .button-main", entry=third),
        Page("api", "/api/docs", "main a", signed_in=False),
    ]


def desk_of_one(arena: Arena) -> list[Page]:
    """A rater's first page with nothing on it, and with one comparison."""
    batch = _batch(arena)
    anna = _joined(arena, _invited(arena, batch, title=TITLE), "Anna")
    with arena.writing() as session:
        nobody = _entry(arena, session, accounts.make_account(session, "Ben", Role.RATER, now=arena.now))
        lost = _entry(arena, session, accounts.make_account(session, "Cleo", Role.RATER, now=arena.now))
    return [
        Page("desk-none", "/", entry=nobody),
        Page("desk-one", "/", "main .button-main", entry=anna),
        Page("desk-not-for-raters", "/batches", "main a", entry=lost, status=403),
    ]


def desk_of_many(arena: Arena) -> list[Page]:
    """A rater's first page with every kind of comparison, and more than fit a page."""
    arena.suite("many", ["What is milk?", "What is rennet?"])
    names, batches = ("Tea", "Salt", TITLE, LONG), []
    for number in range(60):
        batch = arena.batch("many", name=f"secret number {number}", seed=number + 1)
        batches.append(batch)
        anna = _joined(arena, _invited(arena, batch, title=f"{names[number % 4]} {number + 1}"), "Anna")
    for batch in batches[-6:]:
        arena.write(batch)
        arena.vote(batch, [SECOND], voter="Anna")
    arena.close(batches[-2])
    with arena.writing() as session:
        voter_id = arena.rater(session, "Anna").id
        seats.revoke_seat(session, batches[-3].id, voter_id, now=arena.now)
        found = _entry(arena, session, session.query(Account).filter_by(name="Anna").one())
    return [
        Page("desk-many", "/", "main .button-main", entry=anna),
        Page("desk-no-match", "/?q=nothing+like+that", "main a.button", entry=found),
    ]


def nobody(arena: Arena) -> list[Page]:
    """No eval batch, one without raters, and the forms that bring some."""
    before = [Page("new-account", "/raters/accounts", "main .button-main")]
    batch = _batch(arena)
    over = _batch(arena, "bread")
    arena.close(over)
    with arena.writing() as session:
        account = accounts.make_account(session, LONG, Role.RATER, now=arena.now)
        out = accounts.make_account(session, "Out", Role.RATER, now=arena.now)
        out.disabled_at = arena.now
    return [
        *before,
        Page("raters", "/raters", "main .button"),
        Page("batch", f"/raters/{batch.id}", "main a.button"),
        Page("batch-closed", f"/raters/{over.id}"),
        Page("new-invite", f"/raters/{batch.id}/invites", "main .button-main"),
        Page("new-invite-closed", f"/raters/{over.id}/invites", "main a.button"),
        Page("new-link", f"/raters/accounts/{account.id}/link", "main .button-main"),
        Page("new-link-disabled", f"/raters/accounts/{out.id}/link", "main a.button"),
        Page("nowhere", "/raters/00000000-0000-4000-8000-000000000000", "main a", status=404),
    ]


def three(arena: Arena) -> list[Page]:
    """Three people on one eval batch, one of them out, beside the admin and a simulated rater."""
    batch = _batch(arena, votes_per_pair=3)
    token = _invited(arena, batch, title=TITLE)
    for name in ("Anna", "Ben", LONG):
        _joined(arena, token, name)
    arena.vote(batch, [SECOND] * 5, voter="Anna")
    arena.vote(batch, [FIRST, TIE], voter="Ben")
    arena.vote(batch, [FIRST] * 2, voter=SCRIPT)
    arena.vote(batch, [SECOND], voter=accounts.ADMIN)
    with arena.writing() as session:
        ben = arena.rater(session, "Ben")
        seats.revoke_seat(session, batch.id, ben.id, now=arena.now)
        admin = accounts.the_admin(session, now=arena.now)
        old = arena.now - timedelta(days=9)
        stored = session.merge(batch)
        over, _ = invites.make_invite(session, stored, by=admin, now=old, title="The first round")
        taken, _ = invites.make_invite(session, stored, by=admin, now=old, days=90, title="Two friends", uses=2)
        taken.uses = 2
        back, _ = invites.make_invite(session, stored, by=admin, now=old, days=90, title="Sent to the wrong list")
        invites.revoke_invite(session, back, now=arena.now)
        session.query(Account).filter_by(name=LONG).one().disabled_at = arena.now
        assert over.expires_at < arena.now
        assert session.get(Voter, ben.id)
    return [
        Page("raters", "/raters", "main .button"),
        Page("batch", f"/raters/{batch.id}", "main .button-main"),
        Page("eval-batch", f"/batches/{batch.id}", "main .button"),
    ]


def crowd(arena: Arena) -> list[Page]:
    """A thousand raters on one eval batch."""
    with arena.writing() as session:
        study = make_study(session, arena.settings.home)
        many_seats(session, study, 1000)
    here = f"/raters/{study.batch.id}"
    return [
        Page("raters", "/raters", "main .button"),
        Page("raters-found", "/raters?q=row-00&page=2", "main input[name='q']"),
        Page("batch", here, "main a.button"),
        Page("batch-found", f"{here}?q=row-00&page=2", "main input[name='q']"),
        Page("batch-no-match", f"{here}?q=nobody", "main a.button"),
    ]
