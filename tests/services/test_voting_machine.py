"""Voting as a state machine: whatever raters do, in whatever order, the rules of the protocol hold."""

import random
from collections import Counter, defaultdict
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from sqlalchemy import Select, select
from sqlalchemy.orm import Session

from app.db import Database
from app.domain.blinding import outcome
from app.domain.errors import ConflictError, NotFoundError
from app.domain.terms import BallotState, Choice, Order, Outcome
from app.models import Ballot, EvalBatch, Pair, Tally, Verdict, Voter
from app.queries import seals
from app.services import assignment, voting
from tests.factories import NOW, RULES, make_rater, make_study

RATERS = 3
LIVE = (BallotState.OPEN, BallotState.VOTED)
raters = st.integers(0, RATERS - 1)
choices = st.sampled_from(Choice)


class Voting(RuleBasedStateMachine):
    """Three raters on three prompts with two challengers; all of it in one transaction that is rolled back."""

    database: Database

    def __init__(self) -> None:
        super().__init__()
        self.session = Session(self.database.engine)
        self.batch = self.session.scalars(select(EvalBatch)).one()
        self.voters = list(
            self.session.scalars(select(Voter).order_by(Voter.name).where(Voter.name.startswith("rater")))
        )
        self.pairs = {pair.id: pair for pair in self.session.scalars(select(Pair))}
        self.now = NOW
        self.lapsed = False

    @initialize(k=st.integers(1, 3), repeats=st.booleans(), seed=st.integers(0, 2**16))
    def launch(self, k: int, repeats: bool, seed: int) -> None:
        self.batch.votes_per_pair, self.batch.allow_repeats = k, repeats
        self.rng = random.Random(seed)  # noqa: S311
        self.session.flush()

    def teardown(self) -> None:
        try:
            self.every_seal_verifies()
        finally:
            self.session.close()

    # ------------------------------------------------------------------------------------ what raters do

    @rule(rater=raters)
    def ask(self, rater: int) -> None:
        held = self.held(rater)
        ballot = assignment.issue(
            self.session, self.batch.id, self.voters[rater], rules=RULES, now=self.now, rng=self.rng
        )
        if held is not None:
            assert ballot is held, "an open ballot is shown again"
        elif ballot is None:
            assert not self.votable(rater), "there was a pair left for this rater"
        if ballot is not None:
            assert ballot.expires_at == self.now + RULES.lease

    @rule(rater=raters, choice=choices)
    def vote(self, rater: int, choice: Choice) -> None:
        self.ask(rater)
        held = self.held(rater)
        if held is None:
            return
        verdict = self.cast(held, choice)
        assert (verdict.surplus, held.state) == (False, BallotState.VOTED)
        assert verdict.seconds == (self.now - held.issued_at).total_seconds()

    @rule(pick=st.integers(0, 999), choice=choices)
    def replay(self, pick: int, choice: Choice) -> None:
        verdict = self.pick(select(Verdict).order_by(Verdict.cast_at, Verdict.id), pick)
        if verdict is None:
            return
        ballot = self.session.get_one(Ballot, verdict.ballot_id)
        if verdict.retracted_at is None and choice is verdict.choice:
            assert self.cast(ballot, choice) is verdict
        else:
            with pytest.raises(ConflictError):
                self.cast(ballot, choice)

    @rule(rater=raters)
    def take_back(self, rater: int) -> None:
        for one in (*range(rater, RATERS), *range(rater)):
            voter = self.voters[one]
            last = voting.undoable(self.session, self.batch.id, voter, rules=RULES, now=self.now)
            if last is not None:
                break
        else:
            return
        held = self.held(one)
        shown = voting.undo(self.session, last.id, voter, rules=RULES, now=self.now)
        assert (shown.pair_id, shown.order, shown.slot) == (last.pair_id, last.order, last.slot)
        assert (shown.showing, shown.state, last.state) == (
            last.showing + 1, BallotState.OPEN, BallotState.RETRACTED,
        )  # fmt: skip
        assert held is None or held.state is BallotState.EXPIRED
        self.lapsed = True

    @rule(pick=st.integers(0, 999))
    def take_back_another_than_the_last(self, pick: int) -> None:
        ballot = self.pick(select(Ballot).order_by(Ballot.issued_at, Ballot.id), pick)
        if ballot is None:
            return
        voter = self.session.get_one(Voter, ballot.voter_id)
        if voting.undoable(self.session, self.batch.id, voter, rules=RULES, now=self.now) is not ballot:
            with pytest.raises(ConflictError):
                voting.undo(self.session, ballot.id, voter, rules=RULES, now=self.now)

    @rule(rater=raters)
    def skip(self, rater: int) -> None:
        self.ask(rater)
        held = self.held(rater)
        if held is None:
            return
        for _ in range(2):
            assert voting.skip(self.session, held.id, self.voters[rater], now=self.now) is held
        with pytest.raises(ConflictError):
            self.cast(held, Choice.A)
        self.lapsed = True

    @rule()
    @precondition(lambda self: any(self.held(rater) for rater in range(RATERS)))
    def close_the_laptop(self) -> None:
        self.now += RULES.lease + timedelta(seconds=1)
        self.lapsed = True

    @rule(pick=st.integers(0, 999), choice=choices)
    def vote_late(self, pick: int, choice: Choice) -> None:
        unanswered = select(Ballot).where(
            Ballot.state == BallotState.EXPIRED, Ballot.id.not_in(select(Verdict.ballot_id))
        )
        ballot = self.pick(unanswered.order_by(Ballot.issued_at, Ballot.id), pick)
        if ballot is not None:
            assert self.cast(ballot, choice).surplus
            assert ballot.state is BallotState.EXPIRED

    @rule(rater=raters, pick=st.integers(0, 999))
    def touch_a_ballot_of_somebody_else(self, rater: int, pick: int) -> None:
        ballot = self.pick(select(Ballot).order_by(Ballot.issued_at, Ballot.id), pick)
        voter = self.voters[rater]
        if ballot is None or ballot.voter_id == voter.id:
            return
        with pytest.raises(NotFoundError):
            voting.cast(self.session, ballot.id, voter, Choice.A, rules=RULES, now=self.now)
        with pytest.raises(NotFoundError):
            voting.skip(self.session, ballot.id, voter, now=self.now)
        with pytest.raises(NotFoundError):
            voting.undo(self.session, ballot.id, voter, rules=RULES, now=self.now)

    # ------------------------------------------------------------------------------------ what always holds

    @invariant()
    def every_rule_holds(self) -> None:
        self.session.flush()
        self.session.expire_all()
        ballots = {ballot.id: ballot for ballot in self.session.scalars(select(Ballot))}
        verdicts = {verdict.ballot_id: verdict for verdict in self.session.scalars(select(Verdict))}
        self.check_verdicts(ballots, verdicts)
        self.check_slots(list(ballots.values()))
        self.check_meetings(list(ballots.values()))
        self.check_orders(list(ballots.values()))
        self.check_tallies(ballots, list(verdicts.values()))

    def every_seal_verifies(self) -> None:
        for ballot in self.session.scalars(select(Ballot)):
            assert ballot.seal == seals.ballot_seal(self.session, ballot, RULES.secret)
            for verdict in self.session.scalars(select(Verdict).where(Verdict.ballot_id == ballot.id)):
                assert verdict.seal == seals.verdict_seal(ballot, verdict, RULES.secret)
                if verdict.retracted_at is not None:
                    assert verdict.retraction_seal == seals.retraction_seal(verdict, RULES.secret)

    def check_verdicts(self, ballots: dict, verdicts: dict) -> None:
        for ballot in ballots.values():
            verdict = verdicts.get(ballot.id)
            match ballot.state:
                case BallotState.OPEN | BallotState.SKIPPED:
                    assert verdict is None
                case BallotState.VOTED:
                    assert (verdict.surplus, verdict.retracted_at) == (False, None)
                case BallotState.RETRACTED:
                    assert verdict.retracted_at is not None
                case BallotState.EXPIRED:
                    assert verdict is None or verdict.surplus
            assert verdict is None or verdict.outcome is outcome(verdict.choice, ballot.order)

    def check_slots(self, ballots: list[Ballot]) -> None:
        live = [(ballot.pair_id, ballot.slot) for ballot in ballots if ballot.state in LIVE]
        assert len(live) == len(set(live)), "a slot is held twice"
        assert all(0 <= slot < self.batch.votes_per_pair for _, slot in live)

    def check_meetings(self, ballots: list[Ballot]) -> None:
        met, counted = defaultdict(set), Counter()
        for ballot in ballots:
            pair = self.pairs[ballot.pair_id]
            met[ballot.voter_id, pair.prompt_id, pair.replicate].add(pair.id)
            counted[ballot.voter_id, ballot.pair_id] += ballot.state in LIVE
        assert max(counted.values(), default=0) <= 1, "a rater votes twice on one pair"
        if not self.batch.allow_repeats:
            assert all(len(pairs) == 1 for pairs in met.values()), "a rater meets a baseline text twice"
        held = Counter(ballot.voter_id for ballot in ballots if ballot.state is BallotState.OPEN)
        assert max(held.values(), default=0) <= 1, "a rater holds two ballots"

    def check_orders(self, ballots: list[Ballot]) -> None:
        first_showings = Counter(ballot.order for ballot in ballots if ballot.showing == 0)
        if self.batch.votes_per_pair == 1:
            assert abs(first_showings[Order.FIRST_IS_A] - first_showings[Order.SECOND_IS_A]) <= 2
        if not self.lapsed:
            by_pair = defaultdict(Counter)
            for ballot in ballots:
                by_pair[ballot.pair_id][ballot.order] += 1
            assert all(abs(c[Order.FIRST_IS_A] - c[Order.SECOND_IS_A]) <= 1 for c in by_pair.values())

    def check_tallies(self, ballots: dict, verdicts: list[Verdict]) -> None:
        standing = [verdict for verdict in verdicts if verdict.retracted_at is None and not verdict.surplus]
        outcomes = Counter((ballots[verdict.ballot_id].pair_id, verdict.outcome) for verdict in standing)
        both_bad = Counter(ballots[v.ballot_id].pair_id for v in standing if v.choice is Choice.BOTH_BAD)
        for tally in self.session.scalars(select(Tally)):
            recount = [outcomes[tally.pair_id, one] for one in (Outcome.FIRST, Outcome.SECOND, Outcome.TIE)]
            assert [tally.first, tally.second, tally.tie, tally.both_bad] == [*recount, both_bad[tally.pair_id]]
            mine = [ballot for ballot in ballots.values() if ballot.pair_id == tally.pair_id]
            drawn = Counter(ballot.order for ballot in mine if ballot.showing == 0)
            assert tally.held == sum(ballot.state in LIVE for ballot in mine)
            assert [tally.drawn_first_is_a, tally.drawn_second_is_a] == [drawn[order] for order in Order]

    # ------------------------------------------------------------------------------------ looking around

    def cast(self, ballot: Ballot, choice: Choice) -> Verdict:
        voter = self.session.get_one(Voter, ballot.voter_id)
        return voting.cast(self.session, ballot.id, voter, choice, rules=RULES, now=self.now)

    def held(self, rater: int) -> Ballot | None:
        query = select(Ballot).where(Ballot.voter_id == self.voters[rater].id, Ballot.state == BallotState.OPEN)
        return self.session.scalars(query).one_or_none()

    def pick(self, query: Select, number: int) -> Any:
        rows = self.session.scalars(query).all()
        return rows[number % len(rows)] if rows else None

    def votable(self, rater: int) -> list[Pair]:
        """The pairs this rater should get, worked out another way than the service does."""
        ballots = self.session.scalars(select(Ballot)).all()
        mine = [ballot for ballot in ballots if ballot.voter_id == self.voters[rater].id]
        live = Counter(ballot.pair_id for ballot in ballots if ballot.state in LIVE)
        answered = {b.pair_id for b in mine if b.state in (*LIVE, BallotState.SKIPPED)}
        shown = {(self.pairs[b.pair_id].prompt_id, self.pairs[b.pair_id].replicate): b.pair_id for b in mine}
        return [
            pair
            for pair in self.pairs.values()
            if live[pair.id] < self.batch.votes_per_pair
            and pair.id not in answered
            and (self.batch.allow_repeats or shown.get((pair.prompt_id, pair.replicate), pair.id) == pair.id)
        ]


def test_whatever_raters_do_the_protocol_holds(database: Database, tmp_path: Path) -> None:
    with database.session_scope() as session:
        make_study(session, tmp_path, prompts=3, challengers=2)
        for number in range(RATERS):
            make_rater(session, f"rater {number}")
    machine = type("Machine", (Voting,), {"database": database})
    examples = 20 if database.engine.dialect.name == "sqlite" else 5
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=examples,
            stateful_step_count=25,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
