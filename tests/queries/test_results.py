import random
import uuid
from collections.abc import Callable
from pathlib import Path

import pytest
from sqlalchemy import select
from sqlalchemy.orm import Session

from app.domain.blinding import choice_for
from app.domain.errors import NotFoundError
from app.domain.intervals import fixed, live
from app.domain.tally import Summary
from app.domain.terms import Choice, Design, Order, Outcome
from app.domain.words import Standing
from app.models import Ballot, EvalBatch, Pair, Prompt, Verdict
from app.queries.ballots import BlindBallot
from app.queries.report import report
from app.queries.results import results_page
from app.services import assignment, voting
from app.services.responses import Planned
from tests.factories import NOW, RULES, make_rater, make_study, plain_text, question, vote_blind

CHALLENGER = "Member 1 "


def dice(seed: int = 3) -> random.Random:
    return random.Random(seed)  # noqa: S311


def for_the_challenger(ballot: BlindBallot) -> Choice:
    """Reads the two texts and nothing else."""
    assert ballot.text_a.startswith(CHALLENGER) != ballot.text_b.startswith(CHALLENGER)
    return Choice.A if ballot.text_a.startswith(CHALLENGER) else Choice.B


def vote_by_prompt(session: Session, batch: EvalBatch, wanted: dict[int, Outcome | Choice]) -> None:
    """One rater gives each prompt this outcome (or this choice), whatever the order."""
    voter = make_rater(session, "by prompt")
    while (ballot := assignment.issue(session, batch.id, voter, rules=RULES, now=NOW, rng=dice())) is not None:
        prompt = session.get_one(Prompt, session.get_one(Pair, ballot.pair_id).prompt_id)
        given = wanted[prompt.position]
        choice = choice_for(given, ballot.order) if isinstance(given, Outcome) else given
        voting.cast(session, ballot.id, voter, choice, rules=RULES, now=NOW)


@pytest.mark.parametrize(
    ("pick", "rate"),
    [(for_the_challenger, 1.0), (lambda b: {"a": Choice.B, "b": Choice.A}[for_the_challenger(b)], 0.0)],
    ids=["for the challenger", "for the baseline"],
)
def test_who_always_prefers_one_text_makes_it_win_everything_in_both_orders(
    session: Session, tmp_path: Path, pick: Callable[[BlindBallot], Choice], rate: float
) -> None:
    batch = make_study(session, tmp_path, prompts=9, votes_per_pair=2).batch
    for name in ("one", "two"):
        assert vote_blind(session, batch, make_rater(session, name), pick, rng=dice()) == 9
    orders = session.scalars(select(Ballot.order)).all()
    assert orders.count(Order.FIRST_IS_A) == orders.count(Order.SECOND_IS_A) == 9
    assert set(session.scalars(select(Verdict.choice))) == {Choice.A, Choice.B}
    matchup = results_page(session, batch.id).matchups[0]
    assert (matchup.first, matchup.second) == ("tiny", "brie-v1/epoch-2")
    assert matchup.whole.win_rate == rate
    assert matchup.whole.standing is (Standing.BETTER if rate else Standing.WORSE)
    assert {cell.win_rate for cell in (*matchup.domains, *matchup.categories)} == {rate}
    told = report(session, batch.id)["matchups"][0]
    assert (told["baseline"], told["challenger"]) == ("tiny", "brie-v1/epoch-2")
    assert told["raters"]["all"]["win_rate"] == rate


@pytest.fixture
def mixed(session: Session, tmp_path: Path) -> EvalBatch:
    """Six prompts: the challenger wins 0, 1 and 5, loses 2, ties 3, and 4 is bad on both sides."""
    batch = make_study(session, tmp_path, prompts=6).batch
    second, first = Outcome.SECOND, Outcome.FIRST
    wanted = {0: second, 1: second, 2: first, 3: Outcome.TIE, 4: Choice.BOTH_BAD, 5: second}
    vote_by_prompt(session, batch, wanted)
    return batch


def test_counts_by_hand(session: Session, mixed: EvalBatch) -> None:
    page = results_page(session, mixed.id)
    whole = page.matchups[0].whole
    assert (whole.n, whole.wins, whole.losses, whole.ties, whole.both_bad, whole.prompts) == (6, 3, 1, 2, 1, 6)
    assert whole.win_rate == pytest.approx((3 + 0.5 + 0.5) / 6)
    assert (whole.standing, whole.live, whole.fixed) == (Standing.TOO_EARLY, None, None)
    assert (page.batch.votes, page.batch.votes_wanted) == (6, 6)
    by_label = {
        cell.label: (cell.n, cell.wins, cell.losses, cell.ties, cell.both_bad)
        for cell in (*page.matchups[0].domains, *page.matchups[0].categories)
    }
    assert by_label == {
        "in-domain": (3, 1, 1, 1, 1),
        "out-of-domain": (3, 2, 0, 1, 0),
        "category 0": (2, 2, 0, 0, 0),
        "category 1": (2, 0, 1, 1, 0),
        "category 2": (2, 1, 0, 1, 1),
    }


def test_the_sentence_says_what_the_numbers_say(session: Session, mixed: EvalBatch) -> None:
    sentence = results_page(session, mixed.id).matchups[0].sentence
    assert sentence.startswith("brie-v1/epoch-2 is preferred in 3 of 4 decisive votes, with 2 ties.")
    assert "Too early" in sentence


