import math
from collections import deque
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.special import ndtr, stdtrit
from scipy.stats import beta
from statsmodels.api import OLS
from statsmodels.stats.proportion import confint_proportions_2indep

from app.domain import intervals
from app.domain.contrast import Contrast, Side, contrast, fisher, fixed, live, sentence
from app.domain.intervals import Interval
from app.domain.tally import ClusterSums, Summary, Tally
from tests.domain.studies import ICC, Array, Look, looks, rates_of_prompts

counts = st.integers(0, 3)
tallies = st.dictionaries(st.integers(0, 11), st.builds(Tally, counts, counts, counts), max_size=12)
REFERENCE: list[list[float]] = [[1, 1, 1], [1, 1, 0], [0, 0, 0], [1, 0, 1], [1, 0.5, 0]]


def side(wins: int, losses: int, ties: int = 0, of: str = "") -> Side:
    """One vote a prompt; ``of`` makes the prompts those of another set."""
    said = [Tally(1, 0, 0)] * wins + [Tally(0, 1, 0)] * losses + [Tally(0, 0, 1)] * ties
    return Side.from_tallies({f"{of}{number}": tally for number, tally in enumerate(said)})


def origin() -> Contrast:
    """In-domain 10 of 13, out-of-domain 6 of 15."""
    return contrast(side(10, 3, of="in"), side(6, 9, of="out"))


def test_the_origin_of_the_project() -> None:
    found = origin()
    assert found.fisher == pytest.approx(0.067, abs=5e-4)
    assert found.gap == pytest.approx(10 / 13 - 6 / 15)
    assert found.shared == 0
    assert found.live.low < found.fixed.low < 0 < found.gap < found.fixed.high < found.live.high
    assert sentence(found, found.live, "in-domain", "out-of-domain") == (
        "In-domain the win rate is 37 points higher than out-of-domain; on prompts like these the difference could be "
        "anywhere from 21 points lower to 74 points higher. Too early to call it higher."
    )


def test_newcombes_own_example() -> None:
    """56 of 70 against 48 of 80: .0524 to .3339 with Wilson's intervals (Newcombe 1998, table II, example a)."""
    one, other = Summary(56 / 70, 70, 10**9, 70, 70, 70), Summary(48 / 80, 80, 10**9, 80, 80, 80)
    assert tuple(fixed(one, other)) == pytest.approx((0.0524, 0.3339), abs=5e-5)


@given(st.integers(1, 60), st.integers(1, 60), st.integers(0, 60), st.integers(0, 60))
def test_square_and_add_is_that_of_statsmodels(n: int, m: int, won: int, other_won: int) -> None:
    won, other_won = min(won, n), min(other_won, m)
    one, other = (Summary(w / size, size, 10**9, size, size, size) for w, size in ((won, n), (other_won, m)))
    theirs = confint_proportions_2indep(won, n, other_won, m, method="newcomb", compare="diff")
    assert tuple(fixed(one, other)) == pytest.approx(theirs, abs=1e-6)


def test_the_same_prompts_are_a_regression_clustered_by_prompt() -> None:
    rng = np.random.default_rng(1)
    prompts = np.repeat(np.arange(30), 4)
    lean = rng.normal(0, 0.2, 30)[prompts]
    one, other = ((rng.random(prompts.size) < np.clip(rate + lean, 0, 1)).astype(float) for rate in (0.6, 0.5))
    found = contrast(Side.from_observations(prompts, one), Side.from_observations(prompts, other))
    design = np.column_stack([np.ones(240), np.repeat([1, 0], 120)])
    fit = OLS(np.r_[one, other], design).fit(
        cov_type="cluster", cov_kwds={"groups": np.tile(prompts, 2), "use_correction": False}
    )
    half = -stdtrit(29, 0.025) * fit.bse[1] * math.sqrt(30 / 29)
    assert found.shared == 30
    assert tuple(found.fixed) == pytest.approx((found.gap - half, found.gap + half))
    apart = contrast(Side.from_observations(prompts, one), Side.from_observations(prompts + 100, other))
    assert found.fixed.high - found.fixed.low < apart.fixed.high - apart.fixed.low  # what prompts share cancels


def test_prompts_that_moved_alike_by_luck_do_not_make_the_difference_certain() -> None:
    same = contrast(side(10, 5), side(10, 5))
    assert same.shared == 15
    assert tuple(same.fixed) == tuple(fixed(same.one, same.other))
    assert same.fixed.low < 0 < same.fixed.high


