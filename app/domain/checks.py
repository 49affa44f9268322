"""What the checks of an eval batch say, in words: canaries, placebo and gold pairs."""

from app.domain.tally import Tally


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
