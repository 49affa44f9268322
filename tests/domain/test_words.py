from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain.intervals import Interval, live
from app.domain.tally import ClusterSums, Summary, Tally, summarise
from app.domain.words import Standing, headline, percent, shortage, verdict

RANGE = "on prompts like these the true rate could be anywhere from"
WIN, LOSS, TIE = Tally(1, 0, 0), Tally(0, 1, 0), Tally(0, 0, 1)


def sentence(
    per_prompt: list[Tally], where: str | None = None, interval: Interval | None = None, *, final: bool = False
) -> str:
    """The headline of a study with these votes, one tally a prompt."""
    summary = summarise(ClusterSums.from_tallies(per_prompt))
    if interval is None and summary is not None:
        interval = live(summary)
    total = sum(per_prompt, Tally(0, 0, 0))
    return headline("brie-v2/epoch-2", "base", total, summary, interval, where, final=final)


def test_the_sentence_of_the_first_study() -> None:
    assert sentence([WIN] * 10 + [LOSS] * 3, "in-domain", Interval(0.3675, 0.9756)) == (
        f"brie-v2/epoch-2 is preferred in-domain in 10 of 13 (77%); {RANGE} 37% to 98%. Too early to call it better."
    )


@pytest.mark.parametrize(
    ("votes", "interval", "said"),
    [
        ([], None, "Nobody voted on brie-v2/epoch-2 against base."),
        ([WIN], None, "The only vote on brie-v2/epoch-2 against base prefers brie-v2/epoch-2. Too few to say more."),
        ([WIN] * 4, None, ("brie-v2/epoch-2 is preferred in 4 of 4. Too few for a range: it needs at least 5 prompts "
         "with votes and has 4.")),
        ([WIN] * 10 + [LOSS] * 3, Interval(0.48, 0.92), (f"brie-v2/epoch-2 is preferred in 10 of 13 (77%); {RANGE} "
         "48% to 92%. That is not enough to call it better.")),
        ([WIN] * 3 + [LOSS] * 10, Interval(0.08, 0.52), (f"brie-v2/epoch-2 is preferred in 3 of 13 (23%); {RANGE} "
         "8% to 52%. That is not enough to call it worse.")),
        ([WIN] * 6 + [LOSS] * 6, Interval(0.2, 0.8), (f"brie-v2/epoch-2 is preferred in 6 of 12 (50%); {RANGE} "
         "20% to 80%. Neither is ahead.")),
        ([WIN] * 12 + [LOSS], Interval(0.6, 0.99), ("brie-v2/epoch-2 is better than base: preferred in 12 of 13 "
         f"(92%); {RANGE} 60% to 99%.")),
    ],
)  # fmt: skip
def test_when_no_vote_will_follow_nothing_is_too_early(
    votes: list[Tally], interval: Interval | None, said: str
) -> None:
    assert sentence(votes, interval=interval, final=True) == said


def test_no_votes_yet() -> None:
    assert sentence([]) == "No votes yet on brie-v2/epoch-2 against base."
    assert sentence([], "on coding") == "No votes yet on brie-v2/epoch-2 against base on coding."


@pytest.mark.parametrize(
    ("vote", "found"), [(WIN, "prefers brie-v2/epoch-2"), (LOSS, "prefers base"), (TIE, "is a tie")]
)
def test_one_vote_is_told_without_a_number(vote: Tally, found: str) -> None:
    assert sentence([vote], "in-domain") == (
        f"The only vote so far on brie-v2/epoch-2 against base in-domain {found}. Too early to say more."
    )


def test_too_few_prompts_give_counts_and_what_is_missing() -> None:
    assert sentence([WIN] * 3 + [LOSS]) == (
        "brie-v2/epoch-2 is preferred in 3 of 4. "
        "Too early for a range: it needs at least 5 prompts with votes and has 4."
    )


def test_too_few_decisive_votes_give_counts_and_what_is_missing() -> None:
    assert sentence([WIN] + [TIE] * 9, "on coding") == (
        "brie-v2/epoch-2 is preferred on coding in 1 of 1 decisive vote, with 9 ties. "
        "Too early for a range: it needs at least 5 decisive votes and has 1."
    )


def test_votes_that_weigh_too_little_give_counts_and_what_is_missing() -> None:
    assert sentence([Tally(9, 0, 0)] * 3 + [Tally(0, 9, 0)] * 3) == (
        "brie-v2/epoch-2 is preferred in 27 of 54. Too early for a range: "
        "it needs the weight of at least 10 independent votes, and these have that of about 5."
    )


@pytest.mark.parametrize(
    ("n_eff", "told"),
    [(3.9999, "about 4"), (4.4, "about 4"), (9.7, "about 9"), (9.99999, "about 9"), (0.3, "less than 1")],
)
def test_the_weight_that_is_there_is_told_to_the_nearest_and_never_as_enough(n_eff: float, told: str) -> None:
    summary = summarise(ClusterSums.from_observations([[1.0], [0.0]] * 5))
    assert summary is not None
    assert shortage(replace(summary, n_eff=n_eff)).endswith(f"and these have that of {told}")


