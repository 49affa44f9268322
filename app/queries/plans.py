"""What a launch would cost and could find out, before anything is frozen."""

from dataclasses import dataclass

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from app.domain.pairing import MAX_RESPONSES
from app.domain.power import smallest
from app.domain.words import percent
from app.models import Prompt
from app.queries.lookup import find_suite


@dataclass(frozen=True)
class PlanView:
    """A plan in words, with what stands out about it."""

    sentence: str
    warnings: tuple[str, ...]


def plan_view(
    session: Session,
    *,
    suite: str,
    challengers: int,
    replicates: int,
    votes_per_pair: int,
    allow_repeats: bool,
) -> PlanView:
    """The plan of a star: every challenger meets the baseline on every prompt.

    Raises:
        NotFoundError: the suite is unknown.
    """
    prompts = session.scalar(select(func.count(Prompt.id)).where(Prompt.suite_id == find_suite(session, suite).id)) or 0
    if challengers == 0:
        return PlanView(f"{prompts} prompts are waiting: choose at least one challenger.", ())
    pairs = prompts * replicates * challengers
    responses = prompts * replicates * (challengers + 1)
    rate = smallest(prompts, votes_per_pair * replicates)
    power = (
        f"can tell a true win rate of {percent(rate)} or more from 50%, four times out of five"
        if rate is not None
        else "is too small to tell any win rate from 50%"
    )
    sentence = (
        f"{prompts} prompts, {pairs} pairs, {responses} responses, {pairs * votes_per_pair} votes: "
        f"{'each challenger' if challengers > 1 else 'this plan'} {power}."
    )
    warnings = []
    if responses > MAX_RESPONSES:
        warnings.append(f"At most {MAX_RESPONSES} responses fit one eval batch.")
    if votes_per_pair > 1:
        warnings.append(f"Each pair needs {votes_per_pair} different people.")
    if challengers > 1 and not allow_repeats:
        warnings.append(
            f"One person meets each baseline text once, so at least {challengers * votes_per_pair} people are needed."
        )
    return PlanView(sentence, tuple(warnings))
