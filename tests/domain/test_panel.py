"""Agreement of panels against published figures, evalica, and real annotators."""

import csv
import json
from pathlib import Path

import evalica
import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from app.domain.agreement import cohens_kappa
from app.domain.panel import (
    Distance,
    ac1_of_table,
    count_matrix,
    gwets_ac1,
    interval,
    krippendorffs_alpha,
    nominal,
    ordinal,
    panel,
    ratio,
    two_voters,
)

DISTANCES = {"nominal": nominal, "ordinal": ordinal, "interval": interval, "ratio": ratio}
LABELS = (1, 0, 2)
"""PandaLM's labels with the tie in the middle."""

panels = st.lists(st.lists(st.integers(0, 4), min_size=3, max_size=3), min_size=1, max_size=12)


@pytest.fixture(scope="session")
def annotators(shared_data: Path) -> NDArray[np.intp]:
    """Shape (999, 3): what PandaLM's three annotators said, as places in ``LABELS``."""
    rows = json.loads((shared_data / "pandalm/testset-v1.json").read_text(encoding="utf-8"))
    return np.array([[LABELS.index(row[f"annotator{one}"]) for one in (1, 2, 3)] for row in rows])


def counted(said: NDArray[np.intp]) -> NDArray[np.float64]:
    """Shape (units, 3), of what each of several voters said."""
    return count_matrix(np.repeat(np.arange(len(said)), said.shape[1]), said.ravel(), (len(said), 3))


# ------------------------------------------------------------------------------------------- published figures


@pytest.mark.parametrize(
    ("distance", "alpha"), [(nominal, 904 / 1216), (ordinal, 0.81539), (interval, 0.84911), (ratio, 0.79740)]
)
def test_krippendorffs_own_example(shared_data: Path, distance: Distance, alpha: float) -> None:
    with (shared_data / "evalica/codings.csv").open(newline="", encoding="utf-8") as file:
        cells = [(unit, int(code) - 1) for row in csv.reader(file) for unit, code in enumerate(row) if code]
    counts = count_matrix(*zip(*cells, strict=True), (12, 5))
    assert krippendorffs_alpha(counts, distance, [1, 2, 3, 4, 5]) == pytest.approx(alpha, abs=5e-6)


@pytest.mark.parametrize(("table", "ac1"), [([[118, 5], [2, 0]], 0.94078), ([[80, 10], [5, 5]], 0.808)])
def test_ac1_does_not_collapse_where_one_outcome_dominates(table: list[list[int]], ac1: float) -> None:
    assert ac1_of_table(table) == pytest.approx(ac1, abs=5e-6)
    assert cohens_kappa(table) < 0.33


def test_the_annotators_of_pandalm(annotators: NDArray[np.intp]) -> None:
    counts = counted(annotators)
    assert krippendorffs_alpha(counts, nominal) == pytest.approx(0.86422, abs=5e-6)
    assert (counts.max(axis=1) >= 2).all()
    assert sorted(np.bincount(counts.argmax(axis=1)).tolist()) == [105, 422, 472]
    for (one, other), kappa in {(0, 1): 0.8520, (0, 2): 0.8789, (1, 2): 0.8617}.items():
        prompts = np.arange(len(annotators))
        found = two_voters(prompts, annotators[:, one], annotators[:, other])
        assert found.kappa == pytest.approx(kappa, abs=5e-5)
        assert found.kappa_interval.low < kappa < found.kappa_interval.high
        assert found.kappa_interval.high - found.kappa_interval.low == pytest.approx(0.06, abs=0.01)


def test_a_panel_is_its_figures_with_intervals(annotators: NDArray[np.intp]) -> None:
    counts = counted(annotators)
    found = panel(np.arange(len(counts)), counts, distance=nominal)
    assert (found.units, found.votes) == (999, 2997)
    assert found.alpha == krippendorffs_alpha(counts, nominal)
    assert found.ac1 == gwets_ac1(counts)
    assert found.raw == pytest.approx(np.mean([(row[:, None] == row).sum() / 6 - 0.5 for row in annotators]))
    for figure, around in ((found.alpha, found.alpha_interval), (found.ac1, found.ac1_interval)):
        assert around.low < figure < around.high
        assert around.high - around.low < 0.06


