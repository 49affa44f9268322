"""Raters, for admins: invites, seats and progress of each eval batch, and all accounts."""

import uuid
from typing import Annotated

from fastapi import APIRouter, Form, Request
from sqlalchemy.orm import Session
from starlette.responses import RedirectResponse, Response

from app.domain.errors import BadInputError, NotFoundError
from app.domain.terms import Role
from app.models import Account, EvalBatch
from app.queries.raters import batch_raters_page, raters_page
from app.services import accounts, invites, seats
from app.web.deps import AdminDep, NowDep, ReadDep, WantedDep, WriteDep
from app.web.render import render

router = APIRouter()


@router.get("/raters")
def raters(request: Request, _: AdminDep, session: ReadDep, now: NowDep, wanted: WantedDep) -> Response:
    """Open eval batches with their invites and raters, and all accounts."""
    return render(request, "raters/page.html", page=raters_page(session, wanted, now=now))


@router.get("/raters/accounts")
def new_account(request: Request, _: AdminDep) -> Response:
    """The form for an account."""
    return render(request, "raters/new_account.html")


@router.post("/raters/accounts")
def make_account(
    request: Request,
    _: AdminDep,
    session: WriteDep,
    now: NowDep,
    name: Annotated[str, Form(max_length=400)] = "",
    role: Annotated[str, Form(max_length=40)] = Role.RATER.value,
) -> Response:
    """Make an account and show, this once, the link that signs its holder in."""
    if role not in list(Role):
        raise BadInputError("There are admins and raters, nothing else. No account was made.")
    account = accounts.make_account(session, name, Role(role), now=now)
    return _link(request, session, account, now)


@router.get("/raters/accounts/{account_id}/link")
def new_link(request: Request, _: AdminDep, session: ReadDep, account_id: uuid.UUID) -> Response:
    """What a link is, and a button that makes one."""
    return render(request, "raters/new_link.html", account=accounts.find_account(session, account_id))


@router.post("/raters/accounts/{account_id}/link")
def make_link(request: Request, _: AdminDep, session: WriteDep, now: NowDep, account_id: uuid.UUID) -> Response:
    """Make a link that signs the holder of an account in, and show it this once."""
    return _link(request, session, accounts.find_account(session, account_id), now)


def _link(request: Request, session: Session, account: Account, now: NowDep) -> Response:
    token = accounts.make_entry_link(session, account, now=now)
    address = str(request.base_url.replace(path=f"/enter/{token}"))
    return render(request, "raters/link.html", account=account, address=address)


@router.post("/raters/accounts/{account_id}/disable")
def disable(admin: AdminDep, session: WriteDep, now: NowDep, account_id: uuid.UUID) -> Response:
    """Keep somebody out from now on."""
    accounts.disable(session, accounts.find_account(session, account_id), by=admin, now=now)
    return RedirectResponse("/raters", status_code=303)


@router.post("/raters/accounts/{account_id}/enable")
def enable(_: AdminDep, session: WriteDep, account_id: uuid.UUID) -> Response:
    """Let somebody in again."""
    accounts.enable(accounts.find_account(session, account_id))
    return RedirectResponse("/raters", status_code=303)


@router.post("/raters/invites/{invite_id}/revoke")
def revoke_invite(_: AdminDep, session: WriteDep, now: NowDep, invite_id: uuid.UUID) -> Response:
    """Let nobody else in by this link."""
    invite = invites.find_invite(session, invite_id)
    invites.revoke_invite(session, invite, now=now)
    return RedirectResponse(f"/raters/{invite.eval_batch_id}", status_code=303)


@router.get("/raters/{batch_id}")
def batch_raters(
    request: Request, _: AdminDep, session: ReadDep, now: NowDep, wanted: WantedDep, batch_id: uuid.UUID
) -> Response:
    """The invites and raters of one eval batch."""
    return render(request, "raters/batch.html", page=batch_raters_page(session, batch_id, wanted, now=now))


@router.get("/raters/{batch_id}/list")
def raters_list(
    request: Request, _: AdminDep, session: ReadDep, now: NowDep, wanted: WantedDep, batch_id: uuid.UUID
) -> Response:
    """The part of that page that changes by itself."""
    return render(request, "raters/_list.html", page=batch_raters_page(session, batch_id, wanted, now=now))


def _batch(session: Session, batch_id: uuid.UUID) -> EvalBatch:
    batch = session.get(EvalBatch, batch_id)
    if batch is None:
        raise NotFoundError("There is no such eval batch. The list of eval batches shows what exists.")
    return batch


@router.get("/raters/{batch_id}/invites")
def new_invite(request: Request, _: AdminDep, session: ReadDep, batch_id: uuid.UUID) -> Response:
    """The form for an invite."""
    return render(request, "raters/new_invite.html", batch=_batch(session, batch_id), invites=invites)


@router.post("/raters/{batch_id}/invites")
def make_invite(
    request: Request,
    admin: AdminDep,
    session: WriteDep,
    now: NowDep,
    batch_id: uuid.UUID,
    title: Annotated[str, Form(max_length=400)] = invites.TITLE,
    days: Annotated[int, Form()] = invites.DAYS,
    uses: Annotated[int, Form()] = invites.USES,
) -> Response:
    """Make an invite and show its link this once."""
    batch = _batch(session, batch_id)
    invite, token = invites.make_invite(session, batch, title=title, days=days, uses=uses, by=admin, now=now)
    address = str(request.base_url.replace(path=f"/join/{token}"))
    return render(request, "raters/invite.html", batch=batch, invite=invite, address=address)


@router.post("/raters/{batch_id}/seats/{voter_id}/revoke")
def revoke_seat(_: AdminDep, session: WriteDep, now: NowDep, batch_id: uuid.UUID, voter_id: uuid.UUID) -> Response:
    """Show a rater no more pairs of this eval batch."""
    seats.revoke_seat(session, batch_id, voter_id, now=now)
    return RedirectResponse(f"/raters/{batch_id}", status_code=303)


@router.post("/raters/{batch_id}/seats/{voter_id}/restore")
def restore_seat(_: AdminDep, session: WriteDep, batch_id: uuid.UUID, voter_id: uuid.UUID) -> Response:
    """Give a rater the seat back."""
    seats.restore_seat(session, batch_id, voter_id)
    return RedirectResponse(f"/raters/{batch_id}", status_code=303)
