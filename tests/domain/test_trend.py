"""A win rate over votes: each point is what the whole calculation says of the votes so far."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain.intervals import live, too_early
from app.domain.tally import ClusterSums, summarise
from app.domain.trend import MOST_POINTS, trend

VOTES = st.lists(st.tuples(st.integers(0, 8), st.sampled_from((0.0, 0.5, 1.0))), max_size=150)


def split(votes: list[tuple[int, float]]) -> tuple[np.ndarray, np.ndarray]:
    return np.array([prompt for prompt, _ in votes], dtype=np.intp), np.array([y for _, y in votes], dtype=np.float64)


@given(VOTES)
def test_every_point_is_what_the_page_said_then(votes: list[tuple[int, float]]) -> None:
    points = trend(*split(votes))
    for point in points:
        by_prompt: dict[int, list[float]] = {}
        for prompt, y in votes[: point.votes]:
            by_prompt.setdefault(prompt, []).append(y)
        summary = summarise(ClusterSums.from_observations(list(by_prompt.values())))
        assert summary is not None
        assert point.win_rate == pytest.approx(summary.p)
        assert (point.live is None) is too_early(summary)
        if point.live is not None:
            assert point.live == pytest.approx(live(summary), abs=1e-9)


@given(VOTES)
def test_points_go_up_to_the_last_vote_and_are_not_too_many(votes: list[tuple[int, float]]) -> None:
    at = [point.votes for point in trend(*split(votes))]
    assert at == sorted(set(at))
    assert len(at) == min(len(votes), MOST_POINTS)
    assert at[-1:] == [len(votes)][: len(votes)]


def test_shapes_that_do_not_belong_together_are_refused() -> None:
    with pytest.raises(ValueError, match="not about prompts"):
        trend(np.zeros(3, dtype=np.intp), np.zeros(4))
