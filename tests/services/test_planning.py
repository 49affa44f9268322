"""What a launch would ask for and cost, before anything is there: never less than it then does."""

from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from app.domain.errors import BadInputError
from app.domain.sampling import Sampling
from app.domain.terms import Design, ProviderKind
from app.models import EvalBatch
from app.services import eval_batches, planning
from app.services.eval_batches import LaunchPlan
from app.services.planning import Planned
from app.services.projection import project
from tests.factories import NOW, RULES, Study, make_adapter, make_base, make_study, make_suite, write_responses
from tests.judged import OPUS, a_judge

TOKENS = 50


def text(position: int, planned: Any) -> str:
    """As long as so many tokens of English."""
    return f"{'word' * (TOKENS - 10)} {position} {planned.seed}"


@pytest.fixture
def study(session: Session, tmp_path: Path) -> Study:
    return make_study(session, tmp_path, prompts=6, text=text)


def wanted(**changed: Any) -> LaunchPlan:
    given: dict[str, Any] = {"suite": "suite", "challengers": ("brie-v1/epoch-2",)}
    return LaunchPlan(**given | {"sampling": Sampling(max_new_tokens=TOKENS)} | changed)


def planned(session: Session, *judges: Any, **changed: Any) -> Planned:
    return planning.plan(session, wanted(**changed), judges=judges, now=NOW)


def test_it_counts_what_the_launch_then_asks_for(session: Session, study: Study) -> None:
    plan = {"replicates": 2, "votes_per_pair": 3, "placebo_pairs": 2, "seed": 9}
    found = planned(session, **plan).view
    batch = eval_batches.launch(session, wanted(**plan), secret=RULES.secret, now=NOW)
    assert (found.pairs, found.responses) == (batch.planned_pairs, batch.planned_responses)
    assert found.votes == 3 * (batch.planned_pairs + 2)
    assert found.seconds == 30 * found.votes
    assert [(group.label, group.prompts, group.votes) for group in found.groups] == [
        ("all prompts", 6, 36), ("in-domain", 3, 18), ("out-of-domain", 3, 18),
    ]  # fmt: skip


def test_in_a_round_robin_challengers_also_meet_each_other(session: Session, study: Study, tmp_path: Path) -> None:
    other = make_adapter(session, tmp_path, name="brie-v2").name
    two = ("brie-v1/epoch-2", other)
    judge = a_judge(session)
    star = planned(session, judge, challengers=two)
    robin = planned(session, judge, challengers=two, design=Design.ROUND_ROBIN)
    assert (star.view.pairs, robin.view.pairs) == (12, 18)
    assert (star.costs[0].cost.pairs, robin.costs[0].cost.pairs) == (12, 18)
    assert "at least 2 people" in " ".join(star.view.warnings)


@pytest.mark.parametrize("in_batches", [False, True])
def test_a_judge_costs_no_more_than_planned(session: Session, study: Study, in_batches: bool) -> None:
    judge = a_judge(session, "opus", OPUS)
    before = planning.plan(session, wanted(seed=5), judges=[judge], in_batches=in_batches, now=NOW)
    batch = eval_batches.launch(session, wanted(seed=5), secret=RULES.secret, now=NOW)
    write_responses(session, batch, text)
    after = project(session, batch, judge, in_batches=in_batches, now=NOW)
    cost = before.costs[0].cost
    assert (cost.pairs, cost.calls, cost.table) == (after.pairs, after.calls, after.table)
    assert cost.worst is not None
    assert after.worst is not None
    assert cost.expected is not None
    assert after.worst < cost.worst
    assert cost.expected == pytest.approx(after.expected, rel=0.05), "by the responses that are there"
    assert "as long as those that these checkpoints wrote so far" in before.lengths


def test_before_any_response_the_longest_is_expected(session: Session, tmp_path: Path) -> None:
    make_base(session, tmp_path)
    make_adapter(session, tmp_path)
    make_suite(session, tmp_path)
    judge = a_judge(session)
    short, long = (planned(session, judge, sampling=Sampling(max_new_tokens=tokens)) for tokens in (50, 500))
    assert "takes every response to be as long as allowed, 500 tokens at most" in long.lengths
    assert short.costs[0].cost.expected < long.costs[0].cost.expected
    assert short.costs[0].cost.worst < long.costs[0].cost.worst


def test_a_judge_without_a_price_has_none_and_an_imported_one_is_refused(session: Session, study: Study) -> None:
    local = a_judge(session, "local", "llama3", provider=ProviderKind.OPENAI_COMPATIBLE, base_url="http://l/v1")
    found = planned(session, local).costs[0]
    assert (found.cost.calls, found.cost.expected, found.cost.worst) == (12, None, None)
    local.provider = ProviderKind.IMPORTED
    with pytest.raises(BadInputError, match="can be asked nothing"):
        planned(session, local)


def test_planning_stores_nothing(session: Session, study: Study) -> None:
    planned(session, a_judge(session))
    assert not session.dirty
    assert session.scalar(select(func.count(EvalBatch.id))) == 1
