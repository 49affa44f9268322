from collections import Counter
from pathlib import Path

import pytest
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from app.domain.terms import Design, FinishReason, Settled
from app.models import Checkpoint, EvalBatch, Event, Pair, Response, Tally
from app.models.response import RESPONSE_KEY
from app.services import responses
from app.services.eval_batches import LaunchPlan, Sampling, launch
from app.services.responses import Generated, Planned
from tests.factories import (
    ENGINE,
    NOW,
    RULES,
    make_adapter,
    make_base,
    make_study,
    make_suite,
    pairs_of,
    plain_text,
    prompt_row,
    write_responses,
)
from tests.fixtures import on_sqlite


def launched(session: Session, folder: Path, **plan: object) -> EvalBatch:
    make_suite(session, folder)
    make_base(session, folder)
    make_adapter(session, folder)
    return launch(
        session, LaunchPlan(suite="suite", challengers=("brie-v1/epoch-2",), **plan), secret=RULES.secret, now=NOW
    )


def count(session: Session, table: type) -> int:
    return session.scalar(select(func.count()).select_from(table)) or 0


def keys(plan: list[Planned]) -> set[tuple[object, ...]]:
    return {tuple(planned.key[name] for name in RESPONSE_KEY) for planned in plan}


def test_the_plan_names_every_response_once_and_always_the_same(session: Session, tmp_path: Path) -> None:
    batch = launched(session, tmp_path, replicates=2, system_prompt="Be brief.")
    plan = responses.plan_of(session, batch)
    assert len(plan) == len(keys(plan)) == len({planned.seed for planned in plan}) == batch.planned_responses == 16
    assert responses.plan_of(session, batch) == plan
    assert {tuple(planned.messages[0].items()) for planned in plan} == {(("role", "system"), ("content", "Be brief."))}
    # Prompt by prompt, so that the first pair is whole after two responses.
    assert [(p.prompt_id, p.replicate) for p in plan[:2]] == [(plan[0].prompt_id, 0)] * 2
    assert plan[0].checkpoint_id == batch.baseline_id


@on_sqlite
@pytest.mark.parametrize(
    "changed", [{"seed": 2}, {"system_prompt": "Be kind."}, {"sampling": Sampling(temperature=1.0)}]
)
def test_whatever_decides_a_text_is_in_its_key(session: Session, tmp_path: Path, changed: dict[str, object]) -> None:
    batch = launched(session, tmp_path)
    other = launch(
        session, LaunchPlan(suite="suite", challengers=("brie-v1/epoch-2",), **changed), secret=RULES.secret, now=NOW
    )
    assert keys(responses.plan_of(session, batch)).isdisjoint(keys(responses.plan_of(session, other)))


def test_a_later_batch_reuses_what_is_there(session: Session, tmp_path: Path) -> None:
    batch = launched(session, tmp_path)
    write_responses(session, batch)
    again = launch(session, LaunchPlan(suite="suite", challengers=("brie-v1/epoch-2",)), secret=RULES.secret, now=NOW)
    plan = responses.plan_of(session, again)
    assert responses.stored(session, plan).keys() == {planned.seed for planned in plan}
    assert responses.form_pairs(session, again, plan, secret=RULES.secret, now=NOW) == 4
    assert (count(session, Response), count(session, Pair)) == (8, 8)


def test_storing_twice_keeps_the_first_text(session: Session, tmp_path: Path) -> None:
    batch = launched(session, tmp_path)
    plan = responses.plan_of(session, batch)
    for text in ("first", "second"):
        written = [Generated(planned, text, 1, FinishReason.LENGTH) for planned in plan]
        responses.store(session, batch, written, engine=ENGINE, now=NOW)
    assert count(session, Response) == 8
    assert set(session.scalars(select(Response.text))) == {"first"}


def test_a_null_character_does_not_stop_the_batch(session: Session, tmp_path: Path) -> None:
    batch = launched(session, tmp_path)
    write_responses(session, batch, lambda position, _: f"a\0b {position}")
    assert set(session.scalars(select(Response.text))) == {"a\ufffdb 0", "a\ufffdb 1"}


def test_pairs_form_as_soon_as_both_texts_are_there_and_only_once(session: Session, tmp_path: Path) -> None:
    batch = launched(session, tmp_path)
    plan = responses.plan_of(session, batch)
    for done, pairs in ((1, 0), (3, 1), (8, 3), (8, 0)):
        written = [Generated(p, plain_text(i % 2, p), 1, FinishReason.STOP) for i, p in enumerate(plan[:done])]
        responses.store(session, batch, written, engine=ENGINE, now=NOW)
        assert responses.form_pairs(session, batch, plan, secret=RULES.secret, now=NOW) == pairs
    assert (count(session, Pair), count(session, Tally)) == (4, 4)
    announced = [event for event in session.scalars(select(Event)) if event.topic == "pairs"]
    assert len(announced) == 3, "one for the launch and one each time that pairs are new"


def test_the_baseline_is_first_and_the_texts_are_those_of_their_checkpoints(session: Session, tmp_path: Path) -> None:
    study = make_study(session, tmp_path, replicates=2)
    for pair in pairs_of(session, study.batch):
        first, second = (session.get_one(Response, id_) for id_ in (pair.first_response_id, pair.second_response_id))
        assert (pair.first_id, pair.second_id) == (study.batch.baseline_id, study.adapters[0].id)
        assert (first.checkpoint_id, second.checkpoint_id) == (pair.first_id, pair.second_id)
        assert first.text.startswith("Member 0 ")
        assert second.text == first.text.replace("Member 0", "Member 1")


@on_sqlite
def test_between_two_challengers_the_smaller_fingerprint_is_first(session: Session, tmp_path: Path) -> None:
    study = make_study(session, tmp_path, challengers=3, design=Design.ROUND_ROBIN)
    prints = dict(session.execute(select(Checkpoint.id, Checkpoint.fingerprint)).all())
    among = [p for p in pairs_of(session, study.batch) if p.first_id != study.batch.baseline_id]
    assert len(among) == 12
    assert all(prints[pair.first_id] < prints[pair.second_id] for pair in among)
    meetings = Counter(frozenset((pair.first_id, pair.second_id)) for pair in pairs_of(session, study.batch))
    assert set(meetings.values()) == {4}
    assert len(meetings) == 6


SETTLED = {
    "different": ("one", "two", None),
    "identical": ("same", "same", Settled.IDENTICAL),
    "empty baseline": (" \n", "two", Settled.EMPTY_FIRST),
    "empty challenger": ("one", "", Settled.EMPTY_SECOND),
    "both empty": ("", "\t", Settled.BOTH_EMPTY),
}


@on_sqlite
@pytest.mark.parametrize(("first", "second", "settled"), SETTLED.values(), ids=SETTLED)
def test_pairs_that_need_no_voter_are_settled_at_once(
    session: Session, tmp_path: Path, first: str, second: str, settled: Settled | None
) -> None:
    study = make_study(session, tmp_path, prompts=[prompt_row(0)], text=lambda member, _: (first, second)[member])
    assert [pair.settled for pair in pairs_of(session, study.batch)] == [settled]
