"""What is still needed is an "if" about the difference of today, and nothing while it is too early."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain.intervals import live, too_early
from app.domain.outlook import Plan, assumed, assumption_words, more_votes, outlook_words, plan_words
from app.domain.planner import USUAL, Assumptions, votes_needed
from app.domain.tally import ClusterSums, Tally, summarise

PLAN = Plan(prompts=57, replicates=1, votes_per_pair=1)
WITHOUT_TIES = Assumptions(tie_rate=0.0)


def said(wins: int, losses: int, ties: int = 0, plan: Plan = PLAN) -> str:
    tally = Tally(wins, losses, ties)
    summary = summarise(ClusterSums.from_observations([[y] for y in [1.0] * wins + [0.0] * losses + [0.5] * ties]))
    shown = live(summary) if summary and not too_early(summary) else None
    return outlook_words(tally, summary, shown, plan, assumed(tally, summary, None))


def test_the_present_difference_is_taken_as_an_if() -> None:
    # 12 of 20 is .60, which takes 1.75 times the 194 votes of the planner's reference table.
    needed = votes_needed(0.6, assumptions=WITHOUT_TIES)
    assert needed == pytest.approx(1.75 * 194, abs=2)
    summary = summarise(ClusterSums.from_observations([[1.0]] * 12 + [[0.0]] * 8))
    assert summary is not None
    assert more_votes(summary, PLAN, WITHOUT_TIES) == needed - 20
    sentence = said(12, 8)
    assert sentence.startswith("If the true win rate is the 60% of today, about 320 more votes tell it from 50%,")
    assert "The plan asks for only 37 more here" in sentence
    assert "The plan asks" not in said(12, 8, plan=Plan(600, 1, 1))
    assert "The plan asks for no more here" in said(12, 8, plan=Plan(20, 1, 1))


@pytest.mark.parametrize(
    ("votes", "start"),
    [
        ((0, 0), "How many votes it takes can be said once there are some."),
        ((1, 0), "Too early to say how many more votes it takes: it needs at least 5 prompts"),
        ((0, 0, 30), "Too early to say how many more votes it takes: it needs at least 5 decisive"),
        ((20, 20), "Neither is ahead"),
        ((40, 5), "The difference is told from 50% already."),
        ((5, 40), "The difference is told from 50% already."),
        ((26, 13), "If the true win rate is the 67% of today, about "),
    ],
)
def test_every_state_has_its_sentence(votes: tuple[int, ...], start: str) -> None:
    assert said(*votes).startswith(start)


@given(st.integers(0, 300), st.integers(0, 300), st.integers(0, 300), st.integers(1, 4), st.integers(1, 4))
def test_there_is_a_sentence_for_all_votes(wins: int, losses: int, ties: int, replicates: int, votes: int) -> None:
    sentence = said(wins, losses, ties, Plan(57, replicates, votes))
    assert sentence.endswith(".")
    assert "-" not in sentence


def test_where_enough_votes_came_and_told_nothing_it_says_so() -> None:
    summary = summarise(ClusterSums.from_observations([[1.0, 0.5]] * 60 + [[0.0, 0.5]] * 20))
    assert summary is not None
    tally = Tally(60, 20, 80)
    assert more_votes(summary, PLAN, assumed(tally, summary, None)) == 0
    # The same counts with a range that still holds 50%, as where votes on a prompt resemble each other.
    interval = live(summary)._replace(low=0.49)
    assert "This time they have not" in outlook_words(tally, summary, interval, PLAN, assumed(tally, summary, None))


def test_what_the_whole_plan_can_tell() -> None:
    assert plan_words(PLAN, USUAL).startswith("The whole plan, 57 prompts with 1 vote each, tells a true win rate of ")
    assert "is too small to tell any win rate" in plan_words(Plan(3, 1, 1), USUAL)
    assert plan_words(Plan(1, 2, 1), USUAL).startswith("The whole plan, 1 prompt with 2 votes each, is too small")


def test_assumptions_say_what_was_measured() -> None:
    assert "10% ties (as is usual), 30% of the noise between prompts (as is usual)" in assumption_words(USUAL)
    measured = Assumptions(tie_rate=0.2, icc=0.05)
    assert "20% ties (as so far), 5% of the noise between prompts (as measured here)" in assumption_words(measured)
    few = summarise(ClusterSums.from_observations([[0.5]]))
    assert assumed(Tally(0, 0, 1), few, None) == USUAL
