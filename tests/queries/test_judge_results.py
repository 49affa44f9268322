"""What judges say reaches results, report and pair pages on the checkpoint that wrote the text, in both orders."""

import random
import uuid
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import event, select, update
from sqlalchemy.orm import Session

from app.db import Database
from app.domain.terms import BallotState, CallState, Choice, Design, Order, Outcome, StopReason, SwapMode
from app.models import Ballot, EvalBatch, Judge, JudgeCall, Verdict
from app.queries.ballots import BlindBallot
from app.queries.judge_results import JudgeResults, judge_results
from app.queries.pair import pair_page
from app.queries.pair_filters import PairFilter
from app.queries.pair_judges import PairJudges
from app.queries.pairs import pairs_page
from app.queries.report import report
from app.queries.results import results_page
from app.queries.verification import verify
from app.services import assignment, eval_batches, voting
from app.services.responses import Planned
from tests.factories import NOW, RULES, make_rater, make_study, plain_text, sha256, vote_blind
from tests.saying import judge_called, longer, say, with_marker

CHALLENGER = "brie-v1/epoch-2"


def results(session: Session, batch: EvalBatch) -> JudgeResults:
    return judge_results(session, results_page(session, batch.id))


def first_is_a(_: BlindBallot) -> Choice:
    return Choice.A


def verified(session: Session) -> None:
    session.flush()
    found = verify(session, RULES.secret)
    assert [one.sentence for one in found.mismatches] == []


@settings(max_examples=6, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    truth=st.lists(st.integers(0, 2), min_size=3, max_size=7),
    seed=st.integers(0, 2**16),
    design=st.sampled_from(Design),
    mode=st.sampled_from(SwapMode),
)
def test_a_known_taste_is_told_of_the_right_checkpoint_everywhere(
    database: Database, tmp_path: Path, truth: list[int], seed: int, design: Design, mode: SwapMode
) -> None:
    """``truth``: which member's text holds the marker, prompt by prompt; the judge sees texts and nothing else."""
    folder = tmp_path / uuid.uuid4().hex

    def text(position: int, planned: Planned) -> str:
        number = int(str(planned.messages[-1]["content"]).split()[2].rstrip("?"))
        return f"{plain_text(position, planned)}{' Camembert.' if truth[number] == position else ''}"

    with database.session_scope() as session:
        batch = make_study(
            session, folder, prompts=len(truth), challengers=2, design=design, allow_repeats=True, text=text
        ).batch
        judge = judge_called(session, "taster")
        say(
            session, batch, judge, with_marker("Camembert"), mode=mode, seed=seed,
            reason=lambda ballot, choice: {"a": ballot.text_a, "b": ballot.text_b}.get(choice, "Neither."),
        )  # fmt: skip
        eval_batches.close(session, batch, now=NOW)
        told = report(session, batch.id)
        members = ["tiny", CHALLENGER, "brie-v2/epoch-2"]
        assert len(told["matchups"]) == (3 if design is Design.ROUND_ROBIN else 2)
        for matchup in told["matchups"]:
            first, second = members.index(matchup["baseline"]), members.index(matchup["challenger"])
            cell = matchup["judge"]["taster"]["all"]
            ties = sum(one not in (first, second) for one in truth)
            assert (cell["n"], cell["wins"], cell["losses"], cell["ties"]) == (
                len(truth), truth.count(second), truth.count(first), ties,
            )  # fmt: skip
            assert cell["win_rate"] == pytest.approx((truth.count(second) + ties / 2) / len(truth))
            assert matchup["judges"]["all"] == cell
            assert matchup["raters"]["all"]["n"] == 0
        [card] = told["judges"]
        assert card["position_bias"]["consistency"] in (None, 1.0)
        assert (card["position_bias"]["f"], card["position_bias"]["s"], card["waiting"], card["lost"]) == (0, 0, 0, 0)
        for row in pairs_page(session, batch.id, PairFilter()).found.rows:
            page = pair_page(session, batch.id, row.id, PairFilter()).pair
            for vote in page.cast:
                author = {"Member 0": "tiny", "Member 1": CHALLENGER, "Member 2": "brie-v2/epoch-2"}
                assert vote.preferred == author.get(vote.reason[:8], "")
                assert vote.shown_as_a in (row.first.name, row.second.name)
        verified(session)
        session.rollback()


@pytest.fixture
def batch(session: Session, tmp_path: Path) -> EvalBatch:
    """Twelve prompts, five times; texts of lengths that say nothing of who wrote them."""

    def text(position: int, planned: Planned) -> str:
        said = plain_text(position, planned)
        return said + " So." * random.Random(sha256(said)).randrange(40)  # noqa: S311 - the same each time

    return make_study(session, tmp_path, prompts=12, replicates=5, text=text, votes_per_pair=2).batch


