"""What a reply's headers say about rate limits, by Anthropic and by servers that speak chat completions."""

import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime

from app.providers.calls import Limit, RateLimits

_PART = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d)")
_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}


def anthropic_limits(headers: Mapping[str, str]) -> RateLimits | None:
    """From ``anthropic-ratelimit-…`` headers, whose resets are moments; None where there are none."""

    def limit(what: str) -> Limit:
        start = f"anthropic-ratelimit-{what}"
        return Limit(
            _count(headers.get(f"{start}-limit")),
            _count(headers.get(f"{start}-remaining")),
            _moment(headers.get(f"{start}-reset")),
        )

    return _known(RateLimits(limit("requests"), limit("input-tokens"), limit("output-tokens")))


def openai_limits(headers: Mapping[str, str]) -> RateLimits | None:
    """From ``x-ratelimit-…`` headers, whose resets are spans like ``6m0s`` from the reply's date on."""
    sent = _date(headers.get("date"))

    def limit(what: str) -> Limit:
        span = _span(headers.get(f"x-ratelimit-reset-{what}"))
        return Limit(
            _count(headers.get(f"x-ratelimit-limit-{what}")),
            _count(headers.get(f"x-ratelimit-remaining-{what}")),
            sent + span if sent and span is not None else None,
        )

    return _known(RateLimits(limit("requests"), limit("tokens"), limit("tokens")))


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds to wait before the next call, where the server says so."""
    try:
        if "retry-after-ms" in headers:
            return max(float(headers["retry-after-ms"]) / 1000, 0.0)
        return max(float(headers["retry-after"]), 0.0)
    except KeyError:
        return None
    except ValueError:
        until, sent = _date(headers.get("retry-after")), _date(headers.get("date"))
        return max((until - sent).total_seconds(), 0.0) if until and sent else None


def _known(limits: RateLimits) -> RateLimits | None:
    nothing = Limit(None, None, None)
    return None if limits == RateLimits(nothing, nothing, nothing) else limits


def _count(value: str | None) -> int | None:
    return int(value) if value is not None and value.isdecimal() else None


def _moment(value: str | None) -> datetime | None:
    try:
        found = datetime.fromisoformat(value) if value else None
    except ValueError:
        return None
    return found if found is None or found.tzinfo else found.replace(tzinfo=UTC)


def _span(value: str | None) -> timedelta | None:
    if not value or _PART.sub("", value):
        return None
    return timedelta(seconds=sum(float(number) * _SECONDS[unit] for number, unit in _PART.findall(value)))


def _date(value: str | None) -> datetime | None:
    try:
        found = parsedate_to_datetime(value) if value else None
    except ValueError:
        return None
    return found if found is None or found.tzinfo else found.replace(tzinfo=UTC)
