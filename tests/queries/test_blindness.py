"""Could anybody tell? Flags from the texts, and results with and without what somebody could tell, by hand."""

import json
import random
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select
from sqlalchemy.orm import Session

from app.db import Database
from app.domain.blinding import choice_for
from app.domain.intervals import fixed, live
from app.domain.tally import Summary, Tally
from app.domain.terms import Choice, Design, Order, Outcome, PairKind, Settled
from app.domain.words import Standing
from app.models import Ballot, EvalBatch, Pair, Prompt, Verdict, Voter
from app.queries.blindness import Answers, Blindness, answers_of
from app.queries.blindness import blindness as blindness_of
from app.queries.report import report
from app.queries.results import results_page
from app.queries.seals import pair_seal
from app.queries.verification import verify
from app.services import assignment, simulation, voting
from app.services.responses import Planned
from app.services.simulation import Taste
from tests.factories import NOW, RULES, make_rater, make_study, plain_text, question

FIRST, SECOND, TIE, BAD = Outcome.FIRST, Outcome.SECOND, Outcome.TIE, Choice.BOTH_BAD
Vote = Outcome | Choice
TELLS = "As Qwen, I cannot taste cheese."
PALM = "Under the palm tree a llama listens to the mistral. I am a llama farmer, and my friend Claude likes Gemini."


def number_of(planned: Planned) -> int:
    return int(question(planned).removeprefix("Question number ").removesuffix("?"))


def said(texts: dict[int, tuple[str, ...]]) -> Callable[[int, Planned], str]:
    """Texts (baseline, challengers) to these prompts, and plain ones to all others."""

    def text(member: int, planned: Planned) -> str:
        number = number_of(planned)
        return texts[number][member] if number in texts else plain_text(member, planned)

    return text


def vote(
    session: Session, batch: EvalBatch, wanted: dict[int, Vote], recognised: dict[int, bool] | None = None
) -> Voter:
    """A rater gives each prompt this outcome, whatever the order, and says of these whether they recognised one."""
    rng = random.Random(len(wanted))  # noqa: S311
    voter = make_rater(session, f"rater {uuid.uuid4()}")
    while (ballot := assignment.issue(session, batch.id, voter, rules=RULES, now=NOW, rng=rng)) is not None:
        number = session.get_one(Prompt, session.get_one(Pair, ballot.pair_id).prompt_id).position
        if number not in wanted:
            voting.skip(session, ballot.id, voter, now=NOW)
            continue
        given = wanted[number]
        choice = choice_for(given, ballot.order) if isinstance(given, Outcome) else given
        voting.cast(session, ballot.id, voter, choice, rules=RULES, now=NOW)
        if number in (recognised or {}):
            voting.recognise(session, ballot.id, voter, recognised[number], rules=RULES, now=NOW)
    return voter


def blindness(session: Session, batch_id: uuid.UUID, counted: Any = None, **anew: Any) -> Blindness:
    return blindness_of(session, results_page(session, batch_id, counted), **anew)


def flags(session: Session, batch: EvalBatch) -> dict[int, bool | None]:
    query = select(Prompt.position, Pair.self_identifies).join(Prompt, Prompt.id == Pair.prompt_id)
    return dict(session.execute(query.where(Pair.eval_batch_id == batch.id, Pair.kind == PairKind.MAIN)).all())


def counts(cell: object) -> tuple[int, ...]:
    return (cell.n, cell.wins, cell.losses, cell.ties, cell.both_bad, cell.prompts)


# ------------------------------------------------------------------------------------------------ the flag


def test_a_pair_is_flagged_by_what_its_texts_say_and_sealed_with_it(session: Session, tmp_path: Path) -> None:
    texts = {
        0: (TELLS, "Cheese is milk."),
        1: ("Cheese is milk.", TELLS),
        2: (TELLS, "I'm Claude, an AI assistant made by Anthropic."),
        3: (PALM, "A palm reading, and a gemini by birth."),
        4: ("Cheese is milk.", "Brie v1 would say so."),
        5: (TELLS, TELLS),
    }
    batch = make_study(session, tmp_path, prompts=7, text=said(texts)).batch
    assert flags(session, batch) == {0: True, 1: True, 2: True, 3: False, 4: True, 5: True, 6: False}
    for pair in session.scalars(select(Pair).where(Pair.eval_batch_id == batch.id)):
        assert pair.seal == pair_seal(session, pair, RULES.secret)
        pair.self_identifies = not pair.self_identifies
        assert pair.seal != pair_seal(session, pair, RULES.secret)
    session.rollback()