def test_a_judge_that_always_says_a_is_all_position_and_prefers_nobody(session: Session, batch: EvalBatch) -> None:
    say(session, batch, judge_called(session, "lazy"), first_is_a)
    told = report(session, batch.id)
    bias = told["judges"][0]["position_bias"]
    assert (bias["first_rate"], bias["consistency"], bias["f"], bias["s"], bias["n"]) == (1.0, 0.0, 60, 0, 60)
    assert bias["net"] == 1.0
    assert bias["p"] < 1e-9
    cell = told["matchups"][0]["judge"]["lazy"]["all"]
    assert (cell["win_rate"], cell["n"], cell["ties"]) == (0.5, 60, 60)
    assert "leans to what stands first, more than chance explains" in bias["sentence"]
    verified(session)


def test_a_judge_that_prefers_longer_texts_shows_in_the_length_card(session: Session, batch: EvalBatch) -> None:
    say(session, batch, judge_called(session, "wordy"), longer)

    def mostly(ballot: BlindBallot) -> Choice:
        dice = random.Random(sha256("".join(sorted((ballot.text_a, ballot.text_b)))))  # noqa: S311
        choice = longer(ballot)
        return choice if dice.random() < 0.8 else {Choice.A: Choice.B, Choice.B: Choice.A}.get(choice, choice)

    say(session, batch, judge_called(session, "rather wordy"), mostly)
    told = report(session, batch.id)["matchups"][0]["judge"]
    assert told["wordy"]["length"]["longer_rate"] == 1.0
    assert "so closely" in told["wordy"]["length"]["refused"]
    rather = told["rather wordy"]["length"]
    assert rather["phi_interval"][0] > 0
    assert rather["controlled_interval"][0] < 0.5 < rather["controlled_interval"][1]
    assert rather["refused"] == ""
    verified(session)


def test_half_judged_pairs_wait_and_both_orders_are_one_observation(session: Session, tmp_path: Path) -> None:
    batch = make_study(session, tmp_path, prompts=8).batch
    turns = iter([Choice.A, Choice.B, Choice.A, Choice.A, Choice.A, Choice.TIE, Choice.A])
    judge = judge_called(session, "half")
    say(session, batch, judge, lambda _: next(turns), most=7)
    found = results(session, batch)
    whole = found.matchups[0].each[0].whole
    assert (whole.n, whole.wins + whole.losses, whole.ties) == (3, 2, 1)
    assert whole.win_rate in (pytest.approx(w / 12) for w in (4 + 2 + 3, 4 + 2 + 1, 2 + 3, 2 + 1))
    assert (found.cards[0].judged, found.cards[0].waiting, found.cards[0].lost) == (3, 1, 0)
    assert (found.cards[0].swaps.same, found.cards[0].swaps.first, found.cards[0].swaps.mixed) == (1, 1, 1)
    assert results_page(session, batch.id).batch.votes == 0
    verified(session)


def test_where_a_tie_is_final_the_second_order_is_not_waited_for(session: Session, tmp_path: Path) -> None:
    batch = make_study(session, tmp_path, prompts=6).batch
    say(session, batch, judge_called(session, "thrifty"), lambda _: Choice.TIE, mode=SwapMode.DECISIVE)
    found = results(session, batch)
    assert (found.matchups[0].each[0].whole.ties, found.cards[0].waiting, found.cards[0].swaps.n) == (6, 0, 0)
    say(session, batch, judge_called(session, "careful"), with_marker("Member 1"), mode=SwapMode.DECISIVE)
    assert {card.name: card.swaps.same for card in results(session, batch).cards} == {"thrifty": 0, "careful": 6}
    verified(session)


def test_replies_without_a_choice_are_counted_by_reason_and_never_in_n(session: Session, tmp_path: Path) -> None:
    batch = make_study(session, tmp_path, prompts=4).batch
    bad = iter([StopReason.REFUSAL, StopReason.LENGTH, "", "I like A.", "{}", Choice.A, *[Choice.B] * 5])
    say(session, batch, judge_called(session, "mumbler"), lambda _: next(bad), most=11)
    [card] = report(session, batch.id)["judges"]
    assert card["unparsed"]["reasons"] == {"empty": 1, "refused": 1, "schema": 2, "truncated": 1}
    assert (card["unparsed"]["n"], card["unparsed"]["replies"]) == (5, 11)
    assert card["unparsed"]["share"] == pytest.approx(5 / 11)
    ballots = Counter(session.scalars(select(Ballot.state)))
    assert card["lost"] == 1
    assert ballots[BallotState.UNPARSED] == 2
    assert card["judged"] + card["waiting"] + card["lost"] == 4
    verified(session)


