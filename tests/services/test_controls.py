import json
import random
from collections import Counter
from pathlib import Path

import pytest
from sqlalchemy import select
from sqlalchemy.orm import Session

from app.config import DATA
from app.domain.errors import ArenaError, BadInputError, BadRowError, NotFoundError
from app.domain.names import CANARY, GOLD
from app.domain.sampling import Sampling
from app.domain.terms import CheckpointKind, Choice, Order, PairKind, VoterKind
from app.models import Ballot, Checkpoint, EvalBatch, Pair, Response, Suite, Tally, Voter
from app.queries.batches import batch_page, control_pairs, launch_page
from app.queries.checkpoints import checkpoint_page, checkpoint_rows, checkpoints_page
from app.queries.lookup import find_checkpoint, find_suite
from app.queries.report import report
from app.queries.seals import pair_seal
from app.queries.suites import suite_page, suite_rows, suites_page
from app.services import assignment
from app.services.controls import CANARY_PHRASE, import_controls
from app.services.eval_batches import LaunchPlan, launch
from app.services.suites import edit_suite, import_suite
from tests.factories import (
    NOW,
    RULES,
    import_control_pairs,
    make_adapter,
    make_base,
    make_rater,
    make_study,
    make_suite,
    pairs_of,
    vote_blind,
    write_rows,
)
from tests.fixtures import on_sqlite

OWN = {
    "key": "one",
    "category": "everyday",
    "domain": "out_of_domain",
    "prompt": "One?",
    "better": "Yes.",
    "worse": "Egg.",
}


def dice() -> random.Random:
    return random.Random(5)  # noqa: S311


def kinds(session: Session, batch: EvalBatch) -> Counter[PairKind]:
    return Counter(pair.kind for pair in pairs_of(session, batch))


def test_gold_and_canary_pairs_form_at_launch_and_are_sealed(session: Session, tmp_path: Path) -> None:
    batch = make_study(session, tmp_path, gold_pairs=5, canary_pairs=3).batch
    assert kinds(session, batch) == {PairKind.MAIN: 4, PairKind.GOLD: 5, PairKind.CANARY: 3}
    for pair in pairs_of(session, batch):
        assert pair.seal == pair_seal(session, pair, RULES.secret)
        assert pair.self_identifies is False
        if pair.kind is PairKind.MAIN:
            continue
        names = [session.get_one(Checkpoint, id_).name for id_ in (pair.first_id, pair.second_id)]
        suite = GOLD if pair.kind is PairKind.GOLD else CANARY
        assert names == [f"control/{suite}@1/worse", f"control/{suite}@1/better"]
        texts = [session.get_one(Response, id_) for id_ in (pair.first_response_id, pair.second_response_id)]
        assert [text.checkpoint_id for text in texts] == [pair.first_id, pair.second_id]
        if pair.kind is PairKind.CANARY:
            assert [CANARY_PHRASE in text.text for text in texts] == [False, True]
        voters = session.scalars(select(Tally.voter_kind).where(Tally.pair_id == pair.id)).all()
        assert voters == [VoterKind.RATER if pair.kind is PairKind.GOLD else VoterKind.SCRIPT]


@on_sqlite
def test_the_batch_seed_draws_the_control_pairs(session: Session, tmp_path: Path) -> None:
    one = make_study(session, tmp_path, gold_pairs=6).batch

    def again(seed: int) -> set[object]:
        plan = LaunchPlan(suite="suite", challengers=("brie-v1/epoch-2",), gold_pairs=6, seed=seed)
        batch = launch(session, plan, secret=RULES.secret, now=NOW)
        return {pair.prompt_id for pair in pairs_of(session, batch) if pair.kind is PairKind.GOLD}

    first = {pair.prompt_id for pair in pairs_of(session, one) if pair.kind is PairKind.GOLD}
    assert again(one.seed) == first
    assert again(one.seed + 1) != first


def test_control_checkpoints_and_suites_are_in_no_list_and_compete_nowhere(session: Session, tmp_path: Path) -> None:
    study = make_study(session, tmp_path, gold_pairs=1)
    control = session.scalars(select(Checkpoint).where(Checkpoint.kind == CheckpointKind.CONTROL)).first()
    suite = session.scalars(select(Suite).where(Suite.name == GOLD)).one()
    assert control is not None
    offered = launch_page(session)
    for rows in (checkpoint_rows(session), checkpoints_page(session).rows, offered.checkpoints):
        assert {row.name for row in rows} == {"tiny", "brie-v1/epoch-2"}
    for suites in (suite_rows(session), suites_page(session).rows, offered.suites):
        assert {row.name for row in suites} == {"suite"}
    assert (checkpoints_page(session).window.total, suites_page(session).window.total) == (2, 1)
    assert (offered.gold, offered.canary) == (24, 8)
    for find in (
        lambda: find_checkpoint(session, control.name),
        lambda: find_checkpoint(session, control.fingerprint),
        lambda: find_suite(session, GOLD),
        lambda: checkpoint_page(session, control.id),
        lambda: suite_page(session, suite.id),
    ):
        with pytest.raises(NotFoundError, match="There is no"):
            find()
    assert "control/" not in json.dumps(report(session, study.batch.id))


