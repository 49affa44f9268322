import random
import uuid
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import select
from sqlalchemy.orm import Session

from app.domain.errors import ConflictError, NotFoundError
from app.domain.terms import BallotState, Choice, Settled
from app.models import Ballot, Event, Pair, Response, Verdict, Voter
from app.queries import seals
from app.services import assignment, eval_batches, voting
from tests.factories import NOW, RULES, Study, make_rater, make_study
from tests.fixtures import on_sqlite

pytestmark = on_sqlite


class Booth:
    """One rater at a study, with a clock."""

    def __init__(self, session: Session, study: Study, name: str = "rater") -> None:
        self.session, self.batch = session, study.batch
        self.voter: Voter = make_rater(session, name)
        self.rng = random.Random(4)  # noqa: S311
        self.now = NOW

    def ask(self) -> Ballot | None:
        return assignment.issue(self.session, self.batch.id, self.voter, rules=RULES, now=self.now, rng=self.rng)

    def vote(self, ballot: Ballot, choice: Choice = Choice.A, reason: str = "") -> Verdict:
        self.now += timedelta(seconds=1)
        return voting.cast(self.session, ballot.id, self.voter, choice, rules=RULES, now=self.now, reason=reason)

    def undo(self, ballot: Ballot) -> Ballot:
        return voting.undo(self.session, ballot.id, self.voter, rules=RULES, now=self.now)

    def everything(self) -> list[uuid.UUID]:
        """Vote until nothing is left; the pairs in the order they came."""
        pairs = []
        while (ballot := self.ask()) is not None:
            pairs.append(ballot.pair_id)
            self.vote(ballot)
        return pairs


@pytest.fixture
def booth(session: Session, tmp_path: Path) -> Booth:
    return Booth(session, make_study(session, tmp_path))


def test_a_voter_gets_every_pair_once_and_then_nothing(booth: Booth) -> None:
    pairs = booth.everything()
    assert len(pairs) == len(set(pairs)) == 4
    assert booth.ask() is None


def test_prompts_with_the_fewest_votes_come_first(session: Session, tmp_path: Path) -> None:
    booth = Booth(session, make_study(session, tmp_path, challengers=2, allow_repeats=True))
    prompts = [session.get_one(Pair, pair_id).prompt_id for pair_id in booth.everything()]
    assert len(prompts) == 8
    assert len(set(prompts[:4])) == len(set(prompts[4:])) == 4


def test_settled_pairs_are_never_shown(session: Session, tmp_path: Path) -> None:
    study = make_study(session, tmp_path, text=lambda _, planned: planned.messages[-1]["content"][:17])
    assert set(session.scalars(select(Pair.settled))) == {Settled.IDENTICAL}
    assert Booth(session, study).ask() is None


def test_an_unknown_batch_and_a_closed_one(booth: Booth) -> None:
    with pytest.raises(NotFoundError):
        assignment.issue(booth.session, uuid.uuid4(), booth.voter, rules=RULES, now=NOW, rng=booth.rng)
    eval_batches.close(booth.session, booth.batch, now=NOW)
    assert booth.ask() is None


def test_an_unknown_ballot_and_somebody_elses_read_the_same(booth: Booth) -> None:
    ballot, stranger = booth.ask(), make_rater(booth.session, "stranger")
    messages = set()
    for ballot_id, voter in ((uuid.uuid4(), booth.voter), (ballot.id, stranger)):
        with pytest.raises(NotFoundError) as caught:
            voting.cast(booth.session, ballot_id, voter, Choice.A, rules=RULES, now=NOW)
        messages.add(caught.value.message)
    assert len(messages) == 1


def test_a_vote_is_stored_with_its_reason_and_announced(booth: Booth) -> None:
    verdict = booth.vote(booth.ask(), Choice.BOTH_BAD, reason="Both dodge the question.")
    assert (verdict.reason, verdict.seconds, verdict.cast_at) == ("Both dodge the question.", 1.0, booth.now)
    newest = booth.session.scalars(select(Event).order_by(Event.id.desc())).first()
    assert (newest.topic, newest.subject_id) == ("verdicts", booth.batch.id)