def test_judges_among_each_other_with_people_and_people_among_themselves(session: Session, tmp_path: Path) -> None:
    batch = make_study(session, tmp_path, prompts=6, replicates=2, votes_per_pair=2).batch
    for_one, for_zero = with_marker("Member 1"), with_marker("Member 0")
    say(session, batch, judge_called(session, "one"), for_one)
    say(session, batch, judge_called(session, "zero"), for_zero)
    for name, pick in (("ann", for_one), ("bob", for_one)):
        vote_blind(session, batch, make_rater(session, name), pick, rng=random.Random(3))  # noqa: S311
    told = report(session, batch.id)
    agreement = {(row["one"], row["other"]): (row["n"], row["raw"]) for row in told["agreement"]}
    voted = next(n for (one, other), (n, _) in agreement.items() if (one, other) == ("one", "people"))
    assert agreement["one", "zero"] == (12, 0.0)
    assert agreement["one", "people"] == (voted, 1.0)
    assert agreement["zero", "people"] == (voted, 0.0)
    assert agreement["people", "people"][1] == 1.0
    matchup = told["matchups"][0]
    assert (matchup["judge"]["one"]["all"]["win_rate"], matchup["judge"]["zero"]["all"]["win_rate"]) == (1.0, 0.0)
    assert (matchup["judges"]["all"]["n"], matchup["judges"]["all"]["win_rate"]) == (24, 0.5)
    assert matchup["raters"]["all"]["win_rate"] == 1.0
    verified(session)


def test_pairs_are_found_by_what_judges_say_of_them(session: Session, tmp_path: Path) -> None:
    batch = make_study(session, tmp_path, prompts=6).batch
    one, odd, late = (judge_called(session, name) for name in ("one", "odd", "late"))
    say(session, batch, one, with_marker("Member 1"))
    say(session, batch, late, with_marker("Member 1"), most=2)
    say(
        session, batch, odd,
        lambda b: Choice.A if "number 2" in b.text_a else with_marker(f"Member {int('number 4' not in b.text_a)}")(b),
    )  # fmt: skip
    vote_blind(
        session, batch, make_rater(session, "ann"),
        lambda b: with_marker(f"Member {int('number 5' not in b.text_a)}")(b), rng=random.Random(3),  # noqa: S311
    )  # fmt: skip
    eval_batches.close(session, batch, now=NOW)

    def found(wanted: PairJudges | None, judge: Judge | None = None) -> set[str]:
        asked = PairFilter(judges=wanted, judge=judge.id if judge else None)
        return {row.prompt for row in pairs_page(session, batch.id, asked).found.rows}

    assert found(PairJudges.ORDERS) == {"Question number 2?"}
    assert found(PairJudges.JUDGES) == {"Question number 2?", "Question number 4?"}
    assert found(PairJudges.PEOPLE) == {"Question number 2?", "Question number 4?", "Question number 5?"}
    assert len(found(None, one)) == len(found(None, odd)) == 6
    assert len(found(None, late)) < 3
    assert found(PairJudges.ORDERS, odd) == {"Question number 2?"}
    assert found(PairJudges.ORDERS, one) == found(PairJudges.JUDGES, late) - found(None, late) == set()
    assert found(PairJudges.JUDGES, one) == {"Question number 2?", "Question number 4?"}
    assert found(PairJudges.PEOPLE, one) == {"Question number 5?"}
    assert found(PairJudges.PEOPLE, odd) == {"Question number 2?", "Question number 4?", "Question number 5?"}
    listed = pairs_page(session, batch.id, PairFilter()).found.judges
    assert [(judge.id, judge.name) for judge in listed] == [(late.id, "late"), (odd.id, "odd"), (one.id, "one")]
    row = pairs_page(session, batch.id, PairFilter(judges=PairJudges.ORDERS)).found.rows[0]
    pair = pair_page(session, batch.id, row.id, PairFilter()).pair
    by = [[vote.voter for vote in votes] for votes in pair.by_judges if votes[0].voter != "late"]
    assert by == [["odd", "odd"], ["one", "one"]]
    assert {vote.confidence for votes in pair.by_judges for vote in votes} == {"high"}
    assert [vote.voter for vote in pair.by_people] == ["ann"]


