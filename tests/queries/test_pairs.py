import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import event, select
from sqlalchemy.orm import Session

from app.domain.blinding import choice_for
from app.domain.errors import NotFoundError
from app.domain.terms import Choice, Design, Domain, FinishReason, Outcome, PairKind, Reveal, Settled
from app.models import Ballot, EvalBatch, Pair, Prompt, Response, Voter
from app.queries.paging import Window
from app.queries.pair import PairView, pair_page
from app.queries.pair_filters import PairFilter, PairLength, PairOutcome, PairSort
from app.queries.pairs import PAGE, PairList, pairs_page
from app.queries.reveal import Reading
from app.services import assignment, eval_batches, voting
from app.services.responses import Planned
from tests.factories import (
    NOW,
    RULES,
    make_rater,
    make_study,
    pairs_of,
    plain_text,
    prompt_row,
    question,
    write_responses,
)
from tests.fixtures import on_sqlite

FIRST, SECOND, TIE, BAD = Outcome.FIRST, Outcome.SECOND, Outcome.TIE, Choice.BOTH_BAD
Vote = Outcome | Choice


def vote(session: Session, batch: EvalBatch, wanted: dict[int, list[Vote]]) -> None:
    """Each prompt gets these votes, one from each rater, whatever the orders that are drawn."""
    rng = random.Random(2)  # noqa: S311
    raters = [make_rater(session, f"rater {number}") for number in range(max(map(len, wanted.values()), default=0))]
    for number, rater in enumerate(raters):
        while (ballot := assignment.issue(session, batch.id, rater, rules=RULES, now=NOW, rng=rng)) is not None:
            prompt = session.get_one(Prompt, session.get_one(Pair, ballot.pair_id).prompt_id)
            given = wanted.get(prompt.position, [])[number:]
            if not given:
                voting.skip(session, ballot.id, rater, now=NOW)
                continue
            choice = choice_for(given[0], ballot.order) if isinstance(given[0], Outcome) else given[0]
            voting.cast(session, ballot.id, rater, choice, rules=RULES, now=NOW)


def close(session: Session, batch: EvalBatch) -> EvalBatch:
    eval_batches.close(session, batch, now=NOW)
    session.flush()
    return batch


def by_number(texts: dict[int, tuple[str, str]]) -> Callable[[int, Planned], str]:
    """Texts (baseline, challenger) for these prompts, and plain ones for all others."""

    def text(member: int, planned: Planned) -> str:
        number = int(question(planned).removeprefix("Question number ").removesuffix("?"))
        return texts[number][member] if number in texts else plain_text(member, planned)

    return text


def found(session: Session, batch: EvalBatch, page: int = 1, **wanted: Any) -> PairList:
    shown = pairs_page(session, batch.id, PairFilter(**wanted), page).found
    assert shown is not None
    return shown


def prompts(shown: PairList) -> list[int]:
    return [int(row.prompt.removeprefix("Question number ").removesuffix("?")) for row in shown.rows]


def opened(session: Session, batch: EvalBatch, pair_id: Any, **wanted: Any) -> PairView:
    view = pair_page(session, batch.id, pair_id, PairFilter(**wanted)).pair
    assert view is not None
    return view


@pytest.fixture
def mixed(session: Session, tmp_path: Path) -> EvalBatch:
    """Three votes a pair: every outcome that there is, once; prompts 7 and 8 are settled, 9 has no vote."""
    text = by_number({7: ("same", "same"), 8: ("text", " \n")})
    batch = make_study(session, tmp_path, prompts=10, text=text, votes_per_pair=3).batch
    vote(
        session,
        batch,
        {
            0: [SECOND, SECOND, SECOND],
            1: [SECOND, FIRST, SECOND],
            2: [FIRST, FIRST, TIE],
            3: [TIE, BAD, TIE],
            4: [FIRST, SECOND, TIE],
            5: [FIRST],
            6: [BAD],
        },
    )
    return close(session, batch)


# ------------------------------------------------------------------------------------------------ the reveal