def test_the_interval_is_the_one_of_the_votes(session: Session, tmp_path: Path) -> None:
    batch = make_study(session, tmp_path, prompts=20).batch
    vote_by_prompt(session, batch, {n: Outcome.FIRST if n < 4 else Outcome.SECOND for n in range(20)})
    whole = results_page(session, batch.id).matchups[0].whole
    # One vote a prompt: the votes are independent, so their weight is their number less one.
    summary = Summary(p=0.8, n_eff=19.0, df=19, n=20, prompts=20, decisive=20)
    assert whole.win_rate == pytest.approx(0.8)
    assert tuple(whole.live) == pytest.approx(tuple(live(summary)))
    assert tuple(whole.fixed) == pytest.approx(tuple(fixed(summary)))


def test_settled_pairs_stand_beside_and_outside_of_n(session: Session, tmp_path: Path) -> None:
    by_question = {1: ("same", "same"), 2: ("", "text"), 3: ("text", " "), 4: ("\n", "")}

    def text(member: int, planned: Planned) -> str:
        number = int(question(planned).removeprefix("Question number ").removesuffix("?"))
        return by_question[number][member] if number in by_question else plain_text(member, planned)

    batch = make_study(session, tmp_path, prompts=6, text=text).batch
    vote_by_prompt(session, batch, {0: Outcome.SECOND, 5: Outcome.FIRST})
    page = results_page(session, batch.id)
    matchup = page.matchups[0]
    assert (matchup.whole.n, matchup.whole.win_rate) == (2, 0.5)
    # Identical and both empty tie, an empty baseline loses, an empty challenger loses.
    assert (matchup.settled.wins, matchup.settled.losses, matchup.settled.ties) == (1, 1, 2)
    assert (matchup.with_settled.n, matchup.with_settled.wins, matchup.with_settled.losses) == (6, 2, 2)
    assert (page.batch.pairs, page.batch.settled, page.batch.votes_wanted) == (6, 4, 2)


def test_votes_taken_back_and_late_ones_are_not_in_n(session: Session, tmp_path: Path) -> None:
    batch = make_study(session, tmp_path, prompts=1).batch
    slow, other = make_rater(session, "slow"), make_rater(session, "other")
    late = assignment.issue(session, batch.id, slow, rules=RULES, now=NOW, rng=dice())
    later = NOW + 2 * RULES.lease
    taken = assignment.issue(session, batch.id, other, rules=RULES, now=later, rng=dice())
    voting.cast(session, late.id, slow, Choice.A, rules=RULES, now=later)
    voting.cast(session, taken.id, other, Choice.A, rules=RULES, now=later)
    assert results_page(session, batch.id).matchups[0].whole.n == 1
    voting.undo(session, taken.id, other, rules=RULES, now=later)
    assert results_page(session, batch.id).matchups[0].whole.n == 0


def test_every_matchup_of_a_round_robin_is_told_apart(session: Session, tmp_path: Path) -> None:
    batch = make_study(session, tmp_path, prompts=2, challengers=2, design=Design.ROUND_ROBIN, allow_repeats=True).batch
    vote_blind(session, batch, make_rater(session), lambda _: Choice.TIE, rng=dice())
    met = {(m.first, m.second): m.whole.ties for m in results_page(session, batch.id).matchups}
    assert len(met) == 3
    assert set(met.values()) == {2}
    assert {pair for pair in met if "tiny" in pair} == {("tiny", "brie-v1/epoch-2"), ("tiny", "brie-v2/epoch-2")}


def test_before_the_first_vote_and_without_a_batch(session: Session, tmp_path: Path) -> None:
    batch = make_study(session, tmp_path).batch
    whole = results_page(session, batch.id).matchups[0].whole
    assert (whole.n, whole.win_rate, whole.standing) == (0, None, Standing.NOTHING_YET)
    with pytest.raises(NotFoundError):
        results_page(session, uuid.uuid4())


def test_the_report_has_the_promised_shape(session: Session, mixed: EvalBatch) -> None:
    told = report(session, mixed.id)
    assert told.keys() == {
        "schema", "batch", "mapping_suspect", "matchups", "excluded", "quality", "placebo", "canaries", "gold", "leaks",
        "judges", "agreement", "contrasts", "ranking", "panel", "slices", "trajectories",
        "provenance",
    }  # fmt: skip
    assert told["schema"] == "brie-arena-report/1"
    assert told["batch"] == {
        "id": str(mixed.id), "name": "suite-1", "suite": "suite v1", "state": "open", "baseline": "tiny",
        "challengers": ["brie-v1/epoch-2"], "planned_pairs": 6, "pairs": 6, "settled_pairs": 0, "votes": 6,
        "simulated_votes": 0, "votes_wanted": 6,
    }  # fmt: skip
    matchup = told["matchups"][0]
    assert matchup.keys() == {
        "baseline", "challenger", "sentence", "fixed_sentence", "raters", "over_votes", "variance", "outlook",
        "settled", "judges", "judge", "combined",
    }  # fmt: skip
    assert [point["votes"] for point in matchup["over_votes"]] == [1, 2, 3, 4, 5, 6]
    assert matchup["over_votes"][-1] == {"votes": 6, "win_rate": pytest.approx(4 / 6), "live": None}
    assert told["provenance"].keys() == {"software", "suite", "plan", "checkpoints"}
    assert (matchup["judges"], matchup["judge"], told["judges"], told["agreement"]) == (None, {}, [], [])
    assert matchup["raters"].keys() == {"all", "domains", "categories", "with_settled", "with_everybody"}
    assert matchup["raters"]["all"] == {
        "n": 6, "wins": 3, "losses": 1, "ties": 2, "both_bad": 1, "prompts": 6, "win_rate": pytest.approx(4 / 6),
        "live": None, "fixed": None, "standing": "too_early",
    }  # fmt: skip
    assert matchup["raters"]["domains"].keys() == {"in-domain", "out-of-domain"}
    assert matchup["settled"] == {"wins": 0, "losses": 0, "ties": 0}
