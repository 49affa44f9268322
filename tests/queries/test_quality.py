"""Who is left out by the rule of a plan, from votes that went through ballots and verdicts."""

import random
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import event, select
from sqlalchemy.orm import Session

from app.domain.blinding import sides
from app.domain.quality import Marks
from app.domain.tally import Tally
from app.domain.terms import Choice, PairKind
from app.models import Ballot, EvalBatch, Pair, Voter
from app.queries.quality import excluded_of, sheets_of
from app.queries.report import report
from app.queries.results import results_page
from app.queries.verification import verify
from app.services import assignment, voting
from tests.factories import NOW, RULES, make_rater, make_study, plain_text

Pick = Callable[[Ballot, Pair], Choice]


def for_second(ballot: Ballot, _: Pair) -> Choice:
    """The challenger on main pairs, the better text on gold pairs, whatever the order."""
    return Choice.A if sides(ballot.order, 1, 2)[0] == 2 else Choice.B


def for_first(ballot: Ballot, pair: Pair) -> Choice:
    """The baseline, and the worse text of gold pairs."""
    return Choice.B if for_second(ballot, pair) is Choice.A else Choice.A


def always_a(_: Ballot, __: Pair) -> Choice:
    """Looks at the side alone."""
    return Choice.A


def vote_all(session: Session, batch: EvalBatch, name: str, pick: Pick, *, seconds: float = 60) -> Voter:
    """A rater who votes on all there is, each time after so many seconds."""
    voter = make_rater(session, name)
    dice, now = random.Random(name), NOW  # noqa: S311
    while (ballot := assignment.issue(session, batch.id, voter, rules=RULES, now=now, rng=dice)) is not None:
        now += timedelta(seconds=seconds)
        pair = session.get_one(Pair, ballot.pair_id)
        voting.cast(session, ballot.id, voter, pick(ballot, pair), rules=RULES, now=now)
        now += timedelta(seconds=1)
    return voter


def long_text(position: int, planned: Any) -> str:
    """Texts of 60 words more than they need: nobody reads two of them in a second."""
    return plain_text(position, planned) + " and so on" * 20


@pytest.fixture
def batch(session: Session, tmp_path: Path) -> EvalBatch:
    """Twelve prompts, two votes a pair, two gold pairs, four repeats; two of three parts of a rule are asked for."""
    return make_study(
        session, tmp_path, prompts=12, votes_per_pair=3, gold_pairs=2, repeat_pairs=4, text=long_text,
        exclusion={"gold_min": 0.7, "gold_votes": 3, "fast_max": 0.5, "side_max": 0.9},
    ).batch  # fmt: skip


def test_a_sheet_by_hand(session: Session, batch: EvalBatch) -> None:
    careful = vote_all(session, batch, "careful", for_second)
    lopsided = vote_all(session, batch, "lopsided", always_a)
    hasty = vote_all(session, batch, "hasty", for_second, seconds=1)
    sheets = sheets_of(session, batch)
    assert sheets.keys() == {careful.id, lopsided.id, hasty.id}
    good = sheets[careful.id]
    assert (good.votes, good.gold_as_a, good.gold_as_b) == (12, Marks(right=2), Marks(right=2))
    assert good.agreement == Marks(right=4)
    assert (good.side_a + good.side_b, good.no_side, good.timed, good.fast) == (12, 0, 12, 0)
    assert good.median_seconds == pytest.approx(60)
    bad = sheets[lopsided.id]
    assert (bad.gold_as_a, bad.gold_as_b) == (Marks(right=2), Marks(wrong=2))
    assert (bad.agreement, bad.side_a, bad.side_b) == (Marks(wrong=4), 12, 0)
    assert (sheets[hasty.id].fast, sheets[hasty.id].timed, sheets[hasty.id].median_seconds) == (12, 12, 1)


def test_a_vote_taken_back_a_skip_and_ties_stand_where_they_belong(session: Session, batch: EvalBatch) -> None:
    voter = make_rater(session)
    said = iter([Choice.TIE, Choice.BOTH_BAD, Choice.B])
    dice, now = random.Random(1), NOW  # noqa: S311
    main = 0
    while main < 3:
        now += timedelta(seconds=1)
        ballot = assignment.issue(session, batch.id, voter, rules=RULES, now=now, rng=dice)
        if session.get_one(Pair, ballot.pair_id).kind is not PairKind.MAIN:
            voting.skip(session, ballot.id, voter, now=now)
            continue
        main += 1
        voting.cast(session, ballot.id, voter, next(said), rules=RULES, now=now)
    voting.undo(session, ballot.id, voter, rules=RULES, now=now)
    sheet = sheets_of(session, batch)[voter.id]
    assert (sheet.votes, sheet.no_side, sheet.both_bad, sheet.decisive) == (2, 2, 1, 0)
    assert (sheet.timed, sheet.share_a) == (2, None)


