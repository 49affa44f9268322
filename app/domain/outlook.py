"""How many more votes a comparison needs, given what it shows so far, and what its plan can tell at all.

The win rate of today is no more than a guess at the true one, and a difference that looks large early mostly shrinks.
So the figure is an "if", it stands beside what the whole plan can tell, and there is none while it is too early.
"""

from dataclasses import dataclass, replace

from app.domain.intervals import Interval, too_early
from app.domain.planner import USUAL, Assumptions, votes_needed
from app.domain.power import smallest
from app.domain.tally import Summary, Tally
from app.domain.words import EVEN, Standing, percent, shortage, verdict

_SAME = 1e-9
_NEXT_TO_ALL = 1 - 1e-9


@dataclass(frozen=True)
class Plan:
    """What the plan asks for in one matchup."""

    prompts: int
    replicates: int
    votes_per_pair: int

    @property
    def votes_per_prompt(self) -> int:
        """All votes on one prompt."""
        return self.replicates * self.votes_per_pair

    @property
    def votes(self) -> int:
        """Votes of the whole matchup, were no pair settled by its texts."""
        return self.prompts * self.votes_per_prompt


def assumed(tally: Tally, summary: Summary | None, icc: float | None) -> Assumptions:
    """What the votes themselves say about ties and about votes on one prompt, where they are enough to say it."""
    known = USUAL if summary is None or too_early(summary) else replace(USUAL, tie_rate=tally.ties / tally.n)
    return known if icc is None else replace(known, icc=icc)


def more_votes(summary: Summary, plan: Plan, given: Assumptions) -> int:
    """Votes still to come until a true win rate like the present one is told from one half; 0 where there are enough.

    Raises ``ValueError`` for a present win rate of one half.
    """
    effect = min(abs(summary.p - EVEN), given.largest_effect * _NEXT_TO_ALL)
    return max(0, votes_needed(EVEN + effect, plan.votes_per_prompt, given) - round(summary.n))


def outlook_words(
    tally: Tally, summary: Summary | None, interval: Interval | None, plan: Plan, given: Assumptions
) -> str:
    """How many more votes until the present difference would be told from one half.

    ``interval`` is the live one, ``None`` while it is too early, as for ``verdict``.
    """
    standing = verdict(summary, interval)
    if summary is None:
        return "How many votes it takes can be said once there are some."
    if standing is Standing.TOO_EARLY:
        return f"Too early to say how many more votes it takes: {shortage(summary)}."
    if standing is not Standing.OPEN:
        return "The difference is told from 50% already. Further votes would only make its range narrower."
    if abs(summary.p - EVEN) <= _SAME:
        return "Neither is ahead, and no number of votes tells a true 50% from itself."
    return _while_open(tally, summary, plan, given)


def _while_open(tally: Tally, summary: Summary, plan: Plan, given: Assumptions) -> str:
    more = more_votes(summary, plan, given)
    if more == 0:
        return (
            f"If the true win rate is the {percent(summary.p)} of today, as many votes as these tell it from 50% four "
            "times out of five. This time they have not: it may well lie nearer to 50%."
        )
    said = (
        f"If the true win rate is the {percent(summary.p)} of today, about {_rounded(more):,} more votes tell it from "
        "50%, four times out of five. If it lies nearer to 50%, it takes more."
    )
    left = max(0, plan.votes - tally.n)
    if more <= left:
        return said
    there = f"only {left:,} more" if left else "no more"
    return f"{said} The plan asks for {there} here: they would be for another eval batch, best with more prompts."


def plan_words(plan: Plan, given: Assumptions) -> str:
    """What the whole plan can tell of one challenger."""
    prompts = "1 prompt" if plan.prompts == 1 else f"{plan.prompts:,} prompts"
    votes = "1 vote" if plan.votes_per_prompt == 1 else f"{plan.votes_per_prompt:,} votes"
    rate = smallest(plan.prompts, plan.votes_per_prompt, given)
    if rate is None:
        return f"The whole plan, {prompts} with {votes} each, is too small to tell any win rate from 50%."
    return (
        f"The whole plan, {prompts} with {votes} each, tells a true win rate of {percent(rate)} or more, or as far "
        "below, from 50%, four times out of five. Smaller differences it may well miss."
    )


def assumption_words(given: Assumptions) -> str:
    """What both figures take for granted."""
    ties = "as so far" if given.tie_rate != USUAL.tie_rate else "as is usual"
    between = "as measured here" if given.icc != USUAL.icc else "as is usual"
    return (
        f"Taken for granted: {percent(given.tie_rate)} ties ({ties}), {percent(given.icc)} of the noise between "
        f"prompts ({between}), and a range that is read after every vote, which costs three quarters more votes."
    )


def _rounded(votes: int) -> int:
    """To two figures: the rest would claim to be exact."""
    unit = int(10 ** max(0, len(str(votes)) - 2))
    return -(-votes // unit) * unit
