"""Programs that ask: the token of a request, what it allows, and how often it may ask. No cookie counts here."""

from typing import Annotated, Any

from fastapi import Depends, Security
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from app.domain.errors import ForbiddenError, SignInRequiredError
from app.domain.terms import TokenScope
from app.services import tokens
from app.services.tokens import Holder
from app.web.deps import DatabaseDep, NowDep
from app.web.limits import LimitsDep

bearer = HTTPBearer(
    auto_error=False,
    scheme_name="token",
    bearerFormat="arena_ID_SECRET",
    description="An API token, made on the page “API tokens” or by `./arena tokens make`. It ends by itself.",
)
SentDep = Annotated[HTTPAuthorizationCredentials | None, Security(bearer)]


def token_holder(sent: SentDep, database: DatabaseDep, limits: LimitsDep, now: NowDep) -> Holder:
    """Whom this request acts for.

    Raises:
        SignInRequiredError: no token, or one that is not valid.
        TooManyError: this token asked too often.
    """
    if sent is None:
        raise SignInRequiredError("Send an API token: the header “Authorization: Bearer arena_…”. Nothing was done.")
    holder = tokens.authenticate(database, sent.credentials, now=now)
    limits.hit("api", str(holder.token_id))
    return holder


HolderDep = Annotated[Holder, Depends(token_holder)]
FIRST = [Depends(token_holder)]
"""Dependencies of every router of the API: the token is looked up, and its use written down, before a route opens its
own transaction. The other way round, two transactions of one request would wait for each other on SQLite's lock."""


def allow(holder: Holder, scope: TokenScope) -> Holder:
    """The holder again, if its token has the scope.

    Raises:
        ForbiddenError: it lacks it.
    """
    if scope not in holder.scopes:
        raise ForbiddenError(f"This token lacks the scope “{scope}”. Make one that has it; nothing was done.")
    return holder


def _with(scope: TokenScope) -> Any:
    def allowed(holder: HolderDep) -> Holder:
        return allow(holder, scope)

    return Depends(allowed)


VotingClient = Annotated[Holder, _with(TokenScope.VOTE)]
ResultsClient = Annotated[Holder, _with(TokenScope.RESULTS)]
