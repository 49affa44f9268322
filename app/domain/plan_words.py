"""What a plan can tell and what it will miss, in words."""

from app.domain.words import percent

_OFTEN = (
    (0.99, "almost always"),
    (0.925, "19 times in 20"),
    (0.85, "9 times in 10"),
    (0.775, "4 times in 5"),
    (0.7, "3 times in 4"),
    (0.59, "2 times in 3"),
    (0.41, "every second time"),
    (0.29, "1 time in 3"),
    (0.225, "1 time in 4"),
    (0.15, "1 time in 5"),
    (0.075, "1 time in 10"),
    (0.01, "1 time in 20"),
)
"""The least share that is called so."""

EXAMPLE = 0.6
"""A true win rate that is worth finding and easy to miss."""


def often(share: float) -> str:
    """How often something happens, as people say it: ``9 times in 10``."""
    return next((said for least, said in _OFTEN if share >= least), "hardly ever")


def told_words(prompts: str, rate: float | None) -> str:
    """What these prompts can tell, as ``13 in-domain prompts``; ``rate``: the smallest win rate that is told."""
    if rate is None:
        return f"The {prompts} are too few to tell any win rate from 50%."
    return f"The {prompts} tell a true win rate of {percent(rate)} or more, or as far below, from 50%, 4 times in 5."


def missed_words(prompts: str, missed: float, rate: float = EXAMPLE) -> str:
    """How often a true win rate on these prompts would be missed."""
    return f"A true win rate of {percent(rate)} on the {prompts} would be missed {often(missed)}."
