import random
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.providers.calls import Limit, RateLimits
from app.providers.errors import OverloadedError, ProviderError, RateLimitedError, Said, ServerFaultError
from app.providers.pacing import BUSY, FIRST_WAIT, LONGEST_WAIT, Pace, backoff

NOW = datetime(2026, 11, 25, 12, tzinfo=UTC)
OPEN = Limit(60, 30, NOW + timedelta(seconds=9))
FAULT = ServerFaultError("Anthropic")


def limited(seconds: float | None) -> RateLimitedError:
    return RateLimitedError("Anthropic", Said(retry_after=seconds))


def test_no_more_calls_than_places_are_in_flight() -> None:
    pace = Pace(most=2)
    assert [pace.take(NOW) for _ in range(3)] == [0, 0, BUSY]
    pace.replied(None)
    assert pace.take(NOW) == 0
    assert pace.in_flight == 2


def test_a_pause_holds_for_everybody_until_it_is_over() -> None:
    pace = Pace(most=4)
    pace.take(NOW)
    pace.failed(limited(7), NOW)
    assert pace.take(NOW + timedelta(seconds=2)) == 5
    assert pace.take(NOW + timedelta(seconds=7)) == 0


def test_the_longest_of_several_pauses_holds() -> None:
    pace = Pace(most=4)
    for _ in range(2):
        pace.take(NOW)
    pace.failed(limited(30), NOW)
    pace.failed(limited(3), NOW)
    assert pace.take(NOW) == 30


@pytest.mark.parametrize("which", [0, 1, 2])
def test_a_used_up_limit_is_waited_for_before_it_is_hit(which: int) -> None:
    limits = [OPEN, OPEN, OPEN]
    limits[which] = Limit(60, 0, NOW + timedelta(seconds=20))
    pace = Pace(most=4)
    pace.take(NOW)
    pace.replied(RateLimits(*limits))
    assert pace.take(NOW) == 20


def test_a_limit_that_is_not_used_up_or_not_known_stops_nobody() -> None:
    pace = Pace(most=4)
    pace.take(NOW)
    pace.replied(RateLimits(OPEN, Limit(None, None, None), Limit(60, 0, None)))
    assert pace.take(NOW) == 0


@pytest.mark.parametrize("error", [limited(None), OverloadedError("Anthropic")])
def test_too_much_halves_the_pace_and_replies_bring_it_back(error: ProviderError) -> None:
    pace = Pace(most=8)
    for wanted in (4, 2, 1, 1):
        pace.take(NOW)
        pace.failed(error, NOW)
        assert pace.allowed == wanted
    for _ in range(40):
        assert pace.take(NOW) == 0
        pace.replied(None)
    assert pace.allowed == 8


def test_another_failure_does_not_slow_the_pace() -> None:
    pace = Pace(most=8)
    pace.take(NOW)
    pace.failed(FAULT, NOW)
    assert (pace.allowed, pace.in_flight, pace.take(NOW)) == (8, 0, 0)


@given(st.integers(1, 1000), st.integers(0, 2**32))
def test_waits_grow_to_a_limit_and_are_never_shorter_than_asked_for(attempt: int, seed: int) -> None:
    rng = random.Random(seed)  # noqa: S311 (no secret)
    wait = backoff(FAULT, attempt, rng)
    assert FIRST_WAIT / 2 <= wait <= LONGEST_WAIT
    assert backoff(limited(500), attempt, rng) == 500
    assert backoff(FAULT, attempt + 2, rng) >= min(wait, LONGEST_WAIT / 2)


@given(st.lists(st.sampled_from(["take", "reply", "limited", "fault"]), max_size=60))
def test_places_are_never_overdrawn_or_lost(steps: list[str]) -> None:
    pace, held = Pace(most=3), 0
    for step in steps:
        if step == "take":
            held += pace.take(NOW) == 0
        elif held:
            held -= 1
            if step == "reply":
                pace.replied(None)
            else:
                pace.failed(limited(None) if step == "limited" else FAULT, NOW)
        assert pace.in_flight == held
        assert 1 <= pace.allowed <= 3
        assert held <= 3
