"""Many comparisons in one sentence: how many of them are decided."""

from collections import Counter
from collections.abc import Sequence

from app.domain.words import Standing

_UNDECIDED = {
    Standing.OPEN: "still open",
    Standing.TOO_EARLY: "too early for a range",
    Standing.NOTHING_YET: "without a vote",
}
_NOT_TOLD = {
    Standing.OPEN: "not told apart",
    Standing.TOO_EARLY: "without enough votes",
    Standing.NOTHING_YET: "without a vote",
}
"""The same in a finished report, after which no vote follows."""


def crowd_words(standings: Sequence[Standing], baseline: str | None, *, final: bool = False) -> str:
    """How the comparisons of a crowded eval batch stand.

    Args:
        standings: one for each comparison.
        baseline: what all of them are against; ``None`` where checkpoints also meet each other.
        final: no vote will follow, so nothing is "still open".
    """
    counted = Counter(standings)
    undecided = [
        f"{counted[one]:,} {word}" for one, word in (_NOT_TOLD if final else _UNDECIDED).items() if counted[one]
    ]
    if baseline is None:
        decided = counted[Standing.BETTER] + counted[Standing.WORSE]
        told = [f"{decided:,} decided"] if decided else []
        return _listed(f"{len(standings):,} comparisons", [*told, *undecided])
    told = [f"{counted[one]:,} {one} than {baseline}" for one in (Standing.BETTER, Standing.WORSE) if counted[one]]
    return _listed(f"{len(standings):,} challengers", [*told, *undecided])


def _listed(whole: str, parts: Sequence[str]) -> str:
    first, *rest = parts
    number, words = first.split(" ", 1)
    if not rest:
        return f"All {whole} are {words}."
    *before, last = (f"{number} {'is' if number == '1' else 'are'} {words}", *rest)
    return f"Of {whole}, {', '.join(before)} and {last}."
