import random
import uuid
from collections import Counter
from pathlib import Path

import pytest
from sqlalchemy import select
from sqlalchemy.orm import Session

from app.domain.terms import BallotState, Choice, Order, VoterKind
from app.models import Ballot, EvalBatch, Pair, Tally, Voter
from app.queries.deck import MAY_COME_BACK, deck_of, pair_next_up
from app.services import assignment, slots, voting
from tests.factories import NOW, RULES, make_rater, make_study


def counted(session: Session, batch: EvalBatch, voter: Voter) -> tuple[int, list[uuid.UUID]]:
    """Places and the pairs next up, worked out from every row in Python."""
    pairs = {pair.id: pair for pair in session.scalars(select(Pair))}
    held = dict(session.execute(select(Tally.pair_id, Tally.held)).all())
    mine = session.scalars(select(Ballot).where(Ballot.voter_id == voter.id)).all()
    met = {ballot.pair_id for ballot in mine if ballot.state not in MAY_COME_BACK}
    shown = {(pairs[b.pair_id].prompt_id, pairs[b.pair_id].replicate): b.pair_id for b in mine}
    votes: Counter[uuid.UUID] = Counter()
    for pair in pairs.values():
        votes[pair.prompt_id] += held[pair.id]
    free = [
        pair
        for pair in pairs.values()
        if held[pair.id] < batch.votes_per_pair and pair.id not in met
        and (batch.allow_repeats or shown.get((pair.prompt_id, pair.replicate), pair.id) == pair.id)
    ]  # fmt: skip
    least = min((votes[pair.prompt_id] for pair in free), default=0)
    places = len(free) if batch.allow_repeats else len({(pair.prompt_id, pair.replicate) for pair in free})
    return places, sorted((pair.id for pair in free if votes[pair.prompt_id] == least), key=str)


@pytest.mark.parametrize("allow_repeats", [False, True])
def test_the_database_counts_what_lies_before_a_voter(session: Session, tmp_path: Path, allow_repeats: bool) -> None:
    plan = {"challengers": 3, "replicates": 2, "votes_per_pair": 2, "allow_repeats": allow_repeats}
    batch, rng = make_study(session, tmp_path, prompts=3, **plan).batch, random.Random(7)  # noqa: S311
    voters = [make_rater(session, f"rater {number}") for number in range(3)]
    for _ in range(40):
        voter = rng.choice(voters)
        places, next_up = counted(session, batch, voter)
        deck = deck_of(session, batch, voter.id, VoterKind.RATER)
        assert (deck.pairs, deck.places, deck.next_up) == (18, places, len(next_up))
        orders = Counter(session.scalars(select(Ballot.order).where(Ballot.showing == 0)))
        assert deck.drawn == {order: orders[order] for order in Order}
        found = [pair_next_up(session, batch, voter.id, VoterKind.RATER, deck, n) for n in range(deck.next_up)]
        assert sorted(found, key=str) == next_up
        ballot = assignment.issue(session, batch.id, voter, rules=RULES, now=NOW, rng=rng)
        if ballot is None:
            assert not next_up
        elif rng.random() < 0.3:
            slots.lapse(session, batch.id, Ballot.id == ballot.id, now=NOW)
            session.refresh(ballot)
            assert ballot.state is BallotState.EXPIRED
        else:
            voting.cast(session, ballot.id, voter, Choice.A, rules=RULES, now=NOW)