def test_how_far_a_judge_leans_is_counted_on_the_pairs_that_people_saw_too(session: Session, tmp_path: Path) -> None:
    batch = make_study(session, tmp_path, prompts=12).batch
    rng = random.Random(3)  # noqa: S311
    say(session, batch, judge_called(session, "haiku"), longer)
    assert results(session, batch).matchups[0].each[0].gap is None, "nobody has voted"
    rater = make_rater(session)
    for _ in range(9):
        ballot = assignment.issue(session, batch.id, rater, rules=RULES, now=NOW, rng=rng)
        assert ballot is not None
        voting.cast(session, ballot.id, rater, Choice.A, rules=RULES, now=NOW)
    page = results_page(session, batch.id)
    (judge,) = results(session, batch).matchups[0].each
    gap = judge.gap
    assert gap is not None
    assert (gap.n, gap.prompts) == (9, 9)
    assert gap.other == pytest.approx(page.matchups[0].whole.win_rate)
    assert gap.gap == pytest.approx(gap.one - gap.other)
    told = report(session, batch.id)["matchups"][0]["judge"]["haiku"]["gap"]
    assert (told["n"], told["gap"], told["sentence"]) == (9, gap.gap, judge.gap_sentence)
    assert told["fixed"] == (list(gap.interval) if gap.interval else None)
    verified(session)


def test_simulated_judges_are_labelled_in_every_sentence(session: Session, tmp_path: Path) -> None:
    batch = make_study(session, tmp_path, prompts=6).batch
    say(session, batch, judge_called(session, "played", simulated=True), longer)
    say(session, batch, judge_called(session, "real"), longer)
    found = results(session, batch)
    played, real = found.matchups[0].each
    for sentence in (played.sentence, played.length_sentence, found.cards[0].position_sentence,
                     found.matchups[0].together.sentence, found.agreements[0].sentence):  # fmt: skip
        assert sentence.startswith("With simulated judges: ")
    assert not real.sentence.startswith("With")


def test_as_many_statements_for_many_pairs_as_for_few(session: Session, tmp_path: Path) -> None:
    counts = []
    for prompts, name in ((4, "few"), (20, "many")):
        batch = (
            make_study(session, tmp_path / name, prompts=prompts).batch
            if not counts
            else make_more(session, tmp_path, prompts)
        )
        for judge in ("one", "two"):
            say(session, batch, judge_called(session, f"{judge} {name}"), longer)
        page = results_page(session, batch.id)
        statements: list[str] = []
        listen = lambda *given, kept=statements: kept.append(given[2])  # noqa: E731
        event.listen(session.get_bind(), "before_cursor_execute", listen)
        judge_results(session, page)
        event.remove(session.get_bind(), "before_cursor_execute", listen)
        counts.append(len(statements))
    assert counts[0] == counts[1] <= 5


def make_more(session: Session, folder: Path, prompts: int) -> EvalBatch:
    """Another batch of the same members on more prompts."""
    from app.services.eval_batches import LaunchPlan  # noqa: PLC0415
    from tests.factories import make_suite, write_responses  # noqa: PLC0415

    suite = make_suite(session, folder, prompts, name="more")
    batch = eval_batches.launch(
        session, LaunchPlan(suite=suite.name, challengers=(CHALLENGER,)), secret=RULES.secret, now=NOW
    )
    write_responses(session, batch)
    return batch


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ("outcome", "matchups.0.judge.one.all.wins"),
        ("unparsed", "judges.0.unparsed."),
        ("gone", "judges.0.unparsed.replies"),
    ],
)
def test_what_was_changed_behind_the_back_differs_in_the_report(
    session: Session, tmp_path: Path, change: str, says: str
) -> None:
    batch = make_study(session, tmp_path, prompts=4).batch
    replies = iter(["", Choice.A, Choice.B])
    say(session, batch, judge_called(session, "one"), lambda b: next(replies, with_marker("Member 1")(b)))
    verified(session)
    if change == "outcome":
        ballots = select(Ballot.id).where(Ballot.order == Order.FIRST_IS_A)
        session.execute(
            update(Verdict).where(Verdict.ballot_id.in_(ballots), Verdict.outcome == Outcome.SECOND)
            .values(outcome=Outcome.FIRST)
        )  # fmt: skip
    elif change == "unparsed":
        session.execute(update(JudgeCall).where(JudgeCall.state == CallState.UNPARSED).values(unparsed="refused"))
    else:
        lost = session.scalars(select(JudgeCall.id).where(JudgeCall.state == CallState.VERDICT).limit(1)).one()
        session.execute(update(JudgeCall).where(JudgeCall.id == lost).values(state=CallState.UNPARSED))
    session.expire_all()
    found = [one.sentence for one in verify(session, RULES.secret).mismatches]
    assert any(says in sentence for sentence in found), found