def test_a_pair_counts_once_and_a_settled_one_not_at_all(session: Session, tmp_path: Path) -> None:
    texts = {0: (TELLS, TELLS + " Really."), 1: (TELLS, TELLS), 2: (TELLS, " ")}
    batch = make_study(session, tmp_path, prompts=4, text=said(texts)).batch
    query = select(Prompt.position, Pair.settled).join(Prompt, Prompt.id == Pair.prompt_id)
    settled = dict(session.execute(query).all())
    assert settled == {0: None, 1: Settled.IDENTICAL, 2: Settled.EMPTY_SECOND, 3: None}
    found = blindness(session, batch.id)
    assert (found.shown, found.flagged, found.unchecked) == (2, 1, 0)
    assert found.flagged_sentence == "In 1 of 2 pairs a text says who wrote it."


def test_palm_trees_flag_nothing(session: Session, tmp_path: Path) -> None:
    batch = make_study(session, tmp_path, prompts=3, text=said(dict.fromkeys(range(3), (PALM, PALM + " Yes.")))).batch
    assert set(flags(session, batch).values()) == {False}
    found = blindness(session, batch.id)
    assert (found.shown, found.flagged) == (3, 0)
    assert found.flagged_sentence == "In none of the 3 pairs does a text say who wrote it."
    assert (found.flagged_findings, found.matchups[0].unflagged) == ((), None)


@pytest.mark.parametrize("side", [0, 1])
def test_the_flag_is_the_same_whoever_says_it_and_in_whatever_order_it_is_shown(
    session: Session, tmp_path: Path, side: int
) -> None:
    texts = dict.fromkeys(range(4), (TELLS, "Milk.") if side == 0 else ("Milk.", TELLS))
    batch = make_study(session, tmp_path, prompts=6, text=said(texts), votes_per_pair=2).batch
    before = flags(session, batch)
    assert before == {0: True, 1: True, 2: True, 3: True, 4: False, 5: False}
    for _ in range(2):
        vote(session, batch, dict.fromkeys(range(6), SECOND))
    orders = session.execute(
        select(Pair.self_identifies, Ballot.order).join(Ballot, Ballot.pair_id == Pair.id).distinct()
    ).all()
    assert {tuple(row) for row in orders} == {(flag, order) for flag in (True, False) for order in Order}
    assert flags(session, batch) == before
    found = blindness(session, batch.id)
    assert (counts(found.matchups[0].whole), counts(found.matchups[0].unflagged)) == (
        (12, 12, 0, 0, 0, 6), (4, 4, 0, 0, 0, 2),
    )  # fmt: skip


def test_pairs_from_before_texts_were_looked_at_are_said_to_be_unknown(session: Session, tmp_path: Path) -> None:
    batch = make_study(session, tmp_path, prompts=4, text=said({0: (TELLS, "Milk."), 1: (TELLS, "Milk.")})).batch
    pairs = session.scalars(
        select(Pair).join(Prompt, Prompt.id == Pair.prompt_id).where(Pair.eval_batch_id == batch.id)
        .order_by(Prompt.position)
    ).all()  # fmt: skip
    pairs[0].self_identifies = None
    session.flush()
    found = blindness(session, batch.id)
    assert (found.shown, found.flagged, found.unchecked) == (4, 1, 1)
    assert found.flagged_sentence == (
        "3 of 4 pairs were looked at; the others are from before texts were, and stay in all counts. "
        "In 1 of them a text says who wrote it."
    )
    for pair in pairs:
        pair.self_identifies = None
    session.flush()
    found = blindness(session, batch.id)
    assert (found.shown, found.flagged, found.unchecked) == (4, 0, 4)
    assert "is not known" in found.flagged_sentence


# ------------------------------------------------------------------------------------------------ with and without


@pytest.fixture
def mixed(session: Session, tmp_path: Path) -> EvalBatch:
    """Eight prompts, one vote each. On 0, 1 and 2 a text says who wrote it; of 0, 3, 4, 5 and 6 the rater was asked."""
    texts = {0: (TELLS, "Milk."), 1: ("Milk.", TELLS), 2: (TELLS, TELLS + " Really.")}
    batch = make_study(session, tmp_path, prompts=8, text=said(texts), ask_recognised=True).batch
    vote(
        session,
        batch,
        {0: SECOND, 1: SECOND, 2: BAD, 3: SECOND, 4: FIRST, 5: TIE, 6: BAD, 7: SECOND},
        {0: True, 3: False, 4: True, 5: False, 6: True},
    )
    return batch