@on_sqlite
def test_a_changed_file_is_the_next_version_and_the_shipped_one_does_not_come_back_on_top(
    session: Session, tmp_path: Path
) -> None:
    import_control_pairs(session)
    mine = import_controls(session, write_rows(tmp_path / "mine.jsonl", [OWN]), now=NOW)
    assert (mine.name, mine.version, control_pairs(session, GOLD)) == (GOLD, 2, 1)
    import_control_pairs(session)
    assert control_pairs(session, GOLD) == 1
    path = tmp_path / "again.jsonl"
    path.write_text("\n" + json.dumps(OWN, indent=None, separators=(",", ":")) + "\n", encoding="utf-8")
    assert import_controls(session, path, now=NOW).id == mine.id
    other = import_controls(session, write_rows(path, [OWN | {"worse": "Ham."}]), now=NOW)  # the same prompt
    assert other.version == 3
    prints = session.scalars(select(Checkpoint.fingerprint).where(Checkpoint.kind == CheckpointKind.CONTROL)).all()
    assert len(prints) == len(set(prints)) == 2 * 4


@on_sqlite
@pytest.mark.parametrize(
    ("row", "name", "reason"),
    [
        (OWN | {"better": " "}, GOLD, '"better" must be a text'),
        (OWN | {"better": "Egg. "}, GOLD, "are the same"),
        (OWN, CANARY, "must stand in the better text"),
        (OWN, "suite", "not as 'suite'"),
    ],
    ids=str,
)
def test_a_pair_that_cannot_be_used_is_named(
    session: Session, tmp_path: Path, row: dict[str, str], name: str, reason: str
) -> None:
    with pytest.raises((BadRowError, BadInputError), match=reason):
        import_controls(session, write_rows(tmp_path / "mine.jsonl", [row]), now=NOW, name=name)


@on_sqlite
def test_the_names_of_control_suites_are_kept(session: Session, tmp_path: Path) -> None:
    with pytest.raises(BadInputError, match="arena controls import"):
        import_suite(session, write_rows(tmp_path / "brie-gold.jsonl", [OWN]), now=NOW)
    import_control_pairs(session)
    suite = session.scalars(select(Suite).where(Suite.name == GOLD)).one()
    with pytest.raises(ArenaError, match="change its file"):
        edit_suite(session, suite, [OWN], title="", description="", now=NOW)


def test_a_placebo_pair_is_the_baseline_with_itself_on_noise_of_its_own(session: Session, tmp_path: Path) -> None:
    study = make_study(session, tmp_path, prompts=6, placebo_pairs=3, replicates=2)
    batch = study.batch
    assert kinds(session, batch) == {PairKind.MAIN: 12, PairKind.PLACEBO: 3}
    assert (batch.planned_pairs, batch.planned_responses) == (12, 2 * 12 + 2 * 3)
    for pair in (pair for pair in pairs_of(session, batch) if pair.kind is PairKind.PLACEBO):
        first, second = (session.get_one(Response, id_) for id_ in (pair.first_response_id, pair.second_response_id))
        assert pair.first_id == pair.second_id == batch.baseline_id
        assert (pair.replicate, pair.settled, first.twin, second.twin) == (2, None, 0, 1)
        assert first.seed != second.seed
        assert first.text != second.text
    page = batch_page(session, batch.id)
    assert (page.responses, page.batch.pairs, page.batch.planned_pairs) == (30, 12, 12)
    assert (page.check_pairs, page.planned_check_pairs) == (3, 3)


def test_main_texts_never_stand_in_a_placebo_pair(session: Session, tmp_path: Path) -> None:
    batch = make_study(session, tmp_path, prompts=5, placebo_pairs=5).batch
    found = pairs_of(session, batch)
    main, placebo = (
        {id_ for pair in found if pair.kind is kind for id_ in (pair.first_response_id, pair.second_response_id)}
        for kind in (PairKind.MAIN, PairKind.PLACEBO)
    )
    assert (len(main), len(placebo), main & placebo) == (10, 10, set())


