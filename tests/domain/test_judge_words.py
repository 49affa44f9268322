"""Sentences about judges say who speaks, of how much, and no more than the numbers do."""

from dataclasses import replace

import pytest

from app.domain.agreement import agreement
from app.domain.intervals import Interval, live, too_early
from app.domain.judge_words import (
    agreement_words,
    ceiling_words,
    combined_words,
    gap_words,
    judged_words,
    length_words,
    position_words,
    together_words,
    unparsed_words,
)
from app.domain.length import LengthCard
from app.domain.marginals import paired_gap
from app.domain.position import Places, Swaps
from app.domain.tally import ClusterSums, Summary, Tally, summarise
from app.domain.terms import Outcome

CHALLENGER, BASELINE = "brie-v2", "tiny"


def said(values: list[float], judges: int = 1) -> str:
    summary = summarise(ClusterSums.from_observations([[value] for value in values]))
    tally = Tally(sum(v > 0.5 for v in values), sum(v < 0.5 for v in values), sum(v == 0.5 for v in values))
    shown = live(summary) if summary and not too_early(summary) else None
    if judges > 1:
        return together_words(judges, CHALLENGER, BASELINE, tally, summary, shown)
    return judged_words("haiku", CHALLENGER, BASELINE, tally, summary, shown)


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ([], "haiku has not judged a pair of brie-v2 against tiny yet."),
        (
            [1.0],
            (
                "haiku prefers brie-v2 to tiny in 1 of 1 pair. Too early for a range: it needs at least 5 prompts with "
                "verdicts and has 1."
            ),
        ),
        (
            [0.5] * 6,
            (
                "haiku calls 6 pairs of brie-v2 against tiny a tie. Too early for a range: it needs at least 5 "
                "decisive verdicts and has 0."
            ),
        ),
        (
            [1.0] * 9 + [0.0] * 3,
            (
                "haiku prefers brie-v2 to tiny in 9 of 12 pairs (75%); on prompts like these the true "
                "rate could be anywhere from 29% to 98%. Too early to call it better."
            ),
        ),
        (
            [0.75] * 8 + [0.25, 0.5, 0.5, 0.0],
            (
                "haiku prefers brie-v2 to tiny in 8 of 10 pairs with a preference, with 2 "
                "ties (a win rate of 60%, ties and half-won pairs counting in part)"
            ),
        ),
        ([1.0] * 40, "haiku prefers brie-v2 to tiny in 40 of 40 pairs (100%)"),
    ],
)
def test_one_judge(values: list[float], sentence: str) -> None:
    found = said(values)
    assert found.startswith(sentence)
    assert not any(word in found.lower() for word in ("human", "people", "significant"))


def test_several_judges() -> None:
    assert said([], 2) == "No judge has judged a pair of brie-v2 against tiny yet."
    assert said([0.5], 2).startswith("The 2 judges together call 1 case of brie-v2 against tiny a tie, one for each")
    assert said([1.0, 0.0], 3).startswith(
        "The 3 judges together prefer brie-v2 to tiny in 1 of 2 cases, one for each judge and pair. Too early"
    )


@pytest.mark.parametrize(
    ("swaps", "places", "sentence"),
    [
        (Swaps(), Places(), "haiku has not judged a pair in both orders yet."),
        (
            Swaps(),
            Places(3, 1),
            (
                "haiku has not judged a pair in both orders yet. Of 4 preferences, 75% went to the text "
                "that stood first."
            ),
        ),
        (
            Swaps(same=9),
            Places(9, 9),
            (
                "haiku says the same in both orders on 9 of 9 pairs (100%). On no pair did it "
                "prefer the same place twice."
            ),
        ),
        (
            Swaps(9, 2, 1, 0),
            Places(11, 10),
            (
                "haiku says the same in both orders on 9 of 12 pairs (75%). It twice preferred the text that stood "
                "first on 2, and the one that stood second on 1: no more lopsided than chance would be (p = 1)."
            ),
        ),
        (
            Swaps(0, 60, 0, 0),
            Places(120),
            (
                "haiku says the same in both orders on 0 of 60 pairs (0%). It twice preferred the text that stood "
                "first on 60, and the one that stood second on 0: it leans to what stands first, more than chance "
                "explains (p under 0.001)."
            ),
        ),
    ],
)
def test_places(swaps: Swaps, places: Places, sentence: str) -> None:
    assert position_words("haiku", swaps, places) == sentence


