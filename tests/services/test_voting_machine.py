"""Voting as a state machine: whatever raters do, in whatever order, the rules of the protocol hold."""

import random
import uuid
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
from app.domain.blinding import opposite, outcome
from app.domain.errors import ConflictError, NotFoundError
from app.domain.terms import BallotState, Choice, Order, Outcome, PairKind, VoterKind
from app.models import Ballot, EvalBatch, Pair, Recognition, Tally, Verdict, Voter
from app.queries import seals
from app.services import assignment, slots, voting
from tests.factories import NOW, RULES, make_rater, make_study

RATERS = 3
GOLD = 2
LIVE = (BallotState.OPEN, BallotState.VOTED)
raters = st.integers(0, RATERS - 1)
choices = st.sampled_from(Choice)


class Voting(RuleBasedStateMachine):
    """Three raters on three prompts with two challengers and two gold pairs, in one transaction that is rolled back."""

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

    @initialize(
        k=st.integers(1, 3),
        allow_repeats=st.booleans(),
        gold=st.sampled_from([0, GOLD]),
        repeats=st.integers(0, 2),
        rater_limit=st.sampled_from([None, None, 3]),
        vote_limit=st.sampled_from([None, None, 5]),
        seed=st.integers(0, 2**16),
    )
    def launch(
        self, k: int, allow_repeats: bool, gold: int, repeats: int, rater_limit: int | None, vote_limit: int | None,
        seed: int,
    ) -> None:  # fmt: skip
        self.batch.votes_per_pair, self.batch.allow_repeats = k, allow_repeats
        self.batch.gold_pairs, self.batch.repeat_pairs = gold, repeats
        self.batch.rater_limit, self.batch.vote_limit = rater_limit, vote_limit
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
        self.let_lapse(rater)
        votable = self.votable(rater)
        ballot = assignment.issue(
            self.session, self.batch.id, self.voters[rater], rules=RULES, now=self.now, rng=self.rng
        )  # fmt: skip
        if held is not None:
            assert ballot is held, "an open ballot is shown again"
        elif ballot is None:
            assert not votable, "there was something left for this rater"
        else:
            assert self.card(ballot) in votable, "this rater should not get this"
        if ballot is not None:
            assert ballot.expires_at == self.now + RULES.lease

    def let_lapse(self, rater: int) -> None:
        """What asking does to the ballots of others whose time is over, so that what is votable can be foretold."""
        if self.held(rater) is None:
            slots.lapse_overdue(self.session, self.batch.id, VoterKind.RATER, now=self.now)
            self.session.expire_all()

    def card(self, ballot: Ballot) -> tuple[uuid.UUID, Order | None, bool]:
        """What was dealt; the order counts where it is not drawn."""
        drawn = self.takes_a_slot(ballot)
        return ballot.pair_id, None if drawn else ballot.order, ballot.is_repeat

    @rule(rater=raters, choice=choices)
    def vote(self, rater: int, choice: Choice) -> None:
        self.ask(rater)
        held = self.held(rater)
        if held is None:
            return
        verdict = self.cast(held, choice)
        assert (verdict.surplus, held.state) == (False, BallotState.VOTED)
        assert verdict.seconds == (self.now - held.issued_at).total_seconds()

    @rule(rater=raters, choice=choices, times=st.integers(2, 8))
    def vote_on_and_on(self, rater: int, choice: Choice, times: int) -> None:
        for _ in range(times):
            self.vote(rater, choice)

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

    @rule(pick=st.integers(0, 999), recognised=st.booleans())
    def say_whether_one_was_recognised(self, pick: int, recognised: bool) -> None:
        ballot = self.pick(select(Ballot).order_by(Ballot.issued_at, Ballot.id), pick)
        if ballot is None:
            return
        verdict = self.session.scalar(select(Verdict).where(Verdict.ballot_id == ballot.id))
        standing = self.session.get(Recognition, verdict.id) if verdict is not None else None
        voter = self.session.get_one(Voter, ballot.voter_id)
        voted = verdict is not None and verdict.retracted_at is None
        if voted and (standing is None or standing.recognised is recognised):
            said = voting.recognise(self.session, ballot.id, voter, recognised, rules=RULES, now=self.now)
            assert said.seal == seals.recognition_seal(verdict, said, RULES.secret)
        else:
            with pytest.raises(ConflictError):
                voting.recognise(self.session, ballot.id, voter, recognised, rules=RULES, now=self.now)

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
        self.check_numbers(list(ballots.values()))
        self.check_checks(list(ballots.values()))
        self.check_limits(list(ballots.values()))
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
        live = [(ballot.pair_id, ballot.slot) for ballot in ballots if ballot.state in LIVE and not ballot.is_repeat]
        assert len(live) == len(set(live)), "a slot is held twice"
        assert all(0 <= slot < self.batch.votes_per_pair for id_, slot in live if self.is_main(id_))

    def check_meetings(self, ballots: list[Ballot]) -> None:
        met, counted = defaultdict(set), Counter()
        for ballot in filter(self.takes_a_slot, ballots):
            pair = self.pairs[ballot.pair_id]
            met[ballot.voter_id, pair.prompt_id, pair.replicate].add(pair.id)
            counted[ballot.voter_id, ballot.pair_id] += ballot.state in LIVE
        assert max(counted.values(), default=0) <= 1, "a rater votes twice on one pair"
        if not self.batch.allow_repeats:
            assert all(len(pairs) == 1 for pairs in met.values()), "a rater meets a baseline text twice"
        held = Counter(ballot.voter_id for ballot in ballots if ballot.state is BallotState.OPEN)
        assert max(held.values(), default=0) <= 1, "a rater holds two ballots"

    def check_numbers(self, ballots: list[Ballot]) -> None:
        for voter in self.voters:
            mine = sorted(ballot.number for ballot in ballots if ballot.voter_id == voter.id)
            assert mine == list(range(len(mine))), "the ballots of a rater are not numbered one by one"

    def check_checks(self, ballots: list[Ballot]) -> None:
        """Gold pairs and repeats: only where they were launched, as often as they were, in the order they must have."""
        gold = Counter((b.voter_id, b.pair_id, b.order) for b in ballots if b.state in LIVE and self.is_gold(b.pair_id))
        assert max(gold.values(), default=0) <= 1, "a rater gets a gold pair twice in one order"
        assert self.batch.gold_pairs or not gold
        repeats = [ballot for ballot in ballots if ballot.is_repeat]
        for repeat in repeats:
            originals = [b for b in ballots if (b.pair_id, b.voter_id) == (repeat.pair_id, repeat.voter_id)]
            assert self.is_main(repeat.pair_id)
            assert {b.order for b in originals if not b.is_repeat} == {opposite(repeat.order)}
        by_voter = defaultdict(set)
        for repeat in repeats:
            by_voter[repeat.voter_id].add(repeat.pair_id)
        lapsed = {b.voter_id for b in repeats if b.state in (BallotState.EXPIRED, BallotState.RETRACTED)}
        most = self.batch.repeat_pairs
        assert all(len(pairs) <= most for voter_id, pairs in by_voter.items() if voter_id not in lapsed)

    def check_limits(self, ballots: list[Ballot]) -> None:
        if self.batch.rater_limit is not None:
            votes = Counter(ballot.voter_id for ballot in ballots if ballot.state is BallotState.VOTED)
            assert max(votes.values(), default=0) <= self.batch.rater_limit
        if self.batch.vote_limit is not None:
            assert sum(b.state in LIVE and self.takes_a_slot(b) for b in ballots) <= self.batch.vote_limit

    def check_orders(self, ballots: list[Ballot]) -> None:
        ballots = [ballot for ballot in ballots if self.takes_a_slot(ballot)]
        first_showings = Counter(ballot.order for ballot in ballots if ballot.showing == 0)
        if self.batch.votes_per_pair == 1:
            assert abs(first_showings[Order.FIRST_IS_A] - first_showings[Order.SECOND_IS_A]) <= 2
        if not self.lapsed:
            by_pair = defaultdict(Counter)
            for ballot in ballots:
                by_pair[ballot.pair_id][ballot.order] += 1
            assert all(abs(c[Order.FIRST_IS_A] - c[Order.SECOND_IS_A]) <= 1 for c in by_pair.values())

    def check_tallies(self, ballots: dict, verdicts: list[Verdict]) -> None:
        repeats = {ballot.id for ballot in ballots.values() if ballot.is_repeat}
        standing = [v for v in verdicts if v.retracted_at is None and not v.surplus and v.ballot_id not in repeats]
        outcomes = Counter((ballots[verdict.ballot_id].pair_id, verdict.outcome) for verdict in standing)
        both_bad = Counter(ballots[v.ballot_id].pair_id for v in standing if v.choice is Choice.BOTH_BAD)
        for tally in self.session.scalars(select(Tally)):
            recount = [outcomes[tally.pair_id, one] for one in (Outcome.FIRST, Outcome.SECOND, Outcome.TIE)]
            assert [tally.first, tally.second, tally.tie, tally.both_bad] == [*recount, both_bad[tally.pair_id]]
            mine = [b for b in ballots.values() if b.pair_id == tally.pair_id and not b.is_repeat]
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

    def is_main(self, pair_id: uuid.UUID) -> bool:
        return self.pairs[pair_id].kind is PairKind.MAIN

    def is_gold(self, pair_id: uuid.UUID) -> bool:
        return self.pairs[pair_id].kind is PairKind.GOLD

    def takes_a_slot(self, ballot: Ballot) -> bool:
        return self.is_main(ballot.pair_id) and not ballot.is_repeat

    def votable(self, rater: int) -> list[tuple[uuid.UUID, Order | None, bool]]:
        """What this rater should get, worked out another way than the service does."""
        ballots = self.session.scalars(select(Ballot)).all()
        mine = [ballot for ballot in ballots if ballot.voter_id == self.voters[rater].id]
        if sum(b.state is BallotState.VOTED for b in mine) == self.batch.rater_limit:
            return []
        live = Counter(ballot.pair_id for ballot in ballots if ballot.state in LIVE and self.takes_a_slot(ballot))
        full = sum(live.values()) == self.batch.vote_limit
        met = [ballot for ballot in mine if ballot.state in (*LIVE, BallotState.SKIPPED)]
        answered = {ballot.pair_id for ballot in met}
        slots = [ballot for ballot in mine if self.takes_a_slot(ballot)]
        shown = {(self.pairs[b.pair_id].prompt_id, self.pairs[b.pair_id].replicate): b.pair_id for b in slots}
        main = [
            (pair.id, None, False)
            for pair in self.pairs.values()
            if pair.kind is PairKind.MAIN
            and not full
            and live[pair.id] < self.batch.votes_per_pair
            and pair.id not in answered
            and (self.batch.allow_repeats or shown.get((pair.prompt_id, pair.replicate), pair.id) == pair.id)
        ]
        just_now = {ballot.pair_id for ballot in mine if ballot.number >= len(mine) - assignment.APART}
        seen = {(ballot.pair_id, ballot.order) for ballot in met}
        gold = [
            (pair.id, order, False)
            for pair in self.pairs.values()
            for order in Order
            if self.batch.gold_pairs and self.is_gold(pair.id) and (pair.id, order) not in seen
        ]
        again = {ballot.pair_id for ballot in met if ballot.is_repeat}
        repeats = [
            (ballot.pair_id, opposite(ballot.order), True)
            for ballot in met
            if ballot.state is BallotState.VOTED and self.takes_a_slot(ballot) and ballot.pair_id not in again
            and ballot.number < len(mine) - assignment.APART and len(again) < self.batch.repeat_pairs
        ]  # fmt: skip
        first = [*main, *(card for card in gold if card[0] not in just_now), *repeats]
        return first or gold  # at the very end nothing is left to lie between


def add_gold(session: Session, batch: EvalBatch) -> None:
    """Gold pairs of texts that are there already: assignment looks at the kind alone."""
    for pair in session.scalars(select(Pair).order_by(Pair.id).limit(GOLD)).all():
        kept = {column.key: getattr(pair, column.key) for column in Pair.__table__.columns if column.key != "id"}
        gold = Pair(**kept | {"kind": PairKind.GOLD})
        session.add(gold)
        session.flush()
        session.add(Tally(pair_id=gold.id, voter_kind=VoterKind.RATER, eval_batch_id=batch.id))


def test_whatever_raters_do_the_protocol_holds(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(assignment, "APART", 2)  # so that a short walk meets repeats
    with database.session_scope() as session:
        add_gold(session, make_study(session, tmp_path, prompts=3, challengers=2).batch)
        for number in range(RATERS):
            make_rater(session, f"rater {number}")
    machine = type("Machine", (Voting,), {"database": database})
    examples = 40 if database.engine.dialect.name == "sqlite" else 5
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=examples,
            stateful_step_count=25,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