def test_counts_by_hand(session: Session, mixed: EvalBatch) -> None:
    found = blindness(session, mixed.id)
    assert (found.shown, found.flagged, found.unchecked) == (8, 3, 0)
    assert (found.asked, found.answered, found.yes) == (True, 5, 3)
    [one] = found.matchups
    assert (one.first, one.second) == ("tiny", "brie-v1/epoch-2")
    assert counts(one.whole) == (8, 4, 1, 3, 2, 8)
    assert one.whole.win_rate == pytest.approx(5.5 / 8)
    assert counts(one.unflagged) == (5, 2, 1, 2, 1, 5)  # without 0, 1 and 2
    assert one.unflagged.win_rate == pytest.approx(3 / 5)
    assert counts(one.unrecognised) == (5, 3, 0, 2, 1, 5)  # without 0, 4 and 6
    assert one.unrecognised.win_rate == pytest.approx(4 / 5)
    assert [cell.standing for cell in one.cells] == [Standing.OPEN, Standing.TOO_EARLY, Standing.TOO_EARLY]


def test_the_whole_is_what_the_results_say(session: Session, mixed: EvalBatch) -> None:
    page, found = results_page(session, mixed.id), blindness(session, mixed.id)
    assert counts(found.matchups[0].whole) == counts(page.matchups[0].whole)
    assert found.matchups[0].whole.win_rate == page.matchups[0].whole.win_rate


def test_too_early_in_the_words_of_the_results(session: Session, mixed: EvalBatch) -> None:
    found = blindness(session, mixed.id)
    assert found.flagged_sentence == "In 3 of 8 pairs a text says who wrote it."
    [finding] = found.flagged_findings
    assert finding == (
        "Without these pairs: brie-v1/epoch-2 is preferred in 2 of 3 decisive votes, with 2 ties. Too early for a "
        "range: it needs at least 5 decisive votes and has 3. With all votes it is open."
    )
    assert found.recognised_sentence == (
        "In 3 of 5 answers (60%) a rater thought that they recognised who wrote one of the texts."
    )
    [finding] = found.recognised_findings
    assert finding.startswith(
        "Without these votes: brie-v1/epoch-2 is preferred in 3 of 3 decisive votes, with 2 ties. Too"
    )


def test_the_intervals_are_those_of_the_votes_that_are_left(session: Session, tmp_path: Path) -> None:
    texts = dict.fromkeys(range(4), (TELLS, "Milk."))
    batch = make_study(session, tmp_path, prompts=24, text=said(texts)).batch
    vote(session, batch, {n: FIRST if n < 8 else SECOND for n in range(24)})
    [one] = blindness(session, batch.id).matchups
    # One vote a prompt: the votes are independent, so their weight is their number less one.
    left = Summary(p=0.8, n_eff=19.0, df=19, n=20, prompts=20, decisive=20)
    assert one.unflagged.win_rate == pytest.approx(0.8)
    assert tuple(one.unflagged.live) == pytest.approx(tuple(live(left)))
    assert tuple(one.unflagged.fixed) == pytest.approx(tuple(fixed(left)))
    assert one.whole.win_rate == pytest.approx(16 / 24)


def test_a_finding_that_rests_on_flagged_pairs_is_told(session: Session, tmp_path: Path) -> None:
    texts = dict.fromkeys(range(26), (TELLS, "Milk."))
    batch = make_study(session, tmp_path, prompts=40, text=said(texts)).batch
    vote(session, batch, {n: SECOND if n < 26 or n % 2 else FIRST for n in range(40)})
    found = blindness(session, batch.id)
    assert (found.matchups[0].whole.standing, found.matchups[0].unflagged.standing) == (Standing.BETTER, Standing.OPEN)
    [finding] = found.flagged_findings
    assert finding.startswith(
        "Without these pairs it is open between brie-v1/epoch-2 and tiny: a win rate of 50%, and the true"
    )
    assert finding.endswith(" With all votes it is better.")


