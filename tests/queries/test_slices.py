"""Slices looked at together: the ranges widen with their number, and only what still leaves out one half is named."""

import random
from pathlib import Path

import pytest
from sqlalchemy.orm import Session

from app.domain.multiplicity import simultaneous_live
from app.domain.terms import Choice
from app.models import EvalBatch
from app.queries.ballots import BlindBallot
from app.queries.report import report
from app.queries.results import results_page
from app.queries.slices import slices
from tests.factories import make_rater, make_study, prompt_row, vote_blind

EACH = 24


@pytest.fixture
def batch(session: Session, tmp_path: Path) -> EvalBatch:
    """Two categories in two domains; the challenger always wins in the one and never for sure in the other."""
    rows = [
        prompt_row(
            number, category="sure" if number < EACH else "open",
            domain="in_domain" if number < EACH else "out_of_domain",
        )
        for number in range(2 * EACH)
    ]  # fmt: skip
    batch = make_study(session, tmp_path, prompts=rows).batch
    rng = random.Random(3)  # noqa: S311

    def pick(ballot: BlindBallot) -> Choice:
        number = int("".join(letter for letter in ballot.prompt[-1].content if letter.isdigit()))
        challenger_is_a = ballot.text_a.startswith("Member 1")
        wins = number <= EACH or rng.random() < 0.5
        return Choice.A if challenger_is_a is wins else Choice.B

    vote_blind(session, batch, make_rater(session), pick, rng=rng)
    return batch


def test_ranges_widen_with_the_number_of_slices(session: Session, batch: EvalBatch) -> None:
    page = results_page(session, batch.id)
    found = slices(page)
    (matchup,) = page.matchups
    cells = [*matchup.domains, *matchup.categories]
    assert [row.label for row in found.rows] == [cell.label for cell in cells]
    assert [row.live for row in found.rows] == simultaneous_live([cell.summary for cell in cells])
    for row, cell in zip(found.rows, cells, strict=True):
        assert row.live is not None
        assert cell.live is not None
        assert row.live.low < cell.live.low
        assert row.live.high >= cell.live.high


def test_only_what_stands_out_among_all_is_named(session: Session, batch: EvalBatch) -> None:
    found = slices(results_page(session, batch.id))
    named = {row.label for row in found.rows if row.stands_out}
    assert "sure" in named
    assert "open" not in named
    assert "sure" in found.sentence
    assert "open" not in found.sentence
    told = report(session, batch.id)["slices"]
    assert (told["n"], told["sentence"]) == (4, found.sentence)
    p_values = {row["slice"]: row["holm_p"] for row in told["rows"]}
    assert p_values["sure"] < 0.05 < p_values["open"]


def test_of_many_that_stand_out_it_is_said_how_many_they_are(session: Session, tmp_path: Path) -> None:
    rows = [prompt_row(number, category=f"kind {number % 9}", domain="in_domain") for number in range(9 * EACH)]
    batch = make_study(session, tmp_path, prompts=rows).batch
    rng = random.Random(3)  # noqa: S311
    pick = {True: Choice.A, False: Choice.B}
    vote_blind(session, batch, make_rater(session), lambda one: pick[one.text_a.startswith("Member 1")], rng=rng)
    found = slices(results_page(session, batch.id))
    assert all(row.stands_out for row in found.rows)
    assert found.sentence.endswith("Looked at all together, 9 of them differ from 50%.")


def test_a_suite_of_one_category_has_no_slices(session: Session, tmp_path: Path) -> None:
    rows = [prompt_row(number, category="one", domain="in_domain") for number in range(4)]
    found = slices(results_page(session, make_study(session, tmp_path, prompts=rows).batch.id))
    assert (found.rows, found.sentence) == ((), "")
