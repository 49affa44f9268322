"""How far raters agree, in words."""

from app.domain.panel import Panel
from app.domain.words import percent

_TWO = 2


def panel_words(found: Panel, raters: int) -> str:
    """One or two sentences on ``raters`` raters as a panel; empty where there is none."""
    if raters == 0:
        return ""
    if raters < _TWO:
        return "One rater has voted. How far people agree shows when a second one votes on the same pairs."
    if found.raw is None:
        return f"{raters} raters have voted, and no two of them on the same pair yet."
    pairs = "1 pair" if found.units == 1 else f"{found.units:,} pairs"
    if raters == _TWO:
        who = f"Two raters agree on {percent(found.raw)} of {pairs} that both voted on"
    else:
        who = f"Two raters, drawn from {raters}, agree on {percent(found.raw)} of {pairs} with two votes or more"
    figures = [
        f"{name} {value:.2f}" for name, value in (("alpha", found.alpha), ("AC1", found.ac1)) if value is not None
    ]
    return f"{who}; beyond chance: {', '.join(figures)}." if figures else f"{who}."