def test_rates_that_move_against_each_other_widen_the_live_interval() -> None:
    against, apart = contrast(side(15, 15), _upside_down(15, 15)), contrast(side(15, 15), side(15, 15, of="other"))
    along = contrast(side(15, 15), side(15, 15))
    assert against.live.high == pytest.approx(math.sqrt(2) * apart.live.high)
    assert tuple(along.live) == pytest.approx(tuple(apart.live))
    half = intervals.live(apart.one).high - 0.5
    assert apart.live.high == pytest.approx(math.sqrt(2) * half)


def _upside_down(wins: int, losses: int) -> Side:
    prompts = [str(number) for number in range(wins + losses)]
    return Side.from_observations(np.array(prompts), np.r_[np.zeros(wins), np.ones(losses)])


def test_a_few_shared_prompts_are_taken_into_account() -> None:
    """Twenty prompts a side, of which ten are the same."""
    one, other = (
        Side.from_tallies({number: Tally(number % 2, 1 - number % 2, 0) for number in range(start, start + 20)})
        for start in (0, 10)
    )
    found = contrast(one, other)
    # What the ten shared prompts move cancels; of the twenty others each moves its rate by a fortieth.
    half = -stdtrit(19, 0.025) * math.sqrt(20 / 19 * 20 * (0.5 / 20) ** 2)
    assert found.shared == 10
    assert tuple(found.fixed) == pytest.approx((-half, half))


@pytest.mark.parametrize("early", [side(2, 2, of="x"), side(4, 0, 20, of="x")])
def test_too_early_for_one_side_is_too_early_for_the_difference(early: Side) -> None:
    found = contrast(side(10, 10), early)
    assert (found.fixed, found.live) == (None, None)
    assert contrast(early, side(10, 10)).live is None


def test_without_a_verdict_there_is_no_difference() -> None:
    nothing = Side.from_tallies({"a": Tally(0, 0, 0)})
    assert nothing.prompts == ()
    assert contrast(nothing, side(5, 5)) is None
    assert contrast(side(5, 5), nothing) is None


def test_fishers_test_is_about_wins_and_losses_alone() -> None:
    assert fisher(side(10, 3).sums, side(6, 9).sums) == pytest.approx(0.067, abs=5e-4)
    assert fisher(side(10, 3, 1).sums, side(6, 9).sums) is None
    assert fisher(ClusterSums.from_observations([[0.25, 0.75]]), side(6, 9).sums) is None


@given(tallies)
def test_tallies_and_observations_make_the_same_side(by_prompt: dict[int, Tally]) -> None:
    rows = [
        (prompt, y)
        for prompt, tally in sorted(by_prompt.items())
        for y in [1.0] * tally.wins + [0.0] * tally.losses + [0.5] * tally.ties
    ]
    counted = Side.from_tallies(dict(sorted(by_prompt.items())))
    observed = Side.from_observations([prompt for prompt, _ in rows], [y for _, y in rows])
    assert counted.prompts == observed.prompts
    for field in ("n", "total", "squares", "decisive"):
        assert getattr(counted.sums, field) == pytest.approx(getattr(observed.sums, field)), field


def test_an_observation_outside_0_to_1_is_refused() -> None:
    with pytest.raises(ValueError, match="between 0 and 1"):
        Side.from_observations([1, 2], [0.5, 1.5])


@given(tallies, tallies)
def test_the_other_way_round_is_the_mirror_image(one: dict[int, Tally], other: dict[int, Tally]) -> None:
    found, mirrored = (contrast(Side.from_tallies(a), Side.from_tallies(b)) for a, b in ((one, other), (other, one)))
    if found is None:
        assert mirrored is None
        return
    assert mirrored.gap == pytest.approx(-found.gap)
    for kind in ("fixed", "live"):
        interval = getattr(found, kind)
        if interval is not None:
            assert -1 <= interval.low <= found.gap <= interval.high <= 1
            assert tuple(getattr(mirrored, kind)) == pytest.approx((-interval.high, -interval.low))
        else:
            assert getattr(mirrored, kind) is None


@given(tallies, tallies, st.floats(0.0001, 0.04))
def test_a_smaller_alpha_is_wider(one: dict[int, Tally], other: dict[int, Tally], alpha: float) -> None:
    usual, wide = (contrast(Side.from_tallies(one), Side.from_tallies(other), level) for level in (0.05, alpha))
    for kind in ("fixed", "live"):
        if usual is not None and getattr(usual, kind) is not None:
            assert getattr(wide, kind).low <= getattr(usual, kind).low
            assert getattr(wide, kind).high >= getattr(usual, kind).high


