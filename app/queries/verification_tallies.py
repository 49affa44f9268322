"""Verifying tallies: counted anew from the ballots and verdicts that stream by."""

import uuid
from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field

from sqlalchemy import Row, select
from sqlalchemy.orm import Session

from app.domain.blinding import outcome
from app.domain.tally import Tally
from app.domain.terms import BallotState, Choice, PairKind, VoterKind
from app.models import Ballot, EvalBatch, Recognition, Verdict
from app.models import Tally as StoredTally
from app.queries.blindness import Answers
from app.queries.judged import Sorted, add_answer
from app.queries.verification_findings import Findings, streamed
from app.queries.verification_pairs import PairFacts

COUNTED = ("held", "drawn_first_is_a", "drawn_second_is_a", "first", "second", "tie", "both_bad")
"""The columns of a tally."""

LIVE = (BallotState.OPEN, BallotState.VOTED)
"""States that hold a slot."""


@dataclass
class Recount:
    """Tallies counted anew from ballots and verdicts, as large as the pairs and raters, not as the votes."""

    tallies: dict[tuple[uuid.UUID, VoterKind], Counter[str]] = field(default_factory=lambda: defaultdict(Counter))
    simulated_votes: int = 0
    votes: int = 0
    answered: Counter[uuid.UUID] = field(default_factory=Counter)
    """Votes by rater of which they said whether they recognised one."""
    recognised: dict[uuid.UUID, dict[uuid.UUID, Tally]] = field(default_factory=lambda: defaultdict(dict))
    """Those with a yes, by rater and pair."""
    judged: Sorted = field(default_factory=dict)
    """What judges said of main pairs; as large as pairs and judges."""

    @property
    def answers(self) -> dict[uuid.UUID, Answers]:
        """What each rater said of recognising somebody."""
        return {
            voter_id: Answers(count, self.recognised.get(voter_id, {})) for voter_id, count in self.answered.items()
        }


def count(recount: Recount, ballot: Ballot, row: Row[*tuple[object, ...]]) -> None:
    """As the tallies are kept while people vote."""
    if ballot.is_repeat:
        return
    tally = recount.tallies[ballot.pair_id, ballot.voter_kind]
    tally["held"] += ballot.state in LIVE
    tally[f"drawn_{ballot.order.value}"] += ballot.showing == 0
    verdict: Verdict | None = row.Verdict
    if row.pair_kind is PairKind.MAIN and ballot.voter_kind is VoterKind.JUDGE:
        said = None if verdict is None else verdict.choice
        score = None if verdict is None else verdict.score
        add_answer(recount.judged, ballot, said, None if said is None else outcome(said, ballot.order), score)
    if ballot.state is not BallotState.VOTED or verdict is None:
        return
    tally[verdict.outcome.value] += 1
    tally["both_bad"] += verdict.choice is Choice.BOTH_BAD
    if row.pair_kind is PairKind.MAIN and ballot.voter_kind is VoterKind.RATER:
        recount.votes += 1
        recount.simulated_votes += row.simulated
        recognition: Recognition | None = row.Recognition
        if recognition is not None:
            recount.answered[ballot.voter_id] += 1
            if recognition.recognised:
                yes = recount.recognised[ballot.voter_id]
                yes[ballot.pair_id] = yes.get(ballot.pair_id, Tally(0, 0, 0)) + Tally.of(
                    verdict.outcome, choice=verdict.choice
                )


def verify_tallies(
    session: Session,
    batch: EvalBatch,
    pairs: Mapping[uuid.UUID, PairFacts],
    recount: Recount,
    findings: Findings,
) -> None:
    """Check that the stored tallies are what the ballots and verdicts add up to."""
    missing = set(recount.tallies) | {
        (id_, VoterKind.RATER) for id_, one in pairs.items() if one.kind in (PairKind.MAIN, PairKind.PLACEBO)
    }
    query = select(StoredTally).where(StoredTally.eval_batch_id == batch.id).order_by(StoredTally.pair_id)
    for (tally,) in streamed(session, query):
        key = (tally.pair_id, tally.voter_kind)
        row = f"Tally of {tally.voter_kind.value}s for pair {tally.pair_id} of {batch.name}"
        missing.discard(key)
        if tally.pair_id not in pairs:
            findings.differs(row, "a pair of this eval batch", "none")
        counted = recount.tallies.get(key, Counter())
        for column in COUNTED:
            findings.number(row, f"{column} =", counted[column], getattr(tally, column))
    for pair_id, kind in sorted(missing, key=str):
        findings.differs(f"Tally of {kind.value}s for pair {pair_id} of {batch.name}", "a row", "none")
