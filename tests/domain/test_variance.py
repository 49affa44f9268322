"""Variance components against a naive sum over all pairs of verdicts, and against known components."""

import math
import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from app.domain.variance import Components, components, standard_error, variance_card, what_to_buy

Verdict = tuple[float, int, int, int]

verdicts = st.lists(
    st.tuples(st.sampled_from([0.0, 0.5, 1.0]), st.integers(0, 4), st.integers(0, 2), st.integers(0, 4)),
    min_size=2,
    max_size=40,
)


def naive(rows: list[Verdict]) -> Components | None:
    """Every pair looked at; ``None`` where no pair differs in both seed and voter."""
    voters = sorted({row[3] for row in rows})
    of_voter = {one: np.mean([y for y, _, _, voter in rows if voter == one]) for one in voters}
    overall = np.mean([row[0] for row in rows])
    residuals = [y - (of_voter[voter] if len(voters) <= 3 else overall) for y, _, _, voter in rows]
    products: dict[str, list[float]] = {"apart": [], "prompt": [], "seed": [], "voter": [], "both": []}
    for i, (_, *one) in enumerate(rows):
        for k, (_, *other) in enumerate(rows):
            if i != k:
                prompt, seed, voter = (a == b for a, b in zip(one, other, strict=True))
                voter = voter and len(voters) > 1
                kind = (
                    ("both" if seed and voter else "seed" if seed else "voter" if voter else "prompt")
                    if prompt
                    else "apart"
                )
                products[kind].append(residuals[i] * residuals[k])
    if not products["apart"] or not products["prompt"]:
        return None
    apart, shared = np.mean(products["apart"]), np.mean(products["prompt"])
    prompt_part = max(shared - apart, 0)
    parts = [max(np.mean(found) - shared, 0) if found else None for found in (products["seed"], products["voter"])]
    whole = np.mean(np.square(residuals)) - apart
    return Components(prompt_part, *parts, max(whole - prompt_part - sum(part or 0 for part in parts), 0))


def drawn(
    rng: np.random.Generator, shape: tuple[int, int, int], variances: tuple[float, float, float, float]
) -> tuple[NDArray[np.float64], NDArray[np.intp]]:
    """Values of prompts x seeds x voters with these variances, and the three numbers of each."""
    prompts, seeds, voters = shape
    sizes = ((prompts, 1, 1), (prompts, seeds, 1), (prompts, 1, voters), shape)
    y = sum(math.sqrt(part) * rng.standard_normal(size) for part, size in zip(variances, sizes, strict=True))
    return np.asarray(y).ravel() + 0.5, np.indices(shape).reshape(3, -1)


@given(verdicts)
def test_sums_over_groups_are_sums_over_all_pairs(rows: list[Verdict]) -> None:
    expected = naive(rows)
    columns = zip(*rows, strict=True)
    if expected is None:
        with pytest.raises(ValueError, match=r"at least two prompts|no two verdicts on the same prompt"):
            components(*columns)
        return
    found = components(*columns)
    for part in ("prompt", "seed", "voter", "residual"):
        one, other = getattr(found, part), getattr(expected, part)
        assert one == (None if other is None else pytest.approx(other, abs=1e-9)), part


@pytest.mark.parametrize("voters", [2, 8])
def test_known_components_come_back_from_data_with_holes(voters: int) -> None:
    rng = np.random.default_rng(voters)
    known = (0.04, 0.03, 0.02, 0.10)
    found = []
    for _ in range(40):
        y, keys = drawn(rng, (150, 3, voters), known)
        y += 0.2 * (keys[2] == 0) if voters == 2 else 0  # of two judges, one likes the challenger better
        kept = rng.random(y.size) < 0.6
        one = components(y[kept], *keys[:, kept])
        found.append((one.prompt, one.seed, one.voter, one.residual))
    error = np.std(found, axis=0) / math.sqrt(40)
    assert (np.abs(np.mean(found, axis=0) - known) < 4 * error + 0.002).all()


def test_few_prompts_do_not_make_them_look_more_alike() -> None:
    """Around a mean that is itself estimated from 20 prompts; without the correction .0475 would come back as .045."""
    rng = np.random.default_rng(1)
    found = [components(*_columns(drawn(rng, (20, 2, 4), (0.05, 0, 0, 0.01)))).prompt for _ in range(3000)]
    assert np.mean(found) == pytest.approx(0.05, abs=0.0012)


def _columns(of: tuple[NDArray[np.float64], NDArray[np.intp]]) -> tuple[NDArray[np.float64], ...]:
    return of[0], *of[1]