@pytest.mark.parametrize(
    ("reveal", "closed", "reading"),
    [
        (Reveal.AT_CLOSE, False, Reading.NOT_YET),
        (Reveal.AT_CLOSE, True, Reading.OPEN),
        (Reveal.NEVER, False, Reading.NEVER),
        (Reveal.NEVER, True, Reading.NEVER),
    ],
)
@on_sqlite
def test_texts_stand_beside_names_only_after_the_reveal(
    session: Session, tmp_path: Path, reveal: Reveal, closed: bool, reading: Reading
) -> None:
    batch = make_study(session, tmp_path, prompts=2, reveal=reveal).batch
    if closed:
        close(session, batch)
    statements: list[str] = []
    event.listen(session.get_bind(), "before_cursor_execute", lambda *args: statements.append(args[2]))
    many = pairs_page(session, batch.id, PairFilter(text="Member"))
    one = pair_page(session, batch.id, pairs_of(session, batch)[0].id, PairFilter())
    assert many.batch.reading is one.batch.reading is reading
    assert (many.found is not None) is (one.pair is not None) is (reading is Reading.OPEN)
    assert any("FROM response" in asked or "JOIN response" in asked for asked in statements) is (
        reading is Reading.OPEN
    ), "texts are not even read before they may be shown"


@on_sqlite
def test_what_is_not_there_is_not_found(session: Session, mixed: EvalBatch, tmp_path: Path) -> None:
    nowhere = pairs_of(session, mixed)[0].id
    with pytest.raises(NotFoundError):
        pairs_page(session, nowhere, PairFilter())
    with pytest.raises(NotFoundError):
        pair_page(session, nowhere, nowhere, PairFilter())
    with pytest.raises(NotFoundError):
        pair_page(session, mixed.id, mixed.id, PairFilter())
    session.get_one(Pair, nowhere).kind = PairKind.CANARY
    with pytest.raises(NotFoundError):
        pair_page(session, mixed.id, nowhere, PairFilter())
    assert found(session, mixed).window.total == 9


def test_open_batches_that_show_the_same_texts_are_named(session: Session, tmp_path: Path) -> None:
    study = make_study(session, tmp_path, prompts=2)
    assert found(session, close(session, study.batch)).read_elsewhere == ()
    for name, seed in (("the same texts", 1), ("other texts", 2)):
        plan = eval_batches.LaunchPlan(suite="suite", challengers=("brie-v1/epoch-2",), name=name, seed=seed)
        again = eval_batches.launch(session, plan, secret=RULES.secret, now=NOW)
        write_responses(session, again)
    assert [one.name for one in found(session, study.batch).read_elsewhere] == ["the same texts"]


# ---------------------------------------------------------------------------------------------- the outcomes


def test_every_pair_has_one_outcome_and_the_counts_are_theirs(session: Session, mixed: EvalBatch) -> None:
    shown = found(session, mixed)
    assert [(row.outcome, row.disagree, row.preferred) for row in shown.rows] == [
        (PairOutcome.CHALLENGER, False, "brie-v1/epoch-2"),
        (PairOutcome.CHALLENGER, True, "brie-v1/epoch-2"),
        (PairOutcome.BASELINE, True, "tiny"),
        (PairOutcome.TIE, False, ""),
        (PairOutcome.SPLIT, True, ""),
        (PairOutcome.BASELINE, False, "tiny"),
        (PairOutcome.TIE, False, ""),
        (PairOutcome.SETTLED, False, ""),
        (PairOutcome.SETTLED, False, ""),
        (PairOutcome.NO_VOTE, False, ""),
    ]
    assert {outcome.value: count for outcome, count in shown.counts.items()} == {
        "challenger": 2, "baseline": 2, "tie": 2, "split": 1, "no_vote": 1, "settled": 2, "disagree": 0,
    }  # fmt: skip
    assert shown.window.total == 10
    votes = [(row.votes.wins, row.votes.losses, row.votes.ties, row.votes.both_bad) for row in shown.rows[:7]]
    assert votes == [(3, 0, 0, 0), (2, 1, 0, 0), (0, 2, 1, 0), (0, 0, 3, 1), (1, 1, 1, 0), (0, 1, 0, 0), (0, 0, 1, 1)]
    assert [row.settled for row in shown.rows[7:]] == [Settled.IDENTICAL, Settled.EMPTY_SECOND, None]


@pytest.mark.parametrize(
    ("outcome", "expected"),
    [
        (PairOutcome.CHALLENGER, [0, 1]),
        (PairOutcome.BASELINE, [2, 5]),
        (PairOutcome.TIE, [3, 6]),
        (PairOutcome.SPLIT, [4]),
        (PairOutcome.DISAGREE, [1, 2, 4]),
        (PairOutcome.NO_VOTE, [9]),
        (PairOutcome.SETTLED, [7, 8]),
    ],
)
def test_pairs_can_be_asked_for_by_outcome(
    session: Session, mixed: EvalBatch, outcome: PairOutcome, expected: list[int]
) -> None:
    shown = found(session, mixed, outcome=outcome)
    assert prompts(shown) == expected
    assert (shown.window.matching, shown.window.total) == (len(expected), 10)


