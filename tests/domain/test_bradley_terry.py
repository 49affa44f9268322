"""Bradley-Terry against evalica's golden files, a regression by statsmodels, and simulated checkpoints."""

import csv
import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import statsmodels.api as sm
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import expit, stdtrit

from app.domain.bradley_terry import Strengths, fit

Cell = tuple[int, int, int, float, float, float]


def fitted(cells: Sequence[Cell], checkpoints: int, pseudo_wins: float = 0.5) -> Strengths:
    columns = zip(*cells, strict=True) if cells else ((),) * 6
    return fit(*columns, checkpoints=checkpoints, pseudo_wins=pseudo_wins)


def games(wins: int, losses: int, ties: int = 0) -> list[Cell]:
    """Two checkpoints, one verdict a prompt."""
    results = [(1, 0, 0)] * wins + [(0, 1, 0)] * losses + [(0, 0, 1)] * ties
    return [(0, 1, prompt, *result) for prompt, result in enumerate(results)]


@st.composite
def studies(draw: st.DrawFn) -> list[Cell]:
    """Up to five checkpoints, any of which may not meet."""
    count = st.integers(0, 4)
    edge = st.tuples(st.integers(0, 4), st.integers(0, 4), st.integers(0, 6), count, count, count)
    return draw(st.lists(edge.filter(lambda cell: cell[0] != cell[1]), max_size=25))


# ------------------------------------------------------------------------------------------- reference values


@pytest.mark.parametrize("name", ["food", "simple"])
def test_without_pseudo_wins_it_is_evalicas_golden_file(shared_data: Path, name: str) -> None:
    with (shared_data / f"evalica/{name}-golden.csv").open(newline="", encoding="utf-8") as file:
        golden = {
            row["item"]: float(row["score"]) for row in csv.DictReader(file) if row["algorithm"] == "bradley_terry"
        }
    items = sorted(golden)
    with (shared_data / f"evalica/{name}.csv").open(newline="", encoding="utf-8") as file:
        cells = [
            (
                items.index(row["left"]),
                items.index(row["right"]),
                prompt,
                *(float(row["winner"] == winner) for winner in ("left", "right", "tie")),
            )
            for prompt, row in enumerate(csv.DictReader(file))
        ]
    found = fitted(cells, len(items), 0)
    shares = np.exp(found.strength) / np.exp(found.strength).sum()
    assert found.connected
    assert shares == pytest.approx([golden[item] for item in items], abs=1e-12)


def test_12_of_20_and_six_of_six() -> None:
    found = fitted(games(12, 8), 2, 0).difference(0, 1)
    assert found.gap == pytest.approx(0.4055, abs=5e-5)
    assert found.gap == pytest.approx(math.log(12 / 8), abs=1e-12)
    assert fitted(games(6, 0), 2).difference(0, 1).gap == pytest.approx(2.5649, abs=5e-5)
    assert fitted(games(3, 1, 4), 2, 0).difference(0, 1).win_rate == pytest.approx(5 / 8)


# -------------------------------------------------------------------------------------------------- components


def test_an_undefeated_checkpoint_has_no_strength_without_pseudo_wins() -> None:
    found = fitted(games(6, 0), 2, 0)
    assert not found.connected
    assert np.isnan(found.strength).all()
    assert found.difference(0, 1) is None
    assert found.interval(0) is None


def test_sets_that_never_met_are_not_ranked_across() -> None:
    """0 and 1 met on six prompts, 2 and 3 on two, 4 met nobody."""
    cells = [*games(4, 2), *[(2, 3, prompt, 9, 0, 0) for prompt in (6, 7)]]
    found = fitted(cells, 5)
    assert not found.connected
    assert len({*found.component[:2]}) == len({*found.component[2:4]}) == 1
    assert len({*found.component}) == 3
    assert found.difference(0, 2) is None
    assert np.isnan(found.apart[:2, 2:]).all()
    assert np.isnan(found.strength[4])
    assert found.prompts.tolist() == [6, 6, 2, 2, 0]
    alone = fitted(games(4, 2), 2)
    assert found.strength[:2] == pytest.approx(alone.strength)
    assert found.error[:2] == pytest.approx(alone.error)
    assert tuple(found.interval(0)) == pytest.approx(tuple(alone.interval(0)))
    assert found.difference(2, 3).interval is None  # two prompts
    assert found.ranks() == [(1, 2)] * 4 + [(1, 1)]


@given(studies())
def test_components_are_chains_of_comparisons_and_strengths_sum_to_zero_in_each(cells: list[Cell]) -> None:
    found = fitted(cells, 5)
    label = list(range(5))
    for one, other, _, *counts in cells:
        if sum(counts):
            label = [label[one] if name == label[other] else name for name in label]
    for i in range(5):
        for k in range(5):
            assert (found.component[i] == found.component[k]) == (label[i] == label[k])
    for component in set(found.component.tolist()):
        members = found.component == component
        assert np.nansum(found.strength[members]) == pytest.approx(0, abs=1e-8)
        assert np.isnan(found.strength[members]).all() == (members.sum() == 1)


@given(studies(), st.permutations(range(5)))
def test_neither_numbers_nor_the_order_of_sides_matter(cells: list[Cell], numbers: list[int]) -> None:
    found = fitted(cells, 5)
    turned = fitted([(numbers[b], numbers[a], p, lost, won, tied) for a, b, p, won, lost, tied in cells[::-1]], 5)
    assert turned.strength[numbers] == pytest.approx(found.strength, abs=1e-8, nan_ok=True)
    assert turned.error[numbers] == pytest.approx(found.error, abs=1e-8, nan_ok=True)
    assert turned.prompts[numbers].tolist() == found.prompts.tolist()