def test_one_vote_a_pair_leaves_seed_and_voter_in_the_residual() -> None:
    y, keys = drawn(np.random.default_rng(1), (200, 3, 1), (0.04, 0, 0, 0.2))
    found = components(y, keys[0], keys[1], np.arange(y.size))
    assert (found.seed, found.voter) == (None, None)
    assert found.total == pytest.approx(0.24, abs=0.03)
    assert found.icc == pytest.approx(1 / 6, abs=0.06)


def test_one_judge_alone_is_no_factor() -> None:
    y, keys = drawn(np.random.default_rng(1), (200, 3, 1), (0.04, 0, 0, 0.2))
    assert components(y, *keys) == components(y, keys[0], keys[1], np.arange(y.size))


def test_names_of_any_kind_will_do() -> None:
    y, keys = drawn(np.random.default_rng(1), (30, 2, 2), (0.04, 0.01, 0.01, 0.2))
    named = [np.array([f"{kind}-{number}" for number in column]) for kind, column in zip("psv", keys, strict=True)]
    assert components(y, *named) == components(y, *keys)


def test_it_is_shown_from_20_prompts_with_two_seeds() -> None:
    y, (prompts, seeds, voters) = drawn(np.random.default_rng(1), (20, 2, 2), (0.04, 0.01, 0.01, 0.2))
    enough = variance_card(y, prompts, seeds, voters)
    assert (enough.components, enough.refused) == (components(y, prompts, seeds, voters), "")
    kept = (prompts > 0) | (seeds > 0)
    short = variance_card(y[kept], prompts[kept], seeds[kept], voters[kept])
    assert short.components is None
    assert short.refused == (
        "Too early to say where the noise comes from: it needs at least 20 prompts with verdicts on 2 seeds and has 19."
    )
    assert variance_card([], [], [], []).components is None


def test_what_does_not_belong_together_is_refused() -> None:
    with pytest.raises(ValueError, match="one entry a verdict"):
        components([1, 0], [1, 2], [1, 1], [1])
    with pytest.raises(ValueError, match="at least two prompts"):
        components([1, 0], [1, 1], [1, 2], [1, 2])


# --------------------------------------------------------------------------------------------- what to buy

EXAMPLE = Components(prompt=0.0432, seed=None, voter=None, residual=0.1968)
"""A variance of .24, of which 18% lie between prompts."""


def test_the_reference_57_prompts_against_19_with_three_seeds() -> None:
    assert standard_error(EXAMPLE, 57) == pytest.approx(0.065, abs=5e-4)
    assert standard_error(EXAMPLE, 19, 3) == pytest.approx(0.076, abs=5e-4)
    assert what_to_buy(EXAMPLE, 19, 3) == (
        "Buy prompts, not seeds: 57 prompts with 1 seed each give a standard error of 6.5 points, 19 prompts with 3 "
        "seeds each one of 7.6 points."
    )


def test_where_prompts_do_not_differ_a_seed_is_as_good() -> None:
    assert what_to_buy(Components(0.0, None, None, 0.25), 20, 5).startswith("On these prompts a seed tells as much")
    with pytest.raises(ValueError, match="at least two"):
        what_to_buy(EXAMPLE, 20, 1)


@pytest.mark.parametrize(("prompts", "seeds", "votes"), [(20, 3, 2), (40, 1, 4), (10, 5, 1)])
def test_the_standard_error_of_a_design_is_what_repeating_it_shows(prompts: int, seeds: int, votes: int) -> None:
    rng = np.random.default_rng(prompts)
    known = Components(0.04, 0.03, 0.02, 0.10)
    means = [
        drawn(rng, (prompts, seeds, votes), (known.prompt, known.seed, known.voter, known.residual))[0].mean()
        for _ in range(4000)
    ]
    assert np.std(means) == pytest.approx(standard_error(known, prompts, seeds, votes), rel=0.05)


@given(st.integers(1, 100), st.integers(2, 9), st.integers(1, 9), st.floats(0, 0.25), st.floats(0.001, 0.25))
def test_as_many_verdicts_on_more_prompts_are_never_worse(
    prompts: int, seeds: int, votes: int, between: float, residual: float
) -> None:
    found = Components(between, 0.01, 0.02, residual)
    assert standard_error(found, prompts * seeds, 1, votes) <= standard_error(found, prompts, seeds, votes) + 1e-12


def test_figures_that_read_the_same_are_no_reason_to_buy_prompts() -> None:
    sentence = what_to_buy(Components(prompt=0.0, seed=0.001, voter=0.013, residual=0.195), 30, 2, 5)
    first, second = re.findall(r"[\d.]+(?= points)", sentence)
    assert first == second
    assert sentence.startswith("On these prompts a seed tells as much as a prompt:")
