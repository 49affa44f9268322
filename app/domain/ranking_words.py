"""A ranking in words: who may be the strongest, and what cannot be told yet."""

from collections.abc import Sequence

_MOST_NAMES = 3


def ranking_words(ranked: Sequence[tuple[str, int, int]]) -> str:
    """One set of checkpoints that comparisons link, strongest first: each a name with its best and its worst rank.

    Raises ``ValueError`` for fewer than two.
    """
    if len(ranked) < 2:  # noqa: PLR2004 - one alone has no rank
        raise ValueError("a ranking has at least two checkpoints")
    ahead = [name for name, best, _ in ranked if best == 1]
    behind = [name for name, best, _ in ranked if best > 1]
    if not behind:
        return f"None of these {len(ranked)} can be told from the others yet: each may still be the strongest."
    if len(ahead) == 1:
        return f"{ahead[0]} is the strongest: it is ahead of {'the other' if len(behind) == 1 else 'all others'}."
    is_or_are = "is" if len(behind) == 1 else "are"
    return f"{_listed(ahead, 'or')} may be the strongest; {_listed(behind, 'and')} {is_or_are} behind at least one."


def apart_words(sets: int, alone: Sequence[str]) -> str:
    """Why there is not one ranking: ``sets`` of at least two, and checkpoints that votes compare with no other.

    Empty where there is nothing to explain: one set, and nobody alone.
    """
    said = []
    if sets > 1:
        said.append(
            f"The votes so far link these checkpoints in {sets} sets that have not met. Ranks are told within a set; "
            "between two of them nothing can be said."
        )
    if alone:
        said.append(f"No vote compares {_listed(alone, 'or')} with another checkpoint yet.")
    return " ".join(said)


def _listed(names: Sequence[str], word: str) -> str:
    """A few names in words: "a, b or c", "a, b, c and 4 others"."""
    rest = len(names) - _MOST_NAMES
    if rest > 1:
        return f"{', '.join(names[:_MOST_NAMES])} {word} {rest} others"
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} {word} {names[-1]}"