# ----------------------------------------------------------------------------------------------------- oracles


@given(panels, st.sampled_from(sorted(DISTANCES)), st.sampled_from([np.arange(1, 5), np.array([0.5, 1, 4, 9])]))
def test_alpha_is_that_of_evalica(said: list[list[int]], name: str, values: NDArray[np.float64]) -> None:
    """A 0 is a missing cell."""
    cells = [(unit, code - 1) for unit, codes in enumerate(said) for code in codes if code]
    units, codes = zip(*cells, strict=True) if cells else ((), ())
    found = krippendorffs_alpha(count_matrix(units, codes, (len(said), 4)), DISTANCES[name], values)
    compared = [[code for code in codes if code] for codes in said]
    if len({code for codes in compared if len(codes) > 1 for code in codes}) < 2:
        assert found is None  # evalica gives 1 or refuses
        return
    frame = pd.DataFrame([[values[code - 1] if code else np.nan for code in codes] for codes in said]).T
    assert found == pytest.approx(evalica.alpha(frame, distance=name).alpha, abs=1e-9)


@given(st.lists(st.lists(st.integers(0, 3), min_size=1, max_size=6), min_size=1, max_size=15))
def test_ac1_is_what_gwet_wrote_down(said: list[list[int]]) -> None:
    compared = [codes for codes in said if len(codes) > 1]
    counts = count_matrix(
        [unit for unit, codes in enumerate(said) for _ in codes], [code for codes in said for code in codes], (15, 4)
    )
    found = gwets_ac1(counts)
    if not compared:
        assert found is None
        return
    observed = np.mean(
        [
            sum(a == b for i, a in enumerate(codes) for k, b in enumerate(codes) if i != k)
            / (len(codes) * (len(codes) - 1))
            for codes in compared
        ]
    )
    shares = [np.mean([codes.count(code) / len(codes) for codes in said]) for code in range(4)]
    expected = sum(share * (1 - share) for share in shares) / 3
    assert found == pytest.approx((observed - expected) / (1 - expected))


@given(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 2)), min_size=1, max_size=40))
def test_two_voters_are_a_panel_of_two(said: list[tuple[int, int]]) -> None:
    pairs = np.array(said)
    found = two_voters(np.zeros(len(pairs)), pairs[:, 0], pairs[:, 1])
    table = count_matrix(pairs[:, 0], pairs[:, 1], (3, 3))
    kappa = cohens_kappa(table)
    assert found.kappa == (None if kappa is None else pytest.approx(kappa))
    assert found.ac1 == pytest.approx(gwets_ac1(counted(pairs)))
    assert found.ac1 == pytest.approx(ac1_of_table(table))
    assert (found.n, found.kappa_interval, found.ac1_interval) == (len(said), None, None)


# -------------------------------------------------------------------------------------------------- properties


@given(panels)
def test_the_order_of_units_and_empty_ones_change_nothing(said: list[list[int]]) -> None:
    codes = np.array(said)
    units = np.repeat(np.arange(len(codes)), 3)[codes.ravel() > 0]
    counts = count_matrix(units, codes.ravel()[codes.ravel() > 0] - 1, (len(codes), 4))
    turned = np.vstack([counts[::-1], np.zeros((3, 4))])
    for distance in DISTANCES.values():
        one, other = krippendorffs_alpha(counts, distance), krippendorffs_alpha(turned, distance)
        assert other == (None if one is None else pytest.approx(one))
        assert one is None or -1 <= one <= 1
    assert gwets_ac1(turned) == (None if gwets_ac1(counts) is None else pytest.approx(gwets_ac1(counts)))


def test_voters_who_never_disagree_have_a_figure_but_no_interval() -> None:
    counts = np.repeat([[3.0, 0.0], [0.0, 3.0]], 15, axis=0)
    found = panel(np.arange(30), counts)
    assert (found.raw, found.alpha, found.alpha_interval, found.ac1, found.ac1_interval) == (1, 1, None, 1, None)


