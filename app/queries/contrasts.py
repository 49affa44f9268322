"""The differences people ask for: in- against out-of-domain, one checkpoint against the next, a batch and its re-run.

Each has an interval of its own; whether two other intervals overlap says nothing about it.
"""

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from sqlalchemy import select
from sqlalchemy.orm import Session

from app.domain.contrast import Contrast, Side, contrast, sentence
from app.domain.tally import ClusterSums
from app.domain.terms import Design, Domain
from app.models import BatchCheckpoint, EvalBatch
from app.queries.cells import DOMAIN_WORDS, SIMULATED
from app.queries.controls import checks_of
from app.queries.results import Matchup, ResultsPage, results_page


@dataclass(frozen=True)
class Behind:
    """What one of two win rates is made from: the pairs of a matchup, or of one domain of it."""

    words: str
    page: ResultsPage
    matchup: Matchup
    domain: Domain | None = None


@dataclass(frozen=True)
class Difference:
    """One question: ``one`` and ``other`` say where each of the two win rates holds."""

    one: str
    other: str
    sentence: str
    found: Contrast
    group: str
    """Questions of the same kind have the same words here: "In-domain less out-of-domain"."""
    label: str
    """Which of them this is: "epoch-2"."""
    behind: tuple[Behind, Behind]
    """What the two win rates are made from."""

    @property
    def told_apart(self) -> bool:
        """Whether the live interval leaves out no difference at all."""
        live = self.found.live
        return live is not None and not live.low <= 0 <= live.high


def contrasts(session: Session, page: ResultsPage) -> tuple[Difference, ...]:
    """What can be compared within an eval batch, and with others that asked the same with another seed."""
    label = SIMULATED if page.batch.simulated_votes else ""
    several = len(page.matchups) > 1
    found = [_domains(page, matchup, label, several=several) for matchup in page.matchups]
    if page.batch.design is Design.STAR:
        found += [_challengers(page, one, other, label) for one, other in pairwise(page.matchups)]
    for again in _reruns(session, page.batch.id):
        found += _rerun(page, results_page(session, again), several=several)
    return tuple(one for one in found if one is not None)


def _domains(page: ResultsPage, matchup: Matchup, label: str, *, several: bool) -> Difference | None:
    if len(matchup.domains) < len(Domain):
        return None
    suffix = f" for {matchup.second}" if several else ""
    inside, outside = (Behind(DOMAIN_WORDS[domain] + suffix, page, matchup, domain) for domain in Domain)
    group = f"{DOMAIN_WORDS[Domain.IN_DOMAIN]} less {DOMAIN_WORDS[Domain.OUT_OF_DOMAIN]}".capitalize()
    return _difference(inside, outside, label, group, matchup.second)


def _challengers(page: ResultsPage, one: Matchup, other: Matchup, label: str) -> Difference | None:
    """The later of two challengers against the one before it, by how either does against the same baseline."""
    later, before = (Behind(f"with {matchup.second}", page, matchup) for matchup in (other, one))
    group, called = "Each challenger less the one before it", f"{other.second} less {one.second}"
    return _difference(later, before, label, group, called)


def _rerun(page: ResultsPage, again: ResultsPage, *, several: bool) -> list[Difference | None]:
    label = SIMULATED if page.batch.simulated_votes or again.batch.simulated_votes else ""
    theirs = {(one.first_id, one.second_id): one for one in again.matchups}
    found = []
    for matchup in page.matchups:
        other = theirs.get((matchup.first_id, matchup.second_id))
        if other is not None:
            suffix = f" for {matchup.second}" if several else ""
            here = Behind(f"in {page.batch.name}{suffix}", page, matchup)
            there = Behind(f"in {again.batch.name}{suffix}", again, other)
            group = f"{page.batch.name} less {again.batch.name}"
            found.append(_difference(here, there, label, group, matchup.second))
    return found


def _difference(one: Behind, other: Behind, label: str, group: str, called: str) -> Difference | None:
    found = contrast(_side(one), _side(other))
    if found is None:
        return None
    said = label + sentence(found, found.live, one.words, other.words)
    return Difference(one.words, other.words, said, found, group, called, (one, other))


def _side(behind: Behind) -> Side:
    counts = behind.matchup.counts
    there = counts.votes.n > 0
    kept = there if behind.domain is None else there & (counts.domains == behind.domain)
    return Side(tuple(counts.prompts[kept].tolist()), ClusterSums.from_counts(counts.votes[kept]))


def _reruns(session: Session, batch_id: uuid.UUID) -> Sequence[uuid.UUID]:
    """Eval batches with the same suite, members and sampling and another seed, oldest first.

    One in which the canaries found an order mixed up is not compared with.
    """
    batch = session.get_one(EvalBatch, batch_id)
    asked = session.scalars(
        select(EvalBatch)
        .where(
            EvalBatch.suite_id == batch.suite_id, EvalBatch.baseline_id == batch.baseline_id,
            EvalBatch.design == batch.design, EvalBatch.seed != batch.seed,
            EvalBatch.system_prompt == batch.system_prompt,
        )
        .order_by(EvalBatch.created_at, EvalBatch.id)
    ).all()  # fmt: skip
    same = [one.id for one in asked if one.sampling == batch.sampling and not checks_of(session, one).suspect]
    members: dict[uuid.UUID, set[uuid.UUID]] = {one: set() for one in (batch.id, *same)}
    for one, member in session.execute(
        select(BatchCheckpoint.eval_batch_id, BatchCheckpoint.checkpoint_id).where(
            BatchCheckpoint.eval_batch_id.in_(members)
        )
    ):
        members[one].add(member)
    return [one for one in same if members[one] == members[batch.id]]
