"""Sampling follows the softmax, respects its settings, and depends on (seed, step, token) alone."""

import math
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from training.errors import TrainingError
from training.sampling import NUCLEUS_GUESSES, Sampling, choose, gumbel, penalise

LOGITS = torch.tensor([[2.0, 1.0, 0.0, -1.0, 0.5, -3.0]])
DRAWS = 4000


def drawn(sampling: Sampling, *, by: str) -> list[int]:
    """Counts of the tokens chosen for many seeds at one step, or for many steps of one seed."""
    seeds = list(range(DRAWS)) if by == "seed" else [7] * DRAWS
    steps = list(range(DRAWS)) if by == "step" else [3] * DRAWS
    chosen = choose(LOGITS.expand(DRAWS, -1), sampling, seeds, steps)
    return torch.bincount(chosen, minlength=LOGITS.shape[1]).tolist()


def expected(kept: list[int], temperature: float) -> list[float]:
    weights = [math.exp(LOGITS[0, token].item() / temperature) if token in kept else 0.0 for token in range(6)]
    return [DRAWS * weight / sum(weights) for weight in weights]


@pytest.mark.parametrize("by", ["seed", "step"])
@pytest.mark.parametrize(
    ("sampling", "kept"),
    [
        (Sampling(), [0, 1, 2, 3, 4, 5]),
        (Sampling(temperature=0.7), [0, 1, 2, 3, 4, 5]),
        (Sampling(top_k=3), [0, 1, 4]),
        (Sampling(top_p=0.8), [0, 1, 4]),
        (Sampling(top_k=3, top_p=0.65), [0, 1]),
    ],
)
def test_frequencies_follow_the_softmax_of_what_is_kept(sampling: Sampling, kept: list[int], by: str) -> None:
    counts, target = drawn(sampling, by=by), expected(kept, sampling.temperature)
    assert all(counts[token] == 0 for token in range(6) if token not in kept)
    p_value = stats.chisquare([counts[token] for token in kept], [target[token] for token in kept]).pvalue
    assert p_value > 1e-3


def test_the_noise_is_gumbel_noise() -> None:
    keys = torch.arange(200) * 7919
    noise = gumbel(keys, torch.arange(500).expand(200, -1)).flatten().double().numpy()
    assert stats.kstest(noise, "gumbel_r").pvalue > 1e-3


@given(
    seeds=st.lists(st.integers(0, 2**63 - 1), min_size=2, max_size=6),
    top_k=st.sampled_from([0, 5]),
    top_p=st.sampled_from([1.0, 0.9]),
)
def test_a_row_is_chosen_alike_alone_and_among_others(seeds: list[int], top_k: int, top_p: float) -> None:
    rows = len(seeds)
    logits = torch.randn(rows, 40, generator=torch.Generator().manual_seed(rows))
    sampling = Sampling(temperature=0.8, top_k=top_k, top_p=top_p)
    steps = list(range(rows))
    together = choose(logits, sampling, seeds, steps)
    alone = [choose(logits[row : row + 1], sampling, [seeds[row]], [row]).item() for row in range(rows)]
    assert together.tolist() == alone
    assert choose(logits.flip(0), sampling, seeds[::-1], steps[::-1]).flip(0).tolist() == alone


def test_a_neighbour_with_a_wide_nucleus_does_not_change_a_row_even_among_ties() -> None:
    """Coarse logits as bfloat16 makes them: hundreds of equal values across the edge of the nucleus."""
    coarse = (torch.randn(1, 8192, generator=torch.Generator().manual_seed(1)) * 3).round()
    flat = torch.zeros(1, 8192)
    sampling = Sampling(top_p=0.5)
    for seed in range(200):
        alone = choose(coarse, sampling, [seed], [0])[0]
        assert choose(torch.cat([coarse, flat]), sampling, [seed, 1], [0, 0])[0] == alone


@pytest.mark.parametrize("guess", NUCLEUS_GUESSES)
def test_a_nucleus_wider_than_a_guess_is_found_whole(guess: int) -> None:
    """A flat distribution: were it cut at the guess, fewer than half of the draws could differ."""
    flat = torch.zeros(200, 4 * guess)
    chosen = choose(flat, Sampling(top_p=0.99), list(range(200)), [0] * 200)
    assert int((chosen >= guess).sum()) > 100
    assert int((chosen < guess).sum()) > 10


def test_temperature_zero_is_greedy_whatever_the_seed() -> None:
    sampling = Sampling(temperature=0, top_p=0.5, top_k=3)
    assert {choose(LOGITS, sampling, [seed], [0]).item() for seed in range(20)} == {0}


def test_the_repetition_penalty_lowers_seen_tokens_only() -> None:
    seen = torch.tensor([[True, False, True, True, False, False]])
    assert penalise(LOGITS, seen, 2.0).tolist() == [[1.0, 1.0, 0.0, -2.0, 0.5, -3.0]]


@pytest.mark.parametrize(
    "settings",
    [{"temperature": -1}, {"temperature": math.nan}, {"top_p": 0}, {"top_k": -1}, {"max_new_tokens": 0}],
)
def test_settings_without_a_meaning_are_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(TrainingError, match="cannot be used"):
        Sampling(**settings)