def test_length_replies_and_agreement() -> None:
    assert length_words("haiku", CHALLENGER, LengthCard(0, 0, None, "Too early.")).startswith("haiku has preferred no")
    assert length_words("haiku", CHALLENGER, LengthCard(3, 4, None, "Too early.")) == (
        "haiku prefers the longer text in 3 of 4 preferences (75%). Too early."
    )
    assert unparsed_words("haiku", 0, 0, 0) == "No reply of haiku yet."
    assert unparsed_words("haiku", 9, 0, 0) == "Every one of 9 replies of haiku holds a legal choice."
    assert unparsed_words("haiku", 10, 1, 0).endswith("(10%) holds no legal choice; every pair was answered when asked "
                                                      "again.")  # fmt: skip
    assert unparsed_words("haiku", 10, 5, 1).endswith("hold no legal choice; 1 pair will stay without its verdict.")
    nothing = agreement([])
    assert agreement_words("a", "b", nothing) == "a and b have no pair in common yet."
    assert ceiling_words(nothing) == ""
    some = agreement((n, Outcome.FIRST, Outcome.FIRST if n % 4 else Outcome.TIE) for n in range(12))
    assert agreement_words("a", "b", some).startswith("a and b agree on 75% of 12 pairs; on prompts like these")
    assert ceiling_words(some).startswith("Two people agree with each other on 75% of 12 pairs")


def leaning(judge: list[float], people: list[float]) -> str:
    gap = paired_gap(range(len(judge)), judge, people)
    assert gap is not None
    return gap_words("haiku", CHALLENGER, gap)


def test_a_judge_leans_where_it_differs_from_people_in_one_direction() -> None:
    both = [1.0, 0.0] * 10
    same = "On 20 pairs that people voted on as well, haiku has brie-v2 win 50%, and people 50%: the same."
    assert leaning(both, both) == f"{same} Too early for a range."
    told = leaning([1.0] * 20, [1.0] * 10 + [0.0] * 10)
    assert told.startswith("On 20 pairs that people voted on as well, haiku has brie-v2 win 100%, and people 50%: 50 ")
    assert "50 points more. On prompts like these it could be anywhere from +26 to +74 points." in told
    assert told.endswith("It leans to brie-v2, more than chance explains.")
    assert leaning([0.0] * 20, [1.0] * 10 + [0.0] * 10).endswith(
        "It leans away from brie-v2, more than chance explains."
    )
    open_ = leaning([1.0, 0.0, 1.0, 0.0, 1.0, 1.0, *both], [0.0, 1.0, 0.0, 1.0, 0.0, 1.0, *both])
    assert open_.endswith("Whether it leans to either side is open.")
    assert "4 points more" in open_
    assert "\N{MINUS SIGN}" in open_


@pytest.mark.parametrize(
    ("end", "told"),
    [(0.0, "to 0 points"), (-0.003, "to \N{MINUS SIGN}0.3 points"), (-0.0001, "to just under 0 points"),
     (0.0001, "to just over 0 points"), (0.126, "to +13 points")],
)  # fmt: skip
def test_a_range_that_ends_near_0_does_not_seem_to_end_there(end: float, told: str) -> None:
    gap = paired_gap(range(20), [0.0] * 20, [1.0] * 10 + [0.0] * 10)
    assert gap is not None
    assert told in gap_words("haiku", CHALLENGER, replace(gap, interval=Interval(-0.4, end)))


OPEN = (
    "With the judges' help, brie is preferred by people at an estimated rate of 45%; on prompts like these the true "
    "rate could be anywhere from 21% to 70%. Too early to call it worse. Each human vote counts as 1.8 beside these "
    "judges."
)
BETTER = (
    "With the judges' help, brie is better to people than base at an estimated rate of 90%; on prompts like these the "
    "true rate could be anywhere from 71% to 98%. These judges add next to nothing to the votes of people."
)
TOO_EARLY = (
    "People and judges together say too little yet of brie against base: it needs at least 5 prompts with votes of "
    "people and has 4."
)
COMBINED = [
    (Summary(p=0.45, n_eff=30, df=39, n=40, prompts=40, decisive=40), 1.8, OPEN),
    (Summary(p=0.9, n_eff=60, df=39, n=40, prompts=40, decisive=40), 1.0, BETTER),
    (Summary(p=0.5, n_eff=4, df=3, n=4, prompts=4, decisive=4), 3.0, TOO_EARLY),
]


@pytest.mark.parametrize(("summary", "multiplier", "words"), COMBINED)
def test_people_and_judges_together_in_words(summary: Summary, multiplier: float, words: str) -> None:
    interval = None if too_early(summary) else live(summary)
    assert combined_words("brie", "base", summary, interval, multiplier) == words
