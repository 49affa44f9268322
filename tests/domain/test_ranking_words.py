"""A ranking says no more than its ranks do."""

import pytest

from app.domain.ranking_words import apart_words, ranking_words


@pytest.mark.parametrize(
    ("ranked", "said"),
    [
        (
            [("a", 1, 2), ("b", 1, 2)],
            "None of these 2 can be told from the others yet: each may still be the strongest.",
        ),
        ([("a", 1, 1), ("b", 2, 2)], "a is the strongest: it is ahead of the other."),
        ([("a", 1, 1), ("b", 2, 3), ("c", 2, 3)], "a is the strongest: it is ahead of all others."),
        ([("a", 1, 2), ("b", 1, 2), ("c", 3, 3)], "a or b may be the strongest; c is behind at least one."),
        (
            [("a", 1, 3), ("b", 1, 4), *((name, 2, 7) for name in "cdefg")],
            "a or b may be the strongest; c, d, e and 2 others are behind at least one.",
        ),
    ],
)
def test_who_may_be_the_strongest(ranked: list[tuple[str, int, int]], said: str) -> None:
    assert ranking_words(ranked) == said


def test_one_alone_is_not_ranked() -> None:
    with pytest.raises(ValueError, match="at least two"):
        ranking_words([("a", 1, 1)])


def test_sets_that_have_not_met_are_told_apart() -> None:
    assert apart_words(1, []) == ""
    assert "in 2 sets that have not met" in apart_words(2, [])
    assert apart_words(1, ["a", "b"]) == "No vote compares a or b with another checkpoint yet."
    assert apart_words(2, ["a"]).endswith("No vote compares a with another checkpoint yet.")