def test_the_last_vote_can_be_taken_back_within_the_grace_time(booth: Booth) -> None:
    first, second = booth.ask(), None
    booth.vote(first)
    second = booth.ask()
    booth.vote(second)
    with pytest.raises(ConflictError, match="Only the last vote"):
        booth.undo(first)
    booth.now += RULES.grace + timedelta(seconds=1)
    with pytest.raises(ConflictError, match="only shortly after"):
        booth.undo(second)
    assert second.state is BallotState.VOTED


def test_nothing_can_be_taken_back_after_the_end(booth: Booth) -> None:
    ballot = booth.ask()
    booth.vote(ballot)
    eval_batches.close(booth.session, booth.batch, now=booth.now)
    with pytest.raises(ConflictError):
        booth.undo(ballot)


def test_a_vote_that_was_taken_back_cannot_be_sent_again(booth: Booth) -> None:
    ballot = booth.ask()
    booth.vote(ballot)
    again = booth.undo(ballot)
    with pytest.raises(ConflictError, match="took this vote back"):
        booth.vote(ballot)
    assert booth.vote(again, Choice.B).choice is Choice.B


def test_two_votes_taken_back_one_after_the_other_both_come_back(booth: Booth) -> None:
    first = booth.ask()
    booth.vote(first)
    second = booth.ask()
    booth.vote(second)
    booth.undo(second)
    shown = booth.undo(first)
    assert shown.pair_id == first.pair_id
    assert sorted(booth.everything()) == sorted(booth.session.scalars(select(Pair.id)))
    showings = booth.session.scalars(select(Ballot.order).where(Ballot.pair_id == second.pair_id)).all()
    assert showings == [second.order] * 3, "shown, taken back, lapsed, and shown again in the same order"


def test_a_pair_that_lapsed_comes_back_in_the_same_order(session: Session, tmp_path: Path) -> None:
    study = make_study(session, tmp_path, votes_per_pair=2)
    slow, other = Booth(session, study, "slow"), Booth(session, study, "other")
    lapsed = slow.ask()
    other.now += RULES.lease + timedelta(seconds=1)
    other.ask()
    assert lapsed.state is BallotState.EXPIRED
    slow.now = other.now
    orders = {}
    while (ballot := slow.ask()) is not None:
        orders[ballot.pair_id] = (ballot.order, ballot.showing)
        slow.vote(ballot)
    assert len(orders) == 4
    assert orders[lapsed.pair_id] == (lapsed.order, 1)


def test_who_read_a_pair_that_lapsed_meets_no_other_pair_with_the_same_baseline_text(
    session: Session, tmp_path: Path
) -> None:
    study = make_study(session, tmp_path, prompts=1, challengers=2, votes_per_pair=2)
    slow, other = Booth(session, study, "slow"), Booth(session, study, "other")
    lapsed = slow.ask()
    other.now += RULES.lease + timedelta(seconds=1)
    other.ask()
    assert lapsed.state is BallotState.EXPIRED
    slow.now = other.now
    assert slow.ask().pair_id == lapsed.pair_id


@pytest.mark.parametrize("change", ["text", "slot", "order", "voter"])
def test_a_change_behind_the_back_breaks_the_seal(booth: Booth, change: str) -> None:
    ballot = booth.ask()
    session = booth.session
    assert seals.ballot_seal(session, ballot, RULES.secret) == ballot.seal
    assert seals.ballot_seal(session, ballot, b"another key") != ballot.seal
    if change == "text":
        pair = session.get_one(Pair, ballot.pair_id)
        session.get_one(Response, pair.first_response_id).text += "!"
    elif change == "slot":
        ballot.slot += 1
    elif change == "order":
        ballot.order = next(order for order in type(ballot.order) if order is not ballot.order)
    else:
        ballot.voter_id = make_rater(session, "another").id
    session.flush()
    assert seals.ballot_seal(session, ballot, RULES.secret) != ballot.seal
