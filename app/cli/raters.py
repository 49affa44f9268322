"""``arena raters``: invite people to vote, and see who does."""

import uuid
from datetime import UTC, datetime
from typing import Annotated

import typer

from app.cli.address import last_known
from app.cli.output import JsonFlag, console, print_json, print_rows
from app.cli.prepare import prepare
from app.db import session_scope
from app.domain.errors import NotFoundError
from app.models import EvalBatch, Invite
from app.queries.lookup import find_batch
from app.queries.quality import excluded_of
from app.queries.raters import InviteRow, RaterRow, invite_rows, rater_rows
from app.services import accounts, invites

raters = typer.Typer(help="The people who vote: invites and progress.", no_args_is_help=True)


@raters.command("invite")
def raters_invite(
    batch: str,
    title: Annotated[str, typer.Option(help="What raters read. Name nothing that is compared.")] = invites.TITLE,
    days: Annotated[int, typer.Option(help=f"How long the link lets people in, 1 to {invites.MOST_DAYS}.")] = (
        invites.DAYS
    ),
    uses: Annotated[int, typer.Option(help=f"How many people it lets in, 1 to {invites.MOST_USES}.")] = invites.USES,
    as_json: JsonFlag = False,
) -> None:
    """Make a link by which people join an eval batch with one name and one click. It is printed this once."""
    settings = prepare()
    now = datetime.now(UTC)
    with session_scope() as session:
        found = find_batch(session, batch)
        by = accounts.the_admin(session, now=now)
        invite, token = invites.make_invite(session, found, title=title, days=days, uses=uses, by=by, now=now)
    link = f"{last_known(settings)}/join/{token}"
    if as_json:
        print_json({"id": invite.id, "batch": found.name, "title": invite.title, "most_uses": invite.most_uses,
                    "expires_at": invite.expires_at, "link": link})  # fmt: skip
        return
    console.print(link, soft_wrap=True, highlight=False, markup=False)


@raters.command("list")
def raters_list(
    batch: Annotated[str, typer.Argument(help="One eval batch only.")] = "", as_json: JsonFlag = False
) -> None:
    """List invites and raters of one eval batch, or of all."""
    prepare()
    now = datetime.now(UTC)
    with session_scope(write=False) as session:
        only = find_batch(session, batch) if batch else None
        mine = (Invite.eval_batch_id == only.id,) if only else ()
        listed = [only] if only else session.query(EvalBatch).order_by(EvalBatch.created_at.desc(), EvalBatch.name)
        invited = invite_rows(session, *mine, now=now)
        people = [(one.name, row) for one in listed for row in rater_rows(session, one, excluded_of(session, one))]
    rows = {"invites": [_invite(row) for row in invited], "raters": [_rater(name, row) for name, row in people]}
    if as_json:
        print_json(rows)
        return
    print_rows(rows["invites"], as_json=False, empty="No invite yet. Make one: ./arena raters invite BATCH")
    print_rows(rows["raters"], as_json=False, empty="Nobody has voted yet.")


def _invite(row: InviteRow) -> dict[str, object]:
    return {
        "id": row.id,
        "batch": row.batch,
        "title": row.title,
        "uses": row.uses,
        "most_uses": row.most_uses,
        "expires_at": row.expires_at,
        "open": row.open,
    }


def _rater(batch: str, row: RaterRow) -> dict[str, object]:
    return {
        "name": row.name,
        "batch": batch,
        "votes": row.votes,
        "skipped": row.skipped,
        "open_ballot": row.open_ballot,
        "last_at": row.last_at,
        "simulated": row.simulated,
        "seat_revoked_at": row.seat_revoked_at,
        "excluded": " ".join(row.excluded),
    }


@raters.command("revoke")
def raters_revoke(invite_id: Annotated[str, typer.Argument(metavar="INVITE_ID")]) -> None:
    """Let nobody else in by an invite. Who has joined stays."""
    prepare()
    try:
        wanted = uuid.UUID(invite_id)
    except ValueError as error:
        raise NotFoundError(f"{invite_id!r} is not the id of an invite. See them with ./arena raters list") from error
    with session_scope() as session:
        invites.revoke_invite(session, invites.find_invite(session, wanted), now=datetime.now(UTC))
    console.print("Revoked. Nobody else gets in by this link; who has joined stays.")