# -------------------------------------------------------------------------------------------------- in words


@pytest.mark.parametrize(
    ("interval", "said"),
    [
        (Interval(0.031, 0.664), "from 3 points to 66 points higher."),
        (Interval(-0.664, -0.001), "from under 1 point to 66 points lower."),
        (Interval(-0.01, 0.0), "from 1 point lower to none at all. Too early to call it higher."),
        (Interval(-1.0, 1.0), "from 100 points lower to 100 points higher. Too early to call it higher."),
    ],
)
def test_a_range_in_words(interval: Interval, said: str) -> None:
    found = sentence(origin(), interval, "on coding", "on law")
    start = (
        "On coding the win rate is 37 points higher than on law; on prompts like these the difference could be anywhere"
    )
    assert found == f"{start} {said}"


def test_equal_rates_in_words() -> None:
    found = contrast(side(10, 5), side(10, 5, of="other"))
    said = sentence(found, found.live, "with epoch-2", "with epoch-1")
    assert said.startswith("With epoch-2 the win rate is the same as with epoch-1; on prompts like these")
    assert said.endswith("Neither is ahead.")


def test_too_early_in_words_names_the_side_that_is_short() -> None:
    found = contrast(side(1, 3, 6), side(10, 10, of="other"))
    assert sentence(found, found.live, "in-domain", "out-of-domain") == (
        "In-domain the win rate is 10 points lower than out-of-domain. Too early for a range: in-domain it needs at "
        "least 5 decisive votes and has 4."
    )
    turned = contrast(side(10, 10), side(2, 1, of="x"))
    assert "Too early for a range: out-of-domain it needs at least 5 prompts with votes and has 3." in sentence(
        turned, turned.fixed, "in-domain", "out-of-domain"
    )


# ------------------------------------------------------------------------------------------ simulated studies


def together(
    rng: np.random.Generator, rates: tuple[float, float], correlation: float, shape: tuple[int, int]
) -> list[Array]:
    """The rates that the same prompts have on both sides, Beta distributed and correlated through a normal copula."""
    one = rng.standard_normal(shape)
    other = correlation * one + math.sqrt(1 - correlation**2) * rng.standard_normal(shape)
    size = (1 - ICC) / ICC
    return [beta.ppf(ndtr(z), rate * size, (1 - rate) * size) for rate, z in zip(rates, (one, other), strict=True)]


@pytest.mark.slow
@pytest.mark.parametrize(("prompts", "votes"), [(10, 3), (20, 1), (20, 3), (57, 1), (57, 3)])
@pytest.mark.parametrize("rates", [(0.5, 0.5), (0.8, 0.5), (0.95, 0.9)])
@pytest.mark.parametrize("correlation", [None, -0.8, 0.8])
def test_fixed_intervals_cover(correlation: float | None, rates: tuple[float, float], prompts: int, votes: int) -> None:
    rng = np.random.default_rng([prompts, votes, int(100 * rates[0])])
    studies, shown, covered = 1000, 0, 0
    shape = (studies, prompts)
    if correlation is None:
        drawn = [rates_of_prompts(rng, rate, shape) for rate in rates]
    else:
        drawn = together(rng, rates, correlation, shape)
    wins = [rng.binomial(votes, rate) for rate in drawn]
    for study in range(studies):
        one, other = (
            Side.from_tallies(
                {
                    (number, place if correlation is None else 0): Tally(int(won), votes - int(won), 0)
                    for number, won in enumerate(of_side[study])
                }
            )
            for place, of_side in enumerate(wins)
        )
        found = contrast(one, other)
        if found.fixed is not None:
            shown += 1
            covered += found.fixed.low <= rates[0] - rates[1] <= found.fixed.high
    assert shown > 80  # near 1 it is often too early
    assert covered / shown >= 0.92


class Seen(NamedTuple):
    """One side after one more vote, with the ends of its live interval."""

    look: Look
    low: Array
    high: Array


def seen(of: Iterator[Look]) -> Iterator[Seen]:
    for look in of:
        yield Seen(look, *look.live())


def square_and_add(one: Seen, other: Seen, correlation: Array | float) -> tuple[Array, Array]:
    """``contrast.live`` for many studies at once."""
    p, q = one.look.p, other.look.p
    ends = []
    for a, b in ((p - one.low, other.high - q), (one.high - p, q - other.low)):
        ends.append(np.sqrt(np.maximum(a**2 + b**2 - 2 * correlation * a * b, 0)))
    return p - q - ends[0], p - q + ends[1]


