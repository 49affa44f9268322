"""``arena tokens``: what programs sign in with."""

import uuid
from datetime import UTC, datetime
from typing import Annotated

import typer
from sqlalchemy import select

from app.cli.output import JsonFlag, console, print_json, print_rows
from app.cli.prepare import prepare
from app.db import session_scope
from app.domain.errors import BadInputError, NotFoundError
from app.domain.terms import TokenScope
from app.models import Account
from app.queries.tokens import token_rows
from app.services import accounts
from app.services import tokens as service

tokens = typer.Typer(help="API tokens: programs that vote, read results or read metrics.", no_args_is_help=True)


@tokens.command("make")
def make(
    name: Annotated[str, typer.Argument(help="What the program is.")],
    scope: Annotated[list[TokenScope], typer.Option(help="What it may do; may be given again.")],
    account: Annotated[str, typer.Option(help="Whom it acts for.")] = accounts.ADMIN,
    days: Annotated[int, typer.Option(help="Days until it ends, 1 to 365.")] = service.DEFAULT_DAYS,
    as_json: JsonFlag = False,
) -> None:
    """Make a token and print it, this once."""
    prepare()
    now = datetime.now(UTC)
    with session_scope() as session:
        if account == accounts.ADMIN:
            holder: Account | None = accounts.the_admin(session, now=now)
        else:
            holder = session.scalar(select(Account).where(Account.name == account))
        if holder is None:
            raise NotFoundError(f"There is no account {account!r}. The page Raters lists all accounts.")
        token, text = service.make(session, holder, name, scope, now=now, days=days)
        made = {"id": token.id, "name": token.name, "account": holder.name, "scopes": token.scopes,
                "expires_at": token.expires_at, "token": text}  # fmt: skip
    if as_json:
        print_json(made)
    else:
        console.print(text, soft_wrap=True, highlight=False)


@tokens.command("list")
def list_tokens(as_json: JsonFlag = False) -> None:
    """List tokens with their scopes; never a secret."""
    prepare()
    with session_scope(write=False) as session:
        rows = [
            {
                "id": view.id,
                "name": view.name,
                "account": view.account,
                "scopes": list(view.scopes) if as_json else ", ".join(view.scopes),
                "state": view.state,
                "expires_at": view.expires_at,
                "last_used_at": view.last_used_at,
            }
            for view in token_rows(session, now=datetime.now(UTC))
        ]
    print_rows(rows, as_json=as_json, empty="No token yet. Make one: ./arena tokens make NAME --scope vote")


@tokens.command("revoke")
def revoke(token: Annotated[str, typer.Argument(help="Id from ./arena tokens list.")]) -> None:
    """End a token at once."""
    prepare()
    try:
        token_id = uuid.UUID(token)
    except ValueError as error:
        raise BadInputError("A token is revoked by its id; ./arena tokens list shows it.") from error
    with session_scope() as session:
        name = service.revoke(session, token_id, now=datetime.now(UTC)).name
    console.print(f"{name} is revoked.", highlight=False)
