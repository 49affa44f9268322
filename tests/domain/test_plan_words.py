import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain.plan_words import missed_words, often, told_words


@pytest.mark.parametrize(
    ("share", "said"),
    [
        (1.0, "almost always"), (0.95, "19 times in 20"), (0.9, "9 times in 10"), (0.8, "4 times in 5"),
        (0.75, "3 times in 4"), (2 / 3, "2 times in 3"), (0.5, "every second time"), (1 / 3, "1 time in 3"),
        (0.25, "1 time in 4"), (0.2, "1 time in 5"), (0.1, "1 time in 10"), (0.05, "1 time in 20"),
        (0.001, "hardly ever"),
    ],
)  # fmt: skip
def test_a_share_as_people_say_it(share: float, said: str) -> None:
    assert often(share) == said


@given(st.floats(0, 1))
def test_what_is_said_is_near(share: float) -> None:
    said = often(share)
    meant = {"almost always": 1.0, "every second time": 0.5, "hardly ever": 0.0}
    if said not in meant:
        times, _, _, of = said.split()
        meant[said] = int(times) / int(of)
    assert meant[said] == pytest.approx(share, abs=0.1)


def test_what_a_plan_tells_and_misses() -> None:
    assert told_words("13 in-domain prompts", 0.93) == (
        "The 13 in-domain prompts tell a true win rate of 93% or more, or as far below, from 50%, 4 times in 5."
    )
    assert told_words("4 prompts", None) == "The 4 prompts are too few to tell any win rate from 50%."
    assert missed_words("13 in-domain prompts", 0.9) == (
        "A true win rate of 60% on the 13 in-domain prompts would be missed 9 times in 10."
    )
