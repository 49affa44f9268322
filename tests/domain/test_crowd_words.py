import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain.crowd_words import crowd_words
from app.domain.words import Standing

BETTER, WORSE, OPEN, EARLY, NONE = (
    Standing.BETTER,
    Standing.WORSE,
    Standing.OPEN,
    Standing.TOO_EARLY,
    Standing.NOTHING_YET,
)


@pytest.mark.parametrize(
    ("standings", "baseline", "said"),
    [
        (
            [BETTER, BETTER, WORSE, OPEN],
            "tiny",
            "Of 4 challengers, 2 are better than tiny, 1 worse than tiny and 1 still open.",
        ),
        ([BETTER, OPEN], "tiny", "Of 2 challengers, 1 is better than tiny and 1 still open."),
        ([NONE, NONE], "tiny", "All 2 challengers are without a vote."),
        ([EARLY, NONE, EARLY], "tiny", "Of 3 challengers, 2 are too early for a range and 1 without a vote."),
        ([BETTER, WORSE, WORSE], None, "All 3 comparisons are decided."),
        ([BETTER, OPEN, EARLY], None, "Of 3 comparisons, 1 is decided, 1 still open and 1 too early for a range."),
        ([OPEN, OPEN], None, "All 2 comparisons are still open."),
        ([WORSE, WORSE], "tiny", "All 2 challengers are worse than tiny."),
    ],
)
def test_a_crowd_in_one_sentence(standings: list[Standing], baseline: str | None, said: str) -> None:
    assert crowd_words(standings, baseline) == said


def test_in_a_finished_report_nothing_is_still_open() -> None:
    said = crowd_words([BETTER, OPEN, OPEN, EARLY, NONE], "tiny", final=True)
    assert said == (
        "Of 5 challengers, 1 is better than tiny, 2 not told apart, 1 without enough votes and 1 without a vote."
    )


@given(st.lists(st.sampled_from(Standing), min_size=1, max_size=300), st.sampled_from([None, "tiny"]))
def test_the_numbers_add_up_to_all(standings: list[Standing], baseline: str | None) -> None:
    whole, *parts = [int(word) for word in crowd_words(standings, baseline).split() if word.isdigit()]
    assert whole == len(standings)
    assert sum(parts) == (whole if parts else 0)
