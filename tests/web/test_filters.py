from datetime import UTC, datetime, timedelta, timezone

import pytest

from app.web import filters

NOW = datetime(2026, 3, 12, 14, 5, tzinfo=UTC)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (None, filters.UNKNOWN),
        (0, "0 s"),
        (59.4, "59 s"),
        (200, "3 min 20 s"),
        (7500, "2 h 05 min"),
        (90_000, "1 day 1 h"),
    ],
)
def test_duration(seconds: float | None, text: str) -> None:
    assert filters.duration(seconds) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (5, "under a minute"),
        (143, "about 2 min"),
        (8500, "about 2 h 20 min"),
        (100_000, "about 1 day"),
    ],
)
def test_an_estimated_time_claims_no_precision(seconds: float, text: str) -> None:
    assert filters.roughly(seconds) == text


@pytest.mark.parametrize(
    ("before", "text"),
    [
        (timedelta(seconds=3), "just now"),
        (timedelta(seconds=-3), "just now"),
        (timedelta(minutes=5), "5 min ago"),
        (timedelta(hours=23), "23 h ago"),
        (timedelta(days=1), "1 day ago"),
        (timedelta(days=40), "31 January 2026"),
    ],
)
def test_ago(before: timedelta, text: str) -> None:
    assert filters.ago(NOW - before, NOW) == text


@pytest.mark.parametrize(
    ("share", "text"),
    [
        (0, "0%"),
        (1, "100%"),
        (10 / 13, "77%"),
        (0.004, "under 1%"),
        (0.999, "over 99%"),
        (0.5, "50%"),
        (None, filters.UNKNOWN),
    ],
)
def test_percent_never_claims_certainty_by_rounding(share: float | None, text: str) -> None:
    assert filters.percent(share) == text


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (0, "0 bytes"),
        (1, "1 byte"),
        (999, "999 bytes"),
        (1500, "1.5 KB"),
        (269_000_000, "269 MB"),
        (999_999, "1.0 MB"),
    ],
)
def test_size(number: int, text: str) -> None:
    assert filters.size(number) == text


def test_count_groups_without_a_comma() -> None:
    assert filters.count(188_880) == "188\N{NARROW NO-BREAK SPACE}880"


def test_words_and_moments() -> None:
    assert filters.plain_words("in_domain") == "in domain"
    assert filters.moment(NOW) == "12 March 2026, 14:05 UTC"
    assert filters.span(0.3675, 0.9756) == "37% to 98%"
    assert [filters.plural(n, "pair") for n in (0, 1, 2)] == ["pairs", "pair", "pairs"]


@pytest.mark.parametrize(
    ("loss", "text"), [(0, "1.0"), (3.574, "35.7"), (None, filters.UNKNOWN), (float("inf"), "485165195.4")]
)
def test_perplexity_is_the_exponential_of_the_loss(loss: float | None, text: str) -> None:
    assert filters.perplexity(loss) == text


@pytest.mark.parametrize(
    ("names", "said"),
    [
        ((), ""),
        (("one",), "one"),
        (("one", "two", "three"), "one, two, three"),
        (("one", "two", "three", "four"), "one, two and 2 more"),
        (tuple(f"step-{number}" for number in range(1900)), "step-0, step-1 and 1\N{NARROW NO-BREAK SPACE}898 more"),
    ],
)
def test_of_many_names_the_first_are_said(names: tuple[str, ...], said: str) -> None:
    assert filters.some(names) == said


def test_figures_of_any_size_are_written_with_the_digits_that_say_something() -> None:
    written = [filters.figure(value) for value in (2.4129, 0.0, 0.0002, 54_120.0, -0.5)]
    assert written == ["2.413", "0.000", "2.0e-04", "54\N{NARROW NO-BREAK SPACE}120", "-0.500"]


def test_a_clock_shows_seconds_in_utc() -> None:
    assert filters.clock(datetime(2026, 1, 31, 16, 5, 9, tzinfo=timezone(timedelta(hours=2)))) == "14:05:09"
