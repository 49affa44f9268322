"""Rate limits: how often one address, name or account may ask for the same. Counted in memory, or in Redis."""

import hashlib
import ipaddress
import math
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

from fastapi import Depends, Request
from limits import RateLimitItem, parse_many
from limits.errors import StorageError
from limits.storage import MemoryStorage, RedisStorage
from limits.strategies import SlidingWindowCounterRateLimiter

from app.config import Settings
from app.domain.errors import TooManyError
from app.log import get_logger
from app.web.deps import AccountDep

log = get_logger(__name__)

Limited = Literal["sign_in", "sign_in_name", "sign_in_address", "join", "vote", "api"]
"""What is limited; the figures are the settings ``limit_…``."""

_REDIS_SECONDS = 0.5
"""How long Redis may take. Whoever is asked is answering a request."""
_AWAY_SECONDS = 30.0
"""How long this process counts by itself after Redis did not answer."""
_IPV6_HOME = 64
"""Bits of an IPv6 address that one household shares."""


@dataclass
class Limits:
    """The counters of a process. With Redis all share them; while that does not answer, each has its own."""

    rules: dict[Limited, list[RateLimitItem]]
    memory: SlidingWindowCounterRateLimiter = field(
        default_factory=lambda: SlidingWindowCounterRateLimiter(MemoryStorage())
    )
    shared: SlidingWindowCounterRateLimiter | None = None
    _away_until: float = -math.inf

    @classmethod
    def of(cls, settings: Settings) -> "Limits":
        """The limits that the operator has set."""
        figures: dict[Limited, str] = {
            "sign_in": settings.limit_sign_in,
            "sign_in_name": settings.limit_sign_in_name,
            "sign_in_address": settings.limit_sign_in_address,
            "join": settings.limit_join,
            "vote": settings.limit_vote,
            "api": settings.limit_api,
        }
        rules = {what: parse_many(text) if text else [] for what, text in figures.items()}
        if not settings.broker_url.startswith(("redis://", "rediss://")):
            return cls(rules)
        storage = RedisStorage(
            settings.broker_url, key_prefix="arena-limits", wrap_exceptions=True,
            socket_connect_timeout=_REDIS_SECONDS, socket_timeout=_REDIS_SECONDS,
        )  # fmt: skip
        return cls(rules, shared=SlidingWindowCounterRateLimiter(storage))

    def hit(self, what: Limited, who: str) -> None:
        """Count one request.

        Raises:
            TooManyError: there were too many; says for how long.
        """
        key = hashlib.sha256(who.encode()).hexdigest()[:32]  # of any length, and no name or address lies in Redis
        for rule in self.rules[what]:
            wait = self._ask(rule, what, key)
            if wait is not None:
                raise TooManyError(
                    f"That was asked too often in a short time. Nothing was lost; try again in {in_words(wait)}.", wait
                )

    def _ask(self, rule: RateLimitItem, what: Limited, key: str) -> int | None:
        """Seconds to wait, or ``None`` when it is fine."""
        if self.shared is not None and time.monotonic() >= self._away_until:
            try:
                return _counted(self.shared, rule, what, key)
            except StorageError as error:
                self._away_until = time.monotonic() + _AWAY_SECONDS
                log.warning("limits_without_redis", reason=type(error.storage_error).__name__)
        return _counted(self.memory, rule, what, key)


def _counted(limiter: SlidingWindowCounterRateLimiter, rule: RateLimitItem, what: Limited, key: str) -> int | None:
    if limiter.hit(rule, what, key):
        return None
    until, _ = limiter.get_window_stats(rule, what, key)
    return max(1, min(math.ceil(until - time.time()), rule.get_expiry()))


def in_words(seconds: int) -> str:
    """``8 seconds``, ``3 minutes``."""
    unit, count = ("second", seconds) if seconds < 2 * 60 else ("minute", math.ceil(seconds / 60))
    return f"{count} {unit}" + ("" if count == 1 else "s")


async def get_limits(request: Request) -> Limits:
    """The limits the application was created with."""
    limits: Limits = request.app.state.limits
    return limits


LimitsDep = Annotated[Limits, Depends(get_limits)]


def address_of(request: Request) -> str:
    """Where the connection comes from; never what a header claims (uvicorn may be told whose headers to believe)."""
    host = request.client.host if request.client else ""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:  # a socket of this machine has no address
        return host
    return str(ipaddress.ip_network((address, _IPV6_HOME), strict=False)) if address.version == 6 else host  # noqa: PLR2004


async def by_address(request: Request) -> str:
    """The same, for a route that counts."""
    return address_of(request)


async def by_account(account: AccountDep) -> str:
    """Who is signed in."""
    return str(account.id)


def limited(what: Limited, who: Callable[..., Awaitable[str]] = by_address) -> Any:
    """A dependency of a route that counts each request of ``who``, itself a dependency that gives a text.

    ``@router.post("/vote", dependencies=[limited("vote", by_account)])``
    """

    def count(limits: LimitsDep, key: Annotated[str, Depends(who)]) -> None:
        limits.hit(what, key)

    return Depends(count)
