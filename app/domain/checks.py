"""What the checks of an eval batch say, in words: canaries, placebo, gold pairs, and whether anybody could tell."""

from app.domain.intervals import Interval
from app.domain.tally import Summary, Tally
from app.domain.words import Standing, headline, percent, verdict

_WITH_ALL = {
    Standing.BETTER: " With all votes it is better.",
    Standing.WORSE: " With all votes it is worse.",
    Standing.OPEN: " With all votes it is open.",
}
"""Where leaving votes out changes what may be said."""


def suspect_words(wrong: int, votes: int) -> str:
    """The stop notice: votes of the script arrived on the text that it did not choose."""
    return (
        f"Mapping suspect: {wrong:,} of {votes:,} {'vote' if votes == 1 else 'votes'} of the canary script arrived as "
        "a win of the text that it did not choose. An order is mixed up between the database and the page, so every "
        "vote of this batch may stand for the wrong checkpoint. No result is shown. All votes are kept; find the "
        "fault, then launch the comparison again."
    )


def placebo_words(tally: Tally, behaves: bool | None) -> str:  # noqa: FBT001 (a finding of three values)
    """What the votes on base-against-base pairs say; ``behaves`` is ``None`` while there is no range."""
    if tally.n == 0:
        return "No votes yet on the placebo pairs, in which the baseline meets itself."
    counts = f"{tally.wins:,} to {tally.losses:,}"
    if tally.ties:
        counts += f", with {tally.ties:,} {'tie' if tally.ties == 1 else 'ties'}"
    if behaves is None:
        return f"Identical checkpoints were preferred {counts}. Too early to say whether the placebo behaves."
    if behaves:
        return f"The placebo behaves: identical checkpoints were preferred {counts}, and the range holds 50%."
    return (
        f"The placebo is off: identical checkpoints were preferred {counts}, and the range leaves out 50%. Something "
        "other than the texts decides votes here. Read the results above with that doubt."
    )


def gold_words(tally: Tally) -> str:
    """What the votes on gold pairs say; wins are votes for the better text."""
    if tally.n == 0:
        return "No votes yet on the gold pairs, of which the better text is known."
    missed = f"; {tally.losses:,} chose the worse one" if tally.losses else ""
    ties = f" and {tally.ties:,} called it a tie" if tally.ties and missed else ""
    if tally.ties and not missed:
        ties = f"; {tally.ties:,} called it a tie"
    return f"{tally.wins:,} of {tally.n:,} votes on gold pairs chose the text that is known to be better{missed}{ties}."


def leak_words(flagged: int, shown: int, unchecked: int) -> str:
    """In how many of the pairs that voters are shown a text says who wrote it; of the unchecked ones nobody knows."""
    looked = shown - unchecked
    if not shown:
        return "There is no pair yet in which a text could say who wrote it."
    if not looked:
        return "Whether a text says who wrote it is not known: these pairs are from before texts were looked at."
    if not flagged:
        said = f"In none of {'them' if unchecked else f'the {looked:,} pairs'} does a text say who wrote it."
        said = "In the only pair no text says who wrote it." if shown == 1 else said
    else:
        of = "them" if unchecked else f"{looked:,} {'pair' if looked == 1 else 'pairs'}"
        said = f"In {flagged:,} of {of} a text says who wrote it."
    if not unchecked:
        return said
    older = (
        f"{looked:,} of {shown:,} pairs were looked at; the others are from before texts were, and stay in all counts."
    )
    return f"{older} {said}"


def recognition_words(yes: int, answered: int, *, asked: bool) -> str:
    """What raters said when asked after a vote whether they recognised who wrote one of the texts."""
    if not answered:
        if asked:
            return "Raters are asked whether they recognised who wrote one of the texts; nobody has answered yet."
        return "Raters are not asked whether they recognised who wrote one of the texts."
    if answered == 1:
        thought = "thought" if yes else "did not think"
        return f"The only rater who answered {thought} that they recognised who wrote one of the texts."
    if not yes:
        return f"In none of {answered:,} answers did a rater think that they recognised who wrote one of the texts."
    share = percent(yes / answered)
    return (
        f"In {yes:,} of {answered:,} answers ({share}) a rater thought that they recognised who wrote one of the texts."
    )


def without_words(
    what: str,
    challenger: str,
    baseline: str,
    tally: Tally,
    summary: Summary | None,
    interval: Interval | None,
    with_all: Standing,
) -> str:
    """What the votes say that are left without "these pairs"; ``with_all`` is what all of them together say.

    Without an interval to show, it says so as the result itself would.
    """
    standing = verdict(summary, interval)
    if summary is None or interval is None:
        said = f"Without {what}: {headline(challenger, baseline, tally, summary, None, None)}"
    else:
        still = "still " if standing is with_all else ""
        two = f"{challenger} is {still}{standing} than {baseline}"
        if standing is Standing.OPEN:
            two = f"it is {still}open between {challenger} and {baseline}"
        low, high = percent(interval.low), percent(interval.high)
        rate = f"a win rate of {percent(summary.p)}, and the true one could be anywhere from {low} to {high}"
        said = f"Without {what} {two}: {rate}."
    return said if standing is with_all else said + _WITH_ALL.get(with_all, "")