def test_votes_of_the_excluded_are_subtracted_counted_and_shown(session: Session, batch: EvalBatch) -> None:
    vote_all(session, batch, "careful", for_second)
    before = results_page(session, batch.id).matchups[0]
    assert (before.whole.n, before.whole.wins, before.with_everybody) == (12, 12, None)
    lopsided = vote_all(session, batch, "lopsided", always_a)
    hasty = vote_all(session, batch, "hasty", for_first, seconds=1)
    excluded = excluded_of(session, batch)
    assert {voter: len(why) for voter, why in excluded.reasons.items()} == {lopsided.id: 2, hasty.id: 2}
    assert (excluded.raters, excluded.votes) == (2, 24)
    page = results_page(session, batch.id)
    matchup = page.matchups[0]
    assert matchup.whole == before.whole
    assert {cell.n for cell in matchup.domains} == {6}
    everybody = matchup.with_everybody
    assert (everybody.n, everybody.ties) == (36, 0)
    by_side = excluded.counts.values()
    assert everybody.wins == 12 + sum(tally.wins for tally in by_side)
    assert sum(tally.losses for tally in by_side) >= 12
    told = report(session, batch.id)
    assert told["excluded"] | {"sentence": ""} == {
        "rule": {
            "gold_min": 0.7, "gold_votes": 3, "fast_max": 0.5, "fast_votes": 10, "side_max": 0.9, "side_votes": 12,
        },
        "sentence": "", "raters": 2, "votes": 24,
    }  # fmt: skip
    assert told["matchups"][0]["raters"]["all"]["n"] == 12
    assert told["matchups"][0]["raters"]["with_everybody"]["n"] == 36
    assert {one["voter"]: bool(one["excluded"]) for one in told["quality"]} == {
        "careful": False, "hasty": True, "lopsided": True,
    }  # fmt: skip
    assert told["batch"]["votes"] == 36
    assert session.query(Ballot).count() > 3 * 12 + 6  # nothing was deleted


def test_ties_and_both_bad_are_subtracted_as_what_they_are(session: Session, tmp_path: Path) -> None:
    plan = {"votes_per_pair": 2, "text": long_text, "exclusion": {"fast_max": 0.5, "fast_votes": 2}}
    batch = make_study(session, tmp_path, prompts=4, **plan).batch
    said = {0: Choice.TIE, 1: Choice.BOTH_BAD}

    def by_place(ballot: Ballot, pair: Pair) -> Choice:
        return said.get(ballot.number, for_first(ballot, pair))

    vote_all(session, batch, "hasty", by_place, seconds=1)
    vote_all(session, batch, "careful", for_second)
    total = sum(excluded_of(session, batch).counts.values(), Tally(0, 0, 0))
    assert total == Tally(wins=0, losses=2, ties=2, both_bad=1)
    whole = results_page(session, batch.id).matchups[0].whole
    assert (whole.n, whole.wins, whole.losses, whole.ties, whole.both_bad) == (4, 4, 0, 0, 0)


def test_repeats_of_the_excluded_are_not_subtracted(session: Session, batch: EvalBatch) -> None:
    hasty = vote_all(session, batch, "hasty", for_second, seconds=1)
    counts = excluded_of(session, batch).counts
    assert {tally.n for tally in counts.values()} == {1}
    kinds = select(Pair.kind).where(Pair.id.in_(counts)).distinct()
    assert session.scalars(kinds).all() == [PairKind.MAIN]
    assert session.query(Ballot).filter(Ballot.voter_id == hasty.id, Ballot.is_repeat).count() == 4


def test_without_a_rule_the_database_is_not_asked(session: Session, tmp_path: Path) -> None:
    batch = make_study(session, tmp_path).batch
    vote_all(session, batch, "lopsided", always_a)
    asked: list[str] = []

    def note(*call: Any) -> None:
        asked.append(call[2])

    event.listen(session.get_bind(), "before_cursor_execute", note)
    assert excluded_of(session, batch).raters == 0
    event.remove(session.get_bind(), "before_cursor_execute", note)
    assert asked == []


def test_verification_recounts_beside_an_exclusion(session: Session, batch: EvalBatch) -> None:
    vote_all(session, batch, "careful", for_second)
    vote_all(session, batch, "lopsided", always_a)
    assert verify(session, RULES.secret).holds
    batch.exclusion = {"gold_min": 7}
    session.flush()
    found = verify(session, RULES.secret)
    assert "a seal that fits" in found.mismatches[0].sentence
    assert any("The rule for leaving raters out is wrong" in one.sentence for one in found.mismatches)


def test_nothing_on_a_sheet_depends_on_whom_a_rater_prefers(session: Session, batch: EvalBatch) -> None:
    """Two raters of opposite opinion have the same sheet where gold says nothing else."""
    one = vote_all(session, batch, "one", lambda b, p: (for_second if p.kind is PairKind.GOLD else for_first)(b, p))
    two = vote_all(session, batch, "two", for_second)
    sheets = sheets_of(session, batch)
    for name in ("votes", "gold_as_a", "gold_as_b", "agreement", "no_side", "timed", "fast", "decisive"):
        assert getattr(sheets[one.id], name) == getattr(sheets[two.id], name), name
    assert excluded_of(session, batch).raters == 0
    assert results_page(session, batch.id).matchups[0].whole.win_rate == 0.5


def test_only_the_raters_asked_for_are_looked_at(session: Session, batch: EvalBatch) -> None:
    one = vote_all(session, batch, "one", for_second)
    vote_all(session, batch, "two", for_second)
    both = sheets_of(session, batch)
    assert sheets_of(session, batch, [one.id]) == {one.id: both[one.id]}
    assert sheets_of(session, batch, []) == {}


def test_half_a_minute_is_enough_for_texts_of_30_000_words(session: Session, tmp_path: Path) -> None:
    text = lambda position, planned: plain_text(position, planned) + " word" * 30_000  # noqa: E731
    batch = make_study(session, tmp_path, prompts=2, votes_per_pair=2, text=text).batch
    patient = vote_all(session, batch, "patient", for_second, seconds=31)
    quick = vote_all(session, batch, "quick", for_second, seconds=29)
    sheets = sheets_of(session, batch)
    assert [(sheets[one.id].timed, sheets[one.id].fast) for one in (patient, quick)] == [(2, 0), (2, 2)]