def test_the_preferred_text_is_the_one_that_was_chosen_in_either_order(session: Session, tmp_path: Path) -> None:
    """Through the real path: whoever picks the challenger's text on the screen finds it preferred here."""
    batch = make_study(session, tmp_path, prompts=8).batch
    vote(session, batch, {number: [SECOND if number % 2 else FIRST] for number in range(8)})
    close(session, batch)
    for row in found(session, batch).rows:
        view = opened(session, batch, row.id)
        (cast,) = view.cast
        shown_b = {view.first.name: view.second.name, view.second.name: view.first.name}[cast.shown_as_a]
        assert cast.preferred == row.preferred == {"a": cast.shown_as_a, "b": shown_b}[cast.choice]
        author = view.second if row.preferred == view.second.name else view.first
        assert author.text.startswith("Member 1" if author is view.second else "Member 0")
        assert (view.second.name, view.first.name) == ("brie-v1/epoch-2", "tiny")


@pytest.mark.parametrize(("outcome", "challenger", "baseline"), [(FIRST, 1, 2), (SECOND, 3, 0)])
def test_between_two_challengers_a_challenger_is_preferred_whoever_wins(
    session: Session, tmp_path: Path, outcome: Outcome, challenger: int, baseline: int
) -> None:
    study = make_study(session, tmp_path, prompts=1, challengers=2, design=Design.ROUND_ROBIN, allow_repeats=True)
    vote(session, study.batch, {0: [outcome]})
    batch = close(session, study.batch)
    counts = found(session, batch).counts
    assert (counts[PairOutcome.CHALLENGER], counts[PairOutcome.BASELINE]) == (challenger, baseline)
    for adapter in study.adapters:
        rows = found(session, batch, challenger=adapter.id).rows
        assert len(rows) == 2
        assert all(adapter.name in (row.first.name, row.second.name) for row in rows)
        assert all(row.preferred == (row.first.name if outcome is FIRST else row.second.name) for row in rows)


# ----------------------------------------------------------------------------------------- search and order


@pytest.fixture
def library(session: Session, tmp_path: Path) -> EvalBatch:
    """Texts that are hard to search for."""
    asked = ['Say "hello" to Über-Käse', "Is 100% more_than enough?", "One\nafter the other", "Plain"]
    rows = [prompt_row(number, prompt=prompt) for number, prompt in enumerate(asked)]
    said = [
        ("A RIVER runs", "nothing"),
        ("50% of it", "50 of it"),
        ("under_score", "underXscore"),
        ("Søren", "back\\slash"),
    ]

    def text(member: int, planned: Planned) -> str:
        return said[asked.index(question(planned))][member]

    return close(session, make_study(session, tmp_path, prompts=rows, text=text).batch)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('"hello"', [0]),
        ("HELLO", [0]),
        ("Über-Käse", [0]),
        ("river", [0]),
        ("NOTHING", [0]),
        ("%", [1]),
        ("0% of", [1]),
        ("_", [1, 2]),
        ("r_s", [2]),
        ("one\nafter", [2]),
        ("Søren", [3]),
        ("\\", [3]),
        ("role", []),
        ("content", []),
        ("it nothing", []),
        ("runs hello", [0]),  # one word in the text, the other in the prompt
        ("50 enough", [1]),
        ('"50 of it"', [1]),
        ('"50 it"', []),
        ('more "', []),
        ("'; drop table pair; --", []),
    ],
)
def test_search_looks_in_prompts_and_in_both_responses(
    session: Session, library: EvalBatch, text: str, expected: list[int]
) -> None:
    order = {row.id: place for place, row in enumerate(found(session, library).rows)}
    assert [order[row.id] for row in found(session, library, text=text).rows] == expected


def test_search_looks_in_what_voters_said(session: Session, tmp_path: Path) -> None:
    batch = make_study(session, tmp_path, prompts=3).batch
    rater, rng = make_rater(session, "ines"), random.Random(4)  # noqa: S311
    for reason in ("Drier than a biscuit", "warm"):
        ballot = assignment.issue(session, batch.id, rater, rules=RULES, now=NOW, rng=rng)
        assert ballot is not None
        voting.cast(session, ballot.id, rater, Choice.A, rules=RULES, now=NOW, reason=reason)
    close(session, batch)
    assert len(found(session, batch, text="biscuit").rows) == 1
    assert len(found(session, batch, text="BISCUIT member question drier").rows) == 1
    assert found(session, batch, text="biscuit warm").rows == ()


