"""What each comparison of an eval batch still needs, and what its plan can tell."""

from dataclasses import dataclass

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from app.domain.outlook import Plan, assumed, assumption_words, outlook_words, plan_words
from app.domain.tally import ClusterSums, summarise
from app.models import EvalBatch, Prompt
from app.queries.cells import SIMULATED
from app.queries.results import Matchup, ResultsPage
from app.queries.statistics import Statistics


@dataclass(frozen=True)
class Outlook:
    """One matchup, in sentences."""

    needed: str
    plan: str
    assumptions: str


def outlooks(session: Session, page: ResultsPage, found: Statistics) -> tuple[Outlook, ...]:
    """One for each matchup of the page, in the same order."""
    batch = session.get_one(EvalBatch, page.batch.id)
    prompts = session.scalar(select(func.count(Prompt.id)).where(Prompt.suite_id == batch.suite_id)) or 0
    plan = Plan(prompts, batch.replicates, batch.votes_per_pair)
    label = SIMULATED if page.batch.simulated_votes else ""
    return tuple(_outlook(matchup, found, plan, label) for matchup in page.matchups)


def _outlook(matchup: Matchup, found: Statistics, plan: Plan, label: str) -> Outlook:
    votes = matchup.counts.votes
    summary = summarise(ClusterSums.from_counts(votes))
    own = found.of(matchup)
    components = own.variance.components if own else None
    given = assumed(votes.total, summary, components.icc if components else None)
    return Outlook(
        needed=label + outlook_words(votes.total, summary, matchup.whole.live, plan, given),
        plan=plan_words(plan, given),
        assumptions=assumption_words(given),
    )