def test_only_answers_on_votes_that_count_are_read(session: Session, tmp_path: Path) -> None:
    batch = make_study(session, tmp_path, prompts=9, ask_recognised=True, repeat_pairs=1, votes_per_pair=3).batch
    rng = random.Random(1)  # noqa: S311
    voter = make_rater(session)
    ballot = assignment.issue(session, batch.id, voter, rules=RULES, now=NOW, rng=rng)
    voting.cast(session, ballot.id, voter, Choice.A, rules=RULES, now=NOW)
    voting.recognise(session, ballot.id, voter, True, rules=RULES, now=NOW)
    assert answers_of(session, batch.id).yes_votes == 1
    again = voting.undo(session, ballot.id, voter, rules=RULES, now=NOW)
    assert answers_of(session, batch.id) == Answers()
    voting.cast(session, again.id, voter, Choice.A, rules=RULES, now=NOW)
    assert answers_of(session, batch.id) == Answers()
    while (ballot := assignment.issue(session, batch.id, voter, rules=RULES, now=NOW, rng=rng)) is not None:
        voting.cast(session, ballot.id, voter, Choice.A, rules=RULES, now=NOW)
        if ballot.is_repeat:
            voting.recognise(session, ballot.id, voter, True, rules=RULES, now=NOW)
    repeats = session.scalars(select(Verdict.id).join(Ballot, Ballot.id == Verdict.ballot_id).where(Ballot.is_repeat))
    assert len(repeats.all()) == 1
    assert answers_of(session, batch.id) == Answers()


def test_whoever_leaves_voters_out_leaves_their_answers_out(session: Session, tmp_path: Path) -> None:
    batch = make_study(session, tmp_path, prompts=2, ask_recognised=True, votes_per_pair=2).batch
    kept_by = vote(session, batch, {0: SECOND, 1: SECOND}, {0: True, 1: False})
    out = vote(session, batch, {0: FIRST, 1: FIRST}, {0: True, 1: True})
    kept = answers_of(session, batch.id, {out.id})
    assert (kept.answered, kept.yes_votes) == (2, 1)
    by_pair = session.scalars(select(Pair.id).where(Pair.eval_batch_id == batch.id)).all()
    theirs = dict.fromkeys(by_pair, Tally(0, 1, 0))
    everybody = {pair: Tally(1, 1, 0) for pair in by_pair}
    answers = {kept_by.id: kept, out.id: Answers(2, theirs)}
    assert blindness(session, batch.id, everybody, answers=answers) == blindness(session, batch.id)
    [one] = blindness(session, batch.id, dict.fromkeys(by_pair, Tally(1, 0, 0)), answers={kept_by.id: kept}).matchups
    assert (counts(one.whole), counts(one.unrecognised)) == ((2, 2, 0, 0, 0, 2), (1, 1, 0, 0, 0, 1))


def test_each_matchup_stands_for_itself(session: Session, tmp_path: Path) -> None:
    texts = {0: ("Milk.", TELLS, "Cheese."), 1: (TELLS, "Milk.", "Cheese.")}
    batch = make_study(
        session, tmp_path, prompts=3, challengers=2, text=said(texts), allow_repeats=True, design=Design.STAR
    ).batch
    vote(session, batch, {0: SECOND, 1: SECOND, 2: SECOND})
    found = blindness(session, batch.id)
    assert (found.shown, found.flagged) == (6, 3)
    assert [(one.second, counts(one.unflagged)[0]) for one in found.matchups] == [
        ("brie-v1/epoch-2", 1), ("brie-v2/epoch-2", 2),
    ]  # fmt: skip
    assert len(found.flagged_findings) == 2


def test_simulated_votes_are_said_to_be_such(session: Session, tmp_path: Path) -> None:
    batch = make_study(session, tmp_path, prompts=2, text=said({0: (TELLS, "Milk.")})).batch
    rng = random.Random(3)  # noqa: S311
    [voter] = simulation.begin(session, batch, raters=1, now=NOW)
    taste = Taste(rate=0.6, noise=0.0, ties=0.0)
    rates = simulation.tastes_of(session, batch, taste, rng)
    while simulation.vote_once(session, batch.id, voter, taste, rates, rules=RULES, now=NOW, rng=rng):
        pass
    [finding] = blindness(session, batch.id).flagged_findings
    assert finding.startswith("With simulated votes: Without this pair: ")