@on_sqlite
@pytest.mark.parametrize(("text", "expected"), [("über-käse", 1), ("ÜBER-KÄSE", 1), ("SØREN", 1), ("soren", 0)])
def test_search_knows_the_capitals_of_every_letter(
    session: Session, library: EvalBatch, text: str, expected: int
) -> None:
    """On Postgres the locale of the database decides this."""
    assert found(session, library, text=text).window.matching == expected


def test_filters_meet(session: Session, mixed: EvalBatch) -> None:
    assert prompts(found(session, mixed, category="category_1")) == [2, 3]
    assert prompts(found(session, mixed, domain=Domain.OUT_OF_DOMAIN)) == [1, 3, 5, 7, 9]
    assert prompts(found(session, mixed, category="category_1", domain=Domain.OUT_OF_DOMAIN)) == [3]
    assert prompts(found(session, mixed, category="category_1", outcome=PairOutcome.NO_VOTE)) == []
    assert found(session, mixed).categories == tuple(f"category_{number}" for number in range(5))


def test_most_disagreement_comes_first(session: Session, mixed: EvalBatch) -> None:
    """By the variance of 1, ½ and 0: three ways apart, two to one, two and a tie; then by how many voted."""
    assert prompts(found(session, mixed, sort=PairSort.DISAGREEMENT)) == [1, 4, 2, 0, 3, 5, 6, 7, 8, 9]


def test_the_biggest_difference_in_length_comes_first(session: Session, tmp_path: Path) -> None:
    text = by_number({0: ("a", "bb"), 1: ("x" * 900, "y"), 2: ("y", "x" * 30), 3: ("aa", "bb")})
    batch = close(session, make_study(session, tmp_path, prompts=4, text=text).batch)
    assert prompts(found(session, batch, sort=PairSort.LENGTH)) == [1, 2, 0, 3]


@pytest.mark.parametrize(
    ("length", "expected"), [(None, [0, 1, 2, 3, 4]), (PairLength.ALIKE, [0, 3]), (PairLength.TWICE, [2, 4])]
)
def test_pairs_can_be_asked_for_by_how_far_their_lengths_are_apart(
    session: Session, tmp_path: Path, length: PairLength | None, expected: list[int]
) -> None:
    sizes = {0: (100, 120), 1: (121, 100), 2: (50, 100), 3: (7, 7), 4: (0, 3)}
    text = by_number({number: ("x" * one, "y" * other) for number, (one, other) in sizes.items()})
    batch = close(session, make_study(session, tmp_path, prompts=5, text=text).batch)
    assert prompts(found(session, batch, length=length)) == expected


# ------------------------------------------------------------------------------------------------- the pages