def test_intervals_need_20_prompts_with_a_second_vote() -> None:
    counts = np.array([[2.0, 0.0], [1.0, 1.0], [0.0, 2.0], [2.0, 0.0]] * 5 + [[1.0, 0.0]] * 30)
    enough = panel(np.arange(50), counts)
    assert enough.alpha_interval.low < enough.alpha < enough.alpha_interval.high
    assert enough.ac1_interval.low < enough.ac1 < enough.ac1_interval.high
    short = panel(np.arange(49), counts[1:])
    assert (short.units, short.alpha_interval, short.ac1_interval) == (19, None, None)


def test_prompts_count_and_not_pairs() -> None:
    """The same 40 pairs, once each on a prompt of its own, once two on a prompt that says the same twice."""
    rng = np.random.default_rng(1)
    one = rng.integers(0, 2, 40)
    other = np.where(rng.random(40) < 0.8, one, 1 - one)
    apart = two_voters(np.arange(40), one, other, categories=2)
    twice = two_voters(np.repeat(np.arange(40), 2), np.repeat(one, 2), np.repeat(other, 2), categories=2)
    assert (twice.n, twice.kappa) == (80, pytest.approx(apart.kappa))
    assert tuple(twice.kappa_interval) == pytest.approx(tuple(apart.kappa_interval))
    joint = two_voters(np.arange(40) // 2, one, other, categories=2)
    assert joint.kappa_interval != apart.kappa_interval


def test_nothing_to_compare() -> None:
    found = panel(np.arange(30), np.tile([1.0, 0.0], (30, 1)))
    assert (found.units, found.votes, found.raw, found.alpha, found.ac1) == (0, 0, None, None, None)
    nobody = two_voters([], [], [])
    assert (nobody.n, nobody.kappa, nobody.ac1) == (0, None, None)


@pytest.mark.parametrize("counts", [[1, 2], [[1], [2]], [[1, -1]], [[1, float("nan")]]])
def test_what_is_no_matrix_of_counts_is_refused(counts: list) -> None:
    with pytest.raises(ValueError, match="no negative number"):
        krippendorffs_alpha(counts)


def test_what_does_not_belong_together_is_refused() -> None:
    with pytest.raises(ValueError, match="3 values do not belong to 2 categories"):
        krippendorffs_alpha([[1, 2]], interval, [0, 1, 2])
    with pytest.raises(ValueError, match="2 prompts do not belong to 1 pairs"):
        two_voters([1, 2], [0], [1])
    with pytest.raises(ValueError, match="invalid entry"):
        two_voters([1], [0], [3])


@pytest.mark.slow
@pytest.mark.parametrize(("base", "kept"), [(0.5, 0.7), (0.85, 0.7), (0.9, 0.9), (0.95, 0.95)])
@pytest.mark.parametrize(("prompts", "pairs"), [(20, 5), (57, 3)])
def test_intervals_of_kappa_and_ac1_cover(base: float, kept: float, prompts: int, pairs: int) -> None:
    """Two voters see the truth of a pair with a probability that differs between prompts, and guess otherwise."""
    rng = np.random.default_rng([int(100 * base), int(100 * kept), prompts])

    def study(size: int) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
        rates = rng.beta(2 * base, 2 * (1 - base), (size, 1))
        sees = rng.beta(5 * kept, 5 * (1 - kept), (size, 1))
        truth = 2 * (rng.random((size, pairs)) < rates)
        truth = np.where(rng.random((size, pairs)) < 0.1, 1, truth)
        one, other = (
            np.where(rng.random(truth.shape) < sees, truth, rng.choice(3, truth.shape, p=[0.4, 0.2, 0.4]))
            for _ in range(2)
        )
        return one.ravel(), other.ravel()

    everybody = count_matrix(*study(300_000), (3, 3))
    kappa, ac1 = cohens_kappa(everybody), ac1_of_table(everybody)
    covered, shown = np.zeros(2), 0
    for _ in range(1_000):
        one, other = study(prompts)
        found = two_voters(np.repeat(np.arange(prompts), pairs), one, other)
        if found.kappa_interval and found.ac1_interval:
            shown += 1
            covered += [
                found.kappa_interval.low <= kappa <= found.kappa_interval.high,
                found.ac1_interval.low <= ac1 <= found.ac1_interval.high,
            ]
    assert shown > 950
    assert (covered / shown >= 0.93).all()
