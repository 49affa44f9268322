"""Which comparisons are shown: all, those of one checkpoint, one alone; few in full and many as lines."""

import random
import uuid
from pathlib import Path

import pytest
from sqlalchemy.orm import Session

from app.domain.errors import NotFoundError
from app.domain.terms import Design
from app.models import EvalBatch
from app.queries.crowd import MOST_IN_FULL, Shown, Wanted, sentences_of, shown_of
from app.queries.results import results_page
from app.services import eval_batches, simulation
from app.services.checkpoints import register_adapter
from app.services.eval_batches import LaunchPlan
from app.services.simulation import Taste
from tests.factories import (
    NOW,
    RULES,
    make_base,
    make_run,
    make_study,
    make_suite,
    saved_adapter,
    sha256,
    write_responses,
)
from tests.fixtures import on_sqlite

pytestmark = on_sqlite


def steps_of_one_run(session: Session, folder: Path, steps: int, design: Design = Design.STAR) -> EvalBatch:
    """An eval batch of so many checkpoints of one run, and their base."""
    make_base(session, folder)
    suite = make_suite(session, folder, 5)
    run = make_run(session, folder, name="long")
    names = [
        register_adapter(session, run, saved_adapter(sha256(f"{step}"), label=f"step-{step}", step=step), now=NOW).name
        for step in range(1, steps + 1)
    ]
    plan = LaunchPlan(suite=suite.name, challengers=tuple(names), allow_repeats=True, design=design)
    batch = eval_batches.launch(session, plan, secret=RULES.secret, now=NOW)
    write_responses(session, batch)
    return batch


def shown(session: Session, batch: EvalBatch, *asked: uuid.UUID) -> Shown:
    return shown_of(results_page(session, batch.id), Wanted(*asked))


def test_few_comparisons_are_shown_in_full(session: Session, tmp_path: Path) -> None:
    batch = make_study(session, tmp_path, challengers=2, allow_repeats=True).batch
    found = shown(session, batch)
    assert (found.is_all, found.is_crowded, found.sentence, found.lines) == (True, False, "", ())
    assert sentences_of(found.page) == tuple(one.sentence for one in found.page.matchups)


def test_what_all_names_begin_with_is_left_out_of_the_lines(session: Session, tmp_path: Path) -> None:
    batch = steps_of_one_run(session, tmp_path, MOST_IN_FULL + 1)
    found = shown(session, batch)
    assert (found.is_crowded, found.prefix) == (True, "long/")
    assert [line.label for line in found.lines] == [f"step-{step}" for step in range(1, MOST_IN_FULL + 2)]
    assert sentences_of(found.page) == (found.sentence,) == ("All 7 challengers are without a vote.",)


def test_names_of_several_runs_stand_whole(session: Session, tmp_path: Path) -> None:
    batch = make_study(session, tmp_path, prompts=2, challengers=MOST_IN_FULL + 1, allow_repeats=True).batch
    found = shown(session, batch)
    assert found.prefix == ""
    assert [line.label for line in found.lines] == [one.second for one in found.page.matchups]


def test_a_round_robin_is_narrowed_to_one_checkpoint_and_to_two(session: Session, tmp_path: Path) -> None:
    batch = steps_of_one_run(session, tmp_path, 4, Design.ROUND_ROBIN)
    whole = shown(session, batch)
    assert (whole.of, whole.sentence) == (10, "All 10 comparisons are without a vote.")
    assert {line.label for line in whole.lines} >= {"step-1 against tiny", "step-2 against step-1"}
    one = whole.page.matchups[-1]
    of_one = shown(session, batch, one.second_id)
    assert (len(of_one.page.matchups), of_one.of, of_one.is_all, of_one.is_crowded) == (4, 10, False, False)
    assert all(one.second_id in (met.first_id, met.second_id) for met in of_one.page.matchups)
    for pair in ((one.first_id, one.second_id), (one.second_id, one.first_id)):
        assert [met.sentence for met in shown(session, batch, *pair).page.matchups] == [one.sentence]
    with pytest.raises(NotFoundError, match="do not meet"):
        shown(session, batch, one.second_id, uuid.uuid4())


def test_a_sentence_with_simulated_votes_says_so(session: Session, tmp_path: Path) -> None:
    batch = steps_of_one_run(session, tmp_path, MOST_IN_FULL + 1)
    rng, taste = random.Random(1), Taste(rate=0.9)  # noqa: S311
    [voter] = simulation.begin(session, batch, raters=1, now=NOW)
    rates = simulation.tastes_of(session, batch, taste, rng)
    assert simulation.vote_once(session, batch.id, voter, taste, rates, rules=RULES, now=NOW, rng=rng)
    assert shown(session, batch).sentence.startswith("With simulated votes: ")