@given(studies())
def test_at_the_maximum_as_many_wins_were_expected_as_there_are(cells: list[Cell]) -> None:
    found = fitted(cells, 5)
    surplus, met = np.zeros(5), set()
    for one, other, _, won, lost, tied in cells:
        if won + lost + tied:
            expected = (won + lost + tied) * expit(found.strength[one] - found.strength[other])
            surplus[[one, other]] += np.array([1, -1]) * (won + tied / 2 - expected)
            met.add(frozenset((one, other)))
    for one, other in map(sorted, met):
        surplus[[one, other]] += np.array([1, -1]) * (0.5 - expit(found.strength[one] - found.strength[other]))
    assert surplus == pytest.approx(np.zeros(5), abs=1e-7)


# ------------------------------------------------------------------------------------------------------ errors


def three_checkpoints(rng: np.random.Generator, prompts: int, votes: int = 3) -> list[Cell]:
    """Strengths .6, 0, -.6, with a prompt effect of its own on every edge."""
    strength = np.array([0.6, 0.0, -0.6])
    cells: list[Cell] = []
    for prompt in range(prompts):
        moved = strength + rng.normal(0, 0.7, 3)
        for one, other in ((0, 1), (0, 2), (1, 2)):
            won = int(rng.binomial(votes, expit(moved[one] - moved[other])))
            cells.append((one, other, prompt, won, votes - won, 0))
    return cells


def test_errors_are_those_of_a_regression_clustered_by_prompt() -> None:
    cells = three_checkpoints(np.random.default_rng(1), 40)
    found = fitted(cells, 3, 0)
    rows = [(one, other, prompt, y) for one, other, prompt, won, lost, _ in cells for y in [1] * won + [0] * lost]
    design = np.array([[(c == one) - (c == other) for c in (1, 2)] for one, other, _, _ in rows], dtype=float)
    model = sm.GLM([row[3] for row in rows], design, family=sm.families.Binomial()).fit(
        cov_type="cluster", cov_kwds={"groups": np.array([row[2] for row in rows]), "use_correction": False}
    )
    for other in (1, 2):
        against = found.difference(other, 0)
        assert against.gap == pytest.approx(model.params[other - 1], abs=1e-7)
        assert against.error == pytest.approx(model.bse[other - 1] * math.sqrt(40 / 39), rel=1e-6)
        half = -stdtrit(39, 0.025) * against.error
        assert tuple(against.interval) == pytest.approx((against.gap - half, against.gap + half))
        assert tuple(against.win_interval) == pytest.approx(tuple(expit(against.interval)))


def test_prompts_that_agree_by_luck_are_no_surer_than_independent_verdicts() -> None:
    cells = [(0, 1, prompt, 3, 2, 0) for prompt in range(10)]
    assert fitted(cells, 2, 0).difference(0, 1).error == pytest.approx(1 / math.sqrt(50 * 0.6 * 0.4))


def test_verdicts_that_repeat_within_a_prompt_weigh_no_more_than_the_prompts() -> None:
    once = fitted(games(14, 6), 2, 0)
    ten_times = fitted([(a, b, prompt, 10 * won, 10 * lost, 0) for a, b, prompt, won, lost, _ in games(14, 6)], 2, 0)
    assert ten_times.difference(0, 1).error == pytest.approx(math.sqrt(20 / 19) * once.difference(0, 1).error, rel=0.03)


def test_ranks_are_ranges_unless_the_data_settle_them() -> None:
    """0 beats 1 and 2 clearly; 1 and 2 are equals."""
    cells = [
        (one, other, prompt, won, 10 - won, 0)
        for prompt in range(20)
        for one, other, won in ((0, 1, 8 + prompt % 2), (0, 2, 8 + prompt % 2), (1, 2, 4 + 2 * (prompt % 2)))
    ]
    found = fitted(cells, 3)
    assert found.ranks() == [(1, 1), (2, 3), (2, 3)]
    assert found.difference(0, 1).win_interval.low > 0.5
    assert found.difference(1, 1) is None


def test_a_million_verdicts_are_a_table() -> None:
    """20 checkpoints that all meet on 500 prompts: 95,000 cells."""
    rng = np.random.default_rng(1)
    strength = np.linspace(-1, 1, 20)
    one, other = (np.repeat(side, 500) for side in np.triu_indices(20, 1))
    won = rng.binomial(10, expit(strength[one] - strength[other]))
    found = fit(one, other, np.tile(np.arange(500), 190), won, 10 - won, np.zeros_like(won), checkpoints=20)
    assert found.connected
    assert found.strength == pytest.approx(strength, abs=0.05)
    assert found.error.max() < 0.02


@pytest.mark.parametrize(
    ("cell", "message"),
    [
        ((0, 0, 1, 1, 0, 0), "does not meet itself"),
        ((0, 2, 1, 1, 0, 0), "from 0 to 1"),
        ((-1, 1, 1, 1, 0, 0), "from 0 to 1"),
        ((0, 1, 1, -1, 0, 0), "cannot be negative"),
    ],
)
def test_cells_that_no_study_can_have_are_refused(cell: Cell, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        fitted([cell], 2)
    with pytest.raises(ValueError, match="one entry a cell"):
        fit([0], [1, 1], [0], [1], [0], [0], checkpoints=2)


@pytest.mark.slow
def test_intervals_of_differences_cover() -> None:
    """The truth is what endless prompts would give: prompt effects pull win rates towards one half."""
    rng = np.random.default_rng(1)
    endless = fitted(three_checkpoints(rng, 100_000), 3)
    truth = endless.strength[0] - endless.strength[1]
    covered = 0
    for _ in range(2000):
        low, high = fitted(three_checkpoints(rng, 20), 3).difference(0, 1).interval
        covered += low <= truth <= high
    assert covered / 2000 >= 0.93