@pytest.mark.parametrize("tells", [True, False])
def test_the_rule_of_the_plan_leaves_answers_out_with_their_votes(
    session: Session, tmp_path: Path, tells: bool
) -> None:
    """Somebody misses gold, and is left out of every number; somebody who does not stays in."""
    batch = make_study(
        session, tmp_path, prompts=12, votes_per_pair=2, gold_pairs=2, ask_recognised=True,
        exclusion={"gold_min": 0.7, "gold_votes": 3},
    ).batch  # fmt: skip
    for name, outcome in (("good", SECOND), ("bad", FIRST)):
        voter, rng = make_rater(session, name), random.Random(name)  # noqa: S311
        while (ballot := assignment.issue(session, batch.id, voter, rules=RULES, now=NOW, rng=rng)) is not None:
            choice = choice_for(outcome, ballot.order)
            voting.cast(session, ballot.id, voter, choice, rules=RULES, now=NOW)
            if tells or name == "bad":  # who is left out answers always
                voting.recognise(session, ballot.id, voter, True, rules=RULES, now=NOW)
    found = blindness(session, batch.id)
    assert (found.answered, found.yes) == ((12, 12) if tells else (0, 0))
    assert counts(found.matchups[0].whole) == (12, 12, 0, 0, 0, 12)
    assert counts(results_page(session, batch.id).matchups[0].whole) == (12, 12, 0, 0, 0, 12)
    assert told(session, batch)["matchups"][0]["all"]["n"] == 12
    assert verify(session, RULES.secret).mismatches == ()


def test_everything_is_read_as_of_one_moment(database: Database, tmp_path: Path) -> None:
    """A vote with an answer that is taken back while a page is made must not be taken out of tallies without it."""
    with database.session_scope() as writer:
        batch = make_study(writer, tmp_path, prompts=2, ask_recognised=True).batch
        voter = vote(writer, batch, {0: SECOND, 1: SECOND}, {0: True, 1: True})
    with database.session_scope(write=False) as reader:
        answers = {voter.id: answers_of(reader, batch.id)}
        with database.session_scope() as writer:
            who = writer.get_one(Voter, voter.id)
            last = voting.undoable(writer, batch.id, who, rules=RULES, now=NOW)
            voting.undo(writer, last.id, who, rules=RULES, now=NOW)
        [one] = blindness(reader, batch.id, answers=answers).matchups
        assert (counts(one.whole)[0], counts(one.unrecognised)[0]) == (2, 0)
    with database.session_scope(write=False) as reader:
        [one] = blindness(reader, batch.id).matchups
        assert (counts(one.whole)[0], counts(one.unrecognised)[0]) == (1, 0)


# ------------------------------------------------------------------------------------------------ the report


def told(session: Session, batch: EvalBatch) -> dict[str, object]:
    found: dict[str, object] = json.loads(json.dumps(report(session, batch.id)))["leaks"]
    return found


def test_the_report_says_the_same(session: Session, mixed: EvalBatch) -> None:
    leaks, found = told(session, mixed), blindness(session, mixed.id)
    assert leaks.keys() == {
        "sentence", "shown_pairs", "flagged_pairs", "unchecked_pairs", "matchups", "recognised",
    }  # fmt: skip
    assert (leaks["shown_pairs"], leaks["flagged_pairs"], leaks["unchecked_pairs"]) == (8, 3, 0)
    assert leaks["sentence"] == found.flagged_sentence
    [one] = leaks["matchups"]
    assert one.keys() == {"baseline", "challenger", "all", "without_flagged"}
    assert (one["all"]["win_rate"], one["without_flagged"]["win_rate"]) == pytest.approx((5.5 / 8, 0.6))
    recognised = leaks["recognised"]
    assert recognised.keys() == {"sentence", "asked", "answered", "yes", "without"}
    assert (recognised["asked"], recognised["answered"], recognised["yes"]) == (True, 5, 3)
    [without] = recognised["without"]
    assert (without["baseline"], without["challenger"]) == ("tiny", "brie-v1/epoch-2")
    assert (without["all"]["n"], without["all"]["win_rate"]) == (5, pytest.approx(0.8))


def test_where_nothing_is_left_out_without_is_with(session: Session, tmp_path: Path) -> None:
    batch = make_study(session, tmp_path, prompts=3).batch
    vote(session, batch, {0: SECOND, 1: FIRST, 2: TIE})
    leaks = told(session, batch)
    [one] = leaks["matchups"]
    assert one["all"] == one["without_flagged"] == leaks["recognised"]["without"][0]["all"]
    assert (leaks["recognised"]["asked"], leaks["recognised"]["answered"]) == (False, 0)
    found: Blindness = blindness(session, batch.id)
    assert found.recognised_sentence == "Raters are not asked whether they recognised who wrote one of the texts."
