"""What is said of a panel of raters is what its figures are, and who they are."""

import pytest

from app.domain.panel import nominal, panel
from app.domain.panel_words import panel_words

FOUR = [[2, 0, 0], [0, 0, 2], [0, 0, 2], [1, 0, 1]]
"""Two raters on four pairs who differ on the last."""


def said(counts: list[list[int]], raters: int) -> str:
    found = panel(range(len(counts)), counts, distance=nominal)
    return panel_words(found, raters)


def test_two_raters_agree_on_a_share_of_their_pairs() -> None:
    found = panel(range(4), FOUR, distance=nominal)
    assert found.alpha == pytest.approx(1 - (2 / 8) / (2 * 3 * 5 / (8 * 7)))
    assert said(FOUR, 2) == (
        f"Two raters agree on 75% of 4 pairs that both voted on; beyond chance: alpha {found.alpha:.2f}, "
        f"AC1 {found.ac1:.2f}."
    )


def test_several_raters_are_drawn_from() -> None:
    assert said(FOUR, 5).startswith("Two raters, drawn from 5, agree on 75% of 4 pairs with two votes or more;")
    assert "of 1 pair " in said([[2, 0, 0], [0, 1, 0]], 3)


def test_where_nothing_varies_alpha_is_left_out() -> None:
    assert "alpha" not in said([[2, 0, 0], [2, 0, 0]], 2)


def test_agreement_needs_two_votes_on_a_pair() -> None:
    assert said([[1, 0, 0], [0, 0, 1]], 1).startswith("One rater has voted.")
    assert said([[1, 0, 0], [0, 0, 1]], 2) == "2 raters have voted, and no two of them on the same pair yet."
    assert said([[1, 0, 0], [0, 0, 1]], 0) == ""