@on_sqlite
@pytest.mark.parametrize("count", [1, 13, 25, 26, 60])
def test_pages_show_every_pair_once(session: Session, tmp_path: Path, count: int) -> None:
    batch = close(session, make_study(session, tmp_path, prompts=count).batch)
    pages = -(-count // PAGE)
    seen = []
    for page in range(1, pages + 1):
        shown = found(session, batch, page)
        assert shown.window == Window("", page, count, count, PAGE)
        seen += prompts(shown)
    assert seen == list(range(count))
    assert found(session, batch, 99).window.page == pages


@on_sqlite
def test_a_batch_without_pairs_and_a_filter_without_any(session: Session, tmp_path: Path, mixed: EvalBatch) -> None:
    nothing = found(session, mixed, text="not in any text")
    assert (nothing.rows, nothing.window) == ((), Window("not in any text", 1, 0, 10, PAGE))
    plan = eval_batches.LaunchPlan(suite="suite", challengers=("brie-v1/epoch-2",), seed=9)
    empty = found(session, close(session, eval_batches.launch(session, plan, secret=RULES.secret, now=NOW)))
    assert (empty.rows, empty.window) == ((), Window("", 1, 0, 0, PAGE))


@pytest.mark.parametrize("sort", PairSort)
def test_neighbours_follow_the_order_and_the_filter(session: Session, mixed: EvalBatch, sort: PairSort) -> None:
    wanted = {"outcome": PairOutcome.DISAGREE, "sort": sort}
    ids = [row.id for row in found(session, mixed, **wanted).rows]
    assert len(ids) == 3
    for place, id_ in enumerate(ids):
        at = opened(session, mixed, id_, **wanted).neighbours
        assert (at.place, at.of, at.page) == (place + 1, 3, 1)
        assert at.previous == (ids[place - 1] if place else None)
        assert at.following == (ids[place + 1] if place < 2 else None)
    outside = found(session, mixed, outcome=PairOutcome.NO_VOTE).rows[0].id
    at = opened(session, mixed, outside, **wanted).neighbours
    assert (at.place, at.previous, at.following, at.page) == (0, None, None, 1)


def test_only_the_beginnings_of_texts_leave_the_database(session: Session, tmp_path: Path) -> None:
    long = "\n\t  The beginning. " + "word " * 40_000
    text = by_number({0: (long, "x" * 188_880), 1: ("  ", "text")})
    batch = close(session, make_study(session, tmp_path, prompts=2, text=text).batch)
    session.expunge_all()
    one, two = found(session, batch).rows
    assert not [kept for kept in session.identity_map.values() if isinstance(kept, Response)]
    assert one.first.text.startswith("The beginning. word word")
    assert one.first.text.endswith("word…")
    assert (one.first.length, one.second.length) == (len(long), 188_880)
    assert one.second.text == "x" * (len(one.second.text) - 1) + "…"
    assert max(len(one.first.text), len(one.second.text)) < 250
    assert (two.first.text, two.first.length, two.settled) == ("", 2, Settled.EMPTY_FIRST)


# --------------------------------------------------------------------------------------------------- one pair


def test_one_pair_says_who_wrote_what_and_how(session: Session, tmp_path: Path) -> None:
    study = make_study(session, tmp_path, prompts=1, system_prompt="Be brief.", replicates=2)
    batch, adapter = close(session, study.batch), study.adapters[0]
    second = session.scalars(select(Response).where(Response.checkpoint_id == adapter.id)).all()
    for response in second:
        response.finish_reason = FinishReason.LENGTH
    view = opened(session, batch, found(session, batch).rows[1].id)
    assert [(turn.role, turn.content) for turn in view.prompt] == [
        ("system", "Be brief."), ("user", "Question number 0?"),
    ]  # fmt: skip
    assert (view.key, view.replicate, view.outcome) == ("key-0", 1, PairOutcome.NO_VOTE)
    assert (view.second.cut, view.first.cut) == (True, False)
    assert view.second.text == "Member 1 on “Question number 0?”, take 1."
    assert (view.second.words, view.second.token_count, view.second.empty) == (8, 7, False)
    assert view.second.fingerprint == adapter.fingerprint
    assert view.second.seed in {response.seed for response in second}
    lineage = view.second.checkpoint
    assert (lineage.checkpoint.run_name, lineage.dataset, lineage.checkpoint.base_model) == (
        "brie-v1",
        "lessons v1",
        "tiny",
    )
    assert view.first.checkpoint.checkpoint.run_id is None
    assert found(session, batch).rows[1].second.cut


def test_every_verdict_is_listed_and_those_outside_of_n_are_marked(session: Session, tmp_path: Path) -> None:
    batch = make_study(session, tmp_path, prompts=1, votes_per_pair=3).batch
    one, two, script = (make_rater(session, name) for name in ("one", "two", "script"))
    script.simulated = True
    rng = random.Random(1)  # noqa: S311

    def show(voter: Voter, now: Any = NOW) -> Ballot:
        ballot = assignment.issue(session, batch.id, voter, rules=RULES, now=now, rng=rng)
        assert ballot is not None
        return ballot

    taken_back = show(one)
    voting.cast(session, taken_back.id, one, Choice.A, rules=RULES, now=NOW)
    voting.undo(session, taken_back.id, one, rules=RULES, now=NOW)
    voting.cast(session, show(one).id, one, Choice.BOTH_BAD, rules=RULES, now=NOW + RULES.grace, reason="neither")
    late = show(two)
    show(script, NOW + 2 * RULES.lease)  # two's lease is over
    voting.cast(session, late.id, two, Choice.B, rules=RULES, now=NOW + 2 * RULES.lease)
    voting.cast(session, show(script).id, script, Choice.TIE, rules=RULES, now=NOW + 3 * RULES.lease)
    view = opened(session, close(session, batch), pairs_of(session, batch)[0].id)
    assert [(v.voter, v.choice, v.retracted, v.surplus, v.simulated, v.reason) for v in view.cast] == [
        ("one", Choice.A, True, False, False, ""),
        ("one", Choice.BOTH_BAD, False, False, False, "neither"),
        ("two", Choice.B, False, True, False, ""),
        ("script", Choice.TIE, False, False, True, ""),
    ]
    assert (view.votes.n, view.votes.ties, view.votes.both_bad) == (2, 2, 1)
    assert view.cast[2].seconds == (2 * RULES.lease).total_seconds()
