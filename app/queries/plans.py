"""What a launch would ask for and could find out, before anything is frozen."""

from dataclasses import dataclass, replace

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from app.domain.outlook import assumption_words
from app.domain.plan_words import EXAMPLE, missed_words, told_words
from app.domain.planner import USUAL
from app.domain.power import EVEN, chance, prompts_needed, smallest
from app.domain.terms import Domain
from app.models import Prompt, Suite

TARGETS = (0.6, 0.7, 0.8)
"""True win rates that people ask about."""
ALL = "all prompts"
_LABELS = {Domain.IN_DOMAIN: "in-domain", Domain.OUT_OF_DOMAIN: "out-of-domain"}
_READ_ONCE = replace(USUAL, live=False)
_STEP = 0.01


@dataclass(frozen=True)
class Chance:
    """How probably a true win rate is told from one half."""

    win_rate: float
    chance: float


@dataclass(frozen=True)
class Group:
    """What one challenger's votes on some of the prompts can tell."""

    label: str
    """``all prompts``, or the domain."""
    prompts: int
    votes: int
    smallest: float | None
    """The smallest win rate that is told from 50% four times out of five; ``None``: none is."""
    told: str
    missed: str
    curve: tuple[Chance, ...]


@dataclass(frozen=True)
class Target:
    """What it takes to tell one true win rate from 50% four times out of five, and how probably this plan does."""

    win_rate: float
    chance: float
    prompts: int
    votes: int
    prompts_read_once: int
    votes_read_once: int
    seconds: int


@dataclass(frozen=True)
class PlanView:
    """A plan in words and figures."""

    sentence: str
    pairs: int
    responses: int
    warnings: tuple[str, ...]
    groups: tuple[Group, ...]
    """All prompts first, then by domain where there is more than one."""
    targets: tuple[Target, ...]
    votes_per_prompt: int
    votes: int
    """All that people are asked for."""
    seconds_per_vote: int
    assumptions: str

    @property
    def seconds(self) -> int:
        """The time that all votes take."""
        return self.votes * self.seconds_per_vote


def plan_view(
    session: Session,
    suite: Suite,
    *,
    challengers: int,
    pairs: int,
    responses: int,
    placebo_pairs: int,
    replicates: int,
    votes_per_pair: int,
    allow_repeats: bool,
    seconds_per_vote: int,
) -> PlanView:
    """A plan before it is launched. What it can tell is said of one challenger against the baseline."""
    query = select(Prompt.domain, func.count(Prompt.id)).where(Prompt.suite_id == suite.id).group_by(Prompt.domain)
    counts: dict[Domain, int] = dict(session.execute(query).all())
    per_prompt = replicates * votes_per_pair
    groups = [_group(ALL, sum(counts.values()), per_prompt)]
    if len(counts) > 1:
        groups += [_group(label, counts[domain], per_prompt) for domain, label in _LABELS.items()]
    votes = (pairs + placebo_pairs) * votes_per_pair
    return PlanView(
        sentence=f"{groups[0].prompts} prompts, {pairs} pairs, {responses} responses, {votes} votes.",
        pairs=pairs,
        responses=responses,
        warnings=_warnings(challengers, votes_per_pair, allow_repeats=allow_repeats),
        groups=tuple(groups),
        targets=tuple(_target(rate, groups[0].prompts, per_prompt, seconds_per_vote) for rate in TARGETS),
        votes_per_prompt=per_prompt,
        votes=votes,
        seconds_per_vote=seconds_per_vote,
        assumptions=assumption_words(USUAL),
    )


def _warnings(challengers: int, votes_per_pair: int, *, allow_repeats: bool) -> tuple[str, ...]:
    warnings = []
    if votes_per_pair > 1:
        warnings.append(f"Each pair needs {votes_per_pair} different people.")
    if challengers > 1 and not allow_repeats:
        warnings.append(
            f"One person meets each baseline text once, so at least {challengers * votes_per_pair} people are needed."
        )
    return tuple(warnings)


def _named(label: str, prompts: int) -> str:
    """These prompts with their number, as ``13 in-domain prompts``."""
    noun = "prompt" if prompts == 1 else "prompts"
    return f"{prompts:,} {noun}" if label == ALL else f"{prompts:,} {label} {noun}"


def _group(label: str, prompts: int, per_prompt: int) -> Group:
    named = _named(label, prompts)
    highest = EVEN + USUAL.largest_effect
    rates = [round(EVEN + _STEP * step, 2) for step in range(round((highest - EVEN) / _STEP) + 1)]
    rate = smallest(prompts, per_prompt)
    return Group(
        label=label,
        prompts=prompts,
        votes=prompts * per_prompt,
        smallest=rate,
        told=told_words(named, rate),
        missed=missed_words(named, 1 - chance(prompts, per_prompt, EXAMPLE)),
        curve=tuple(Chance(rate, chance(prompts, per_prompt, rate)) for rate in rates),
    )


def _target(rate: float, prompts: int, per_prompt: int, seconds_per_vote: int) -> Target:
    needed, once = prompts_needed(rate, per_prompt), prompts_needed(rate, per_prompt, _READ_ONCE)
    return Target(
        win_rate=rate,
        chance=chance(prompts, per_prompt, rate),
        prompts=needed,
        votes=needed * per_prompt,
        prompts_read_once=once,
        votes_read_once=once * per_prompt,
        seconds=needed * per_prompt * seconds_per_vote,
    )