def test_nothing_but_ties() -> None:
    assert sentence([TIE] * 6) == (
        "All 6 votes on brie-v2/epoch-2 against base are ties. Too early for a range: it needs at least 5 "
        "decisive votes and has 0."
    )


def test_an_open_question_says_which_way_it_leans() -> None:
    assert sentence([WIN] * 6 + [LOSS] * 9).endswith("Too early to call it worse.")
    assert sentence([WIN] * 9 + [LOSS] * 6).endswith("Too early to call it better.")
    assert sentence([WIN] * 9 + [LOSS] * 9).endswith("Neither is ahead.")


def test_better_and_worse_come_first_in_the_sentence() -> None:
    assert sentence([WIN] * 40 + [LOSS] * 10, "in-domain", Interval(0.61, 0.92)) == (
        f"brie-v2/epoch-2 is better than base in-domain: preferred in 40 of 50 (80%); {RANGE} 61% to 92%."
    )
    assert sentence([WIN] + [LOSS] * 19, None, Interval(0.0013, 0.3988)) == (
        f"brie-v2/epoch-2 is worse than base: preferred in 1 of 20 (5%); {RANGE} under 1% to 40%."
    )


def test_with_ties_the_count_is_of_decisive_votes_and_the_rate_says_what_it_counts() -> None:
    assert sentence([WIN] * 10 + [LOSS] * 3 + [TIE] * 4, None, Interval(0.38, 0.93)) == (
        "brie-v2/epoch-2 is preferred in 10 of 13 decisive votes, with 4 ties "
        f"(a win rate of 71%, a tie counting as half); {RANGE} 38% to 93%. Too early to call it better."
    )
    assert "10 of 13 decisive votes, with 1 tie (" in sentence([WIN] * 10 + [LOSS] * 3 + [TIE])


def test_a_rate_that_the_counts_do_not_give_is_explained() -> None:
    half_won = summarise(ClusterSums.from_observations([[0.75]] * 12 + [[0.0]] * 4))
    assert half_won is not None
    text = headline("brie", "base", Tally(12, 4, 0), half_won, live(half_won), None)
    assert "in 12 of 16 (a win rate of 56%, ties and half-won pairs counting in part);" in text


def test_large_counts_are_readable() -> None:
    assert "in 6,000 of 10,000 (60%)" in sentence([WIN] * 6000 + [LOSS] * 4000)


@given(st.lists(st.builds(Tally, *[st.integers(0, 9)] * 3), max_size=30))
def test_the_sentence_never_claims_more_than_the_interval(per_prompt: list[Tally]) -> None:
    text = sentence(per_prompt)
    summary = summarise(ClusterSums.from_tallies(per_prompt))
    interval = live(summary) if summary else None
    standing = verdict(summary, interval)
    assert ("is better than" in text) == (standing is Standing.BETTER)
    assert ("is worse than" in text) == (standing is Standing.WORSE)
    assert ("anywhere from" in text) == (standing in (Standing.OPEN, Standing.BETTER, Standing.WORSE))
    assert "significan" not in text
    assert text.endswith(".")


def many(p: float) -> Summary:
    return Summary(p=p, n_eff=50, df=49, n=50, prompts=50, decisive=50)


@pytest.mark.parametrize(
    ("summary", "interval", "expected"),
    [
        (None, None, Standing.NOTHING_YET),
        (Summary(p=1, n_eff=4, df=3, n=4, prompts=4, decisive=4), None, Standing.TOO_EARLY),
        (Summary(p=1, n_eff=4, df=3, n=4, prompts=4, decisive=4), Interval(0.6, 1), Standing.TOO_EARLY),
        (many(0.6), Interval(0.5, 0.7), Standing.OPEN),
        (many(0.4), Interval(0.3, 0.5), Standing.OPEN),
        (many(0.6), Interval(0.501, 0.7), Standing.BETTER),
        (many(0.4), Interval(0.3, 0.499), Standing.WORSE),
    ],
)
def test_the_standing(summary: Summary | None, interval: Interval | None, expected: Standing) -> None:
    assert verdict(summary, interval) is expected


def test_a_forgotten_interval_is_no_standing() -> None:
    with pytest.raises(ValueError, match="interval"):
        verdict(many(0.6), None)


@pytest.mark.parametrize(
    ("rate", "shown"),
    [
        (0, "0%"),
        (0.001, "under 1%"),
        (0.005, "1%"),
        (10 / 13, "77%"),
        (0.125, "13%"),
        (0.494, "49%"),
        (0.4959, "49.6%"),
        (0.49999, "just under 50%"),
        (0.5, "50%"),
        (0.50001, "just over 50%"),
        (0.503, "50.3%"),
        (0.506, "51%"),
        (0.994, "99%"),
        (0.996, "over 99%"),
        (1, "100%"),
    ],
)
def test_percent(rate: float, shown: str) -> None:
    assert percent(rate) == shown