@on_sqlite
@pytest.mark.parametrize(
    ("plan", "reason"),
    [
        ({"placebo_pairs": 5}, "5 placebo pairs need as many prompts, and the suite has 4"),
        ({"placebo_pairs": 1, "sampling": Sampling(temperature=0)}, "at temperature 0"),
        ({"gold_pairs": 25}, "25 gold pairs were asked for, and 24 are here"),
        ({"canary_pairs": 9}, "9 canary pairs were asked for, and 8 are here"),
        ({"repeat_pairs": 5}, "5 pairs cannot be shown again, the plan has 4"),
        ({"gold_pairs": -1}, "gold pairs must lie between"),
        ({"placebo_pairs": -1}, "placebo pairs must lie between"),
        ({"rater_limit": 0}, "rater limit must lie between"),
        ({"vote_limit": 0}, "vote limit must lie between"),
        ({"exclusion": {"gold_min": 0.7}}, "looks at votes on gold pairs from 4 on, and the plan shows a rater none"),
        ({"exclusion": {"gold_min": 0.7}, "gold_pairs": 1}, "from 4 on, and the plan shows a rater at most 2"),
        ({"exclusion": {"agreement_min": 0.7}, "repeat_pairs": 3}, "looks at pairs shown again from 4 on"),
        ({"exclusion": {"fast_max": 1.2}}, "Nothing was launched. The rule .* fast_max says how many votes"),
        ({"exclusion": {"gold_votes": 3}, "gold_pairs": 2}, "Give gold_min as well"),
        ({"exclusion": {"mood": 3}}, "no part 'mood'"),
    ],
    ids=str,
)
def test_a_plan_of_checks_that_makes_no_sense_says_why(
    session: Session, tmp_path: Path, plan: dict[str, object], reason: str
) -> None:
    import_control_pairs(session)
    make_suite(session, tmp_path)
    make_base(session, tmp_path)
    make_adapter(session, tmp_path)
    with pytest.raises(BadInputError, match=reason):
        launch(
            session, LaunchPlan(suite="suite", challengers=("brie-v1/epoch-2",), **plan), secret=RULES.secret, now=NOW
        )
    assert session.scalars(select(EvalBatch)).all() == []


def test_a_rater_meets_gold_in_both_orders_and_no_canary(session: Session, tmp_path: Path) -> None:
    batch = make_study(session, tmp_path, prompts=12, gold_pairs=2, canary_pairs=2, placebo_pairs=2).batch
    assert vote_blind(session, batch, make_rater(session), lambda _: Choice.A, rng=dice()) == 12 + 2 + 2 * 2
    shown = session.execute(
        select(Pair.kind, Pair.id, Ballot.order).join(Ballot, Ballot.pair_id == Pair.id).order_by(Pair.id)
    ).all()
    assert PairKind.CANARY not in {row.kind for row in shown}
    gold: dict[object, set[Order]] = {}
    for row in shown:
        if row.kind is PairKind.GOLD:
            gold.setdefault(row.id, set()).add(row.order)
    assert set(map(frozenset, gold.values())) == {frozenset(Order)}


def test_the_script_meets_nothing_but_canaries(session: Session, tmp_path: Path) -> None:
    batch = make_study(session, tmp_path, gold_pairs=2, canary_pairs=2, placebo_pairs=2).batch
    script = Voter(kind=VoterKind.SCRIPT, name="script", created_at=NOW)
    session.add(script)
    session.flush()
    assert vote_blind(session, batch, script, lambda _: Choice.A, rng=dice()) == 2 * 2
    shown = session.scalars(select(Pair.kind).join(Ballot, Ballot.pair_id == Pair.id)).all()
    assert set(shown) == {PairKind.CANARY}


@on_sqlite
def test_gold_does_not_come_before_there_is_anything_else(session: Session, tmp_path: Path) -> None:
    """Alone, it would announce itself."""
    make_suite(session, tmp_path)
    make_base(session, tmp_path)
    make_adapter(session, tmp_path)
    import_control_pairs(session)
    plan = LaunchPlan(suite="suite", challengers=("brie-v1/epoch-2",), gold_pairs=3)
    batch = launch(session, plan, secret=RULES.secret, now=NOW)
    assert assignment.issue(session, batch.id, make_rater(session), rules=RULES, now=NOW, rng=dice()) is None


def test_the_shipped_pairs_are_of_like_length_and_all_different() -> None:
    for name in (GOLD, CANARY):
        path = DATA / "controls" / f"{name.removeprefix('brie-')}.jsonl"
        rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()][1:]
        for row in rows:
            assert 0.75 <= len(row["worse"].split()) / len(row["better"].split()) <= 1.33, row["key"]
        texts = [text for row in rows for text in (row["prompt"], row["better"], row["worse"])]
        assert len(texts) == len(set(texts))