def least_correlation(one: Look, other: Look) -> Array:
    shared = min(one.moves.shape[1], other.moves.shape[1])
    size = np.sqrt((one.moves**2).sum(axis=1) * (other.moves**2).sum(axis=1))
    products = (one.moves[:, :shared] * other.moves[:, :shared]).sum(axis=1)
    found = np.where(size > 0, products / np.where(size > 0, size, 1), 0) - 1 / math.sqrt(shared)
    return np.clip(found, -1, 0)


def in_turns(one: Iterator[Look], other: Iterator[Look]) -> Iterator[tuple[Seen, Seen]]:
    """After every vote on either side; a side that has no more votes stays where it is."""
    ours, theirs = seen(one), seen(other)
    mine, yours = next(ours), next(theirs)
    yield mine, yours
    while True:
        next_of_mine = next(ours, None)
        if next_of_mine is not None:
            mine = next_of_mine
            yield mine, yours
        next_of_yours = next(theirs, None)
        if next_of_yours is not None:
            yours = next_of_yours
            yield mine, yours
        if next_of_mine is None and next_of_yours is None:
            return


def one_after_the_other(one: Iterator[Look], other: Iterator[Look]) -> Iterator[tuple[Seen, Seen]]:
    last = deque(one, maxlen=1).pop()
    mine = Seen(last, *last.live())
    for yours in seen(other):
        yield mine, yours


def ever_missed(pairs: Iterator[tuple[Seen, Seen]], gap: float, *, shared: bool) -> float:
    missed: NDArray[np.bool_] | bool = False
    for one, other in pairs:
        low, high = square_and_add(one, other, least_correlation(one.look, other.look) if shared else 0.0)
        missed |= one.look.shown & other.look.shown & ((gap < low) | (gap > high))
    return float(np.mean(missed))


def test_the_simulated_formula_is_that_of_the_domain() -> None:
    rng = np.random.default_rng(5)
    rates = together(rng, (0.6, 0.4), -0.5, (20, 6))
    compared = 0
    for one, other in in_turns(looks(rng, rates[0], votes=5), looks(rng, rates[1], votes=5)):
        simulated = [square_and_add(one, other, of) for of in (0.0, least_correlation(one.look, other.look))]
        for study in range(20):
            sides = []
            for look in (one.look, other.look):
                y = np.array([votes[study] for votes in look.observations])
                sides.append(Side.from_observations(np.arange(y.size) % 6, y))
            found = contrast(*sides)
            if found.live is not None:
                compared += 1
                assert tuple(found.live) == pytest.approx([float(end[study]) for end in simulated[1]], abs=1e-8)
                apart = live(found.one, found.other)
                assert tuple(apart) == pytest.approx([float(end[study]) for end in simulated[0]], abs=1e-8)
    assert compared > 100


@pytest.mark.slow
@pytest.mark.parametrize("order", [in_turns, one_after_the_other])
@pytest.mark.parametrize("rates", [(0.5, 0.5), (0.75, 0.4)])
@pytest.mark.parametrize(
    ("prompts", "others", "votes"), [(5, 5, 10), (5, 20, 10), (20, 20, 10), (57, 57, 3), (20, 57, 3)]
)
def test_looking_at_a_difference_after_every_vote_is_safe_on_different_prompts(
    prompts: int, others: int, votes: int, rates: tuple[float, float], order: object
) -> None:
    rng = np.random.default_rng([prompts, others, votes, int(100 * rates[0])])
    one, other = (
        looks(rng, rates_of_prompts(rng, rate, (2000, size)), votes=votes)
        for rate, size in zip(rates, (prompts, others), strict=True)
    )
    assert ever_missed(order(one, other), rates[0] - rates[1], shared=False) < 0.04


@pytest.mark.slow
@pytest.mark.parametrize("correlation", [-0.95, -0.5, 0.0, 0.8])
@pytest.mark.parametrize("rates", [(0.5, 0.5), (0.75, 0.4)])
@pytest.mark.parametrize(("prompts", "votes"), [(5, 10), (20, 10), (57, 3)])
def test_looking_at_a_difference_after_every_vote_is_safe_on_the_same_prompts(
    prompts: int, votes: int, rates: tuple[float, float], correlation: float
) -> None:
    rng = np.random.default_rng([prompts, votes, int(100 * rates[0]), int(100 * correlation) + 100])
    one, other = (looks(rng, own, votes=votes) for own in together(rng, rates, correlation, (2000, prompts)))
    assert ever_missed(in_turns(one, other), rates[0] - rates[1], shared=True) < 0.04
