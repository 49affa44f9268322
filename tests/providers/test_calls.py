import subprocess
import sys
from datetime import UTC, datetime, timedelta

import pytest

from app.config import ROOT
from app.domain.errors import BadInputError
from app.domain.terms import Trouble
from app.providers.calls import Parameters
from app.providers.errors import NOTHING, ProviderError, RetiredModelError, Said, error_of
from app.providers.headers import anthropic_limits, openai_limits, retry_after

DATE = "Wed, 25 Nov 2026 10:00:00 GMT"


def family() -> list[type[ProviderError]]:
    return ProviderError.__subclasses__()


def made(error: type[ProviderError], said: Said = NOTHING) -> ProviderError:
    return RetiredModelError("Anthropic", said, "claude-x") if error is RetiredModelError else error("Anthropic", said)


def test_every_trouble_has_one_error() -> None:
    ours = {Trouble.CAP_REACHED}  # no provider says that
    assert sorted(error.trouble for error in family()) == sorted(set(Trouble) - ours)


@pytest.mark.parametrize("error", family(), ids=lambda error: error.trouble)
def test_a_sentence_names_the_server_and_says_what_was_kept_and_what_comes_next(error: type[ProviderError]) -> None:
    told = made(error, Said("words of the server", retry_after=3))
    assert "Anthropic" in told.message
    assert "{" not in told.message
    kept = ("nothing was paid", "nothing was sent", "are kept", "counted as unknown")
    assert any(word in told.message.lower() for word in kept)
    assert told.passing or told.blocks or "Check the model" in told.message
    assert told.detail == "words of the server"


def test_what_is_unknown_is_only_what_went_out_without_an_answer() -> None:
    assert [error.trouble for error in family() if error.unknown] == [Trouble.LOST_REPLY]
    assert not any(error.passing and error.blocks for error in family())


def test_a_long_explanation_is_shortened_in_the_sentence_and_kept_in_full() -> None:
    told = error_of(400)("Anthropic", Said("x\n" * 5000))
    assert len(told.message) < 700
    assert len(told.detail) == 10_000


@pytest.mark.parametrize(
    ("status", "trouble"),
    [(400, "bad_request"), (413, "bad_request"), (418, "bad_request"), (429, "rate_limited"), (500, "server_fault"),
     (502, "server_fault"), (503, "overloaded"), (529, "overloaded"), (408, "lost_reply"), (504, "lost_reply")],
)  # fmt: skip
def test_a_status_has_its_trouble(status: int, trouble: str) -> None:
    assert error_of(status).trouble == trouble


def test_parameters_come_back_from_what_is_stored() -> None:
    parameters = Parameters(max_tokens=700, effort="low", thinking=True, temperature=0.5)
    assert Parameters(**parameters.as_json()) == parameters


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"max_tokens": 1}, "64 to 64,000"),
        ({"max_tokens": 100_000}, "64 to 64,000"),
        ({"effort": "huge"}, "low, medium, high"),
        ({"temperature": 3.0}, "between 0 and 2"),
        ({"temperature": float("nan")}, "between 0 and 2"),
    ],
)
def test_parameters_that_nobody_takes_are_refused(changed: dict[str, object], says: str) -> None:
    with pytest.raises(BadInputError, match=says):
        Parameters(**changed)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"retry-after": "7"}, 7),
        ({"retry-after": "0.5"}, 0.5),
        ({"retry-after": "-1"}, 0),
        ({"retry-after-ms": "1500", "retry-after": "7"}, 1.5),
        ({"retry-after": "Wed, 25 Nov 2026 10:01:00 GMT", "date": DATE}, 60),
        ({"retry-after": "soon", "date": DATE}, None),
        ({"retry-after": "soon"}, None),
        ({}, None),
    ],
)
def test_a_pause_is_read_in_every_form(headers: dict[str, str], seconds: float | None) -> None:
    assert retry_after(headers) == seconds


def test_limits_of_both_kinds_become_moments() -> None:
    start = datetime(2026, 11, 25, 10, tzinfo=UTC)
    claude = anthropic_limits(
        {
            "anthropic-ratelimit-requests-limit": "50",
            "anthropic-ratelimit-requests-remaining": "0",
            "anthropic-ratelimit-requests-reset": "2026-11-25T10:00:30Z",
            "anthropic-ratelimit-output-tokens-remaining": "none",
        }
    )
    assert claude is not None
    assert (claude.requests.limit, claude.requests.remaining) == (50, 0)
    assert claude.requests.resets_at == start + timedelta(seconds=30)
    assert claude.output_tokens.remaining is None
    other = openai_limits({"date": DATE, "x-ratelimit-reset-tokens": "6m0.5s", "x-ratelimit-remaining-tokens": "9"})
    assert other is not None
    assert other.input_tokens.resets_at == start + timedelta(seconds=360.5)
    assert openai_limits({"date": DATE, "x-ratelimit-reset-tokens": "later"}) is None
    assert anthropic_limits({"date": DATE, "anthropic-ratelimit-requests-reset": "later"}) is None


def test_the_sdk_and_the_price_table_are_imported_with_their_first_use() -> None:
    code = (
        "import sys, app.providers.connect, app.providers.prices, app.demo_judges.server; "
        "print([name for name in ('anthropic', 'genai_prices', 'httpx2') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
