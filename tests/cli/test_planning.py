"""A plan from the terminal: in sentences, as data, and refused with a reason."""

import json
from pathlib import Path

import pytest

from app.db import Database
from app.domain.power import smallest
from tests.command_line import Command
from tests.factories import make_study
from tests.judged import a_judge

GROUP = {"label", "prompts", "votes", "smallest_win_rate", "told", "missed", "chances"}
TARGET = {"win_rate", "chance", "prompts", "votes", "seconds", "prompts_read_once", "votes_read_once"}
JUDGE = {
    "judge", "model", "simulated", "in_batches", "pairs", "calls", "expected_micro_dollars", "worst_micro_dollars",
    "price_table",
}  # fmt: skip
PLAN = ("batches", "plan", "--suite", "suite", "--challenger", "brie-v1/epoch-2")


@pytest.fixture(autouse=True)
def study(database: Database, tmp_path: Path) -> None:
    with database.session_scope() as session:
        make_study(session, tmp_path, prompts=40)
        a_judge(session)


def test_a_plan_in_sentences(arena: Command) -> None:
    found = arena(*PLAN, "--votes", "2", "--judge", "haiku", "--seconds", "60")
    assert found.code == 0
    assert (
        "40 prompts, 40 pairs, 80 responses, 80 votes. At 60 seconds each, voting takes people about 1 h 20"
        in found.out
    )
    assert f"tell a true win rate of {smallest(40, 2):.0%} or more" in found.out
    assert "on the 20 in-domain prompts would be missed" in found.out
    assert "haiku: about $0.0" in found.out
    assert "for at most 80 calls on 40 pairs, by genai-prices" in found.out
    assert "no response is there yet" in found.out


def test_a_plan_as_data(arena: Command) -> None:
    found = json.loads(arena(*PLAN, "--judge", "haiku", "--in-batches", "--json").out)
    assert found.keys() == {
        "prompts", "pairs", "responses", "votes", "votes_per_prompt", "seconds", "warnings", "groups", "targets",
        "assumptions", "judges", "lengths",
    }  # fmt: skip
    assert [group["label"] for group in found["groups"]] == ["all prompts", "in-domain", "out-of-domain"]
    assert all(group.keys() == GROUP for group in found["groups"])
    assert [target["win_rate"] for target in found["targets"]] == [0.6, 0.7, 0.8]
    assert all(target.keys() == TARGET for target in found["targets"])
    assert found["groups"][0]["smallest_win_rate"] == smallest(40, 1)
    (judge,) = found["judges"]
    assert judge.keys() == JUDGE
    assert 0 < judge["expected_micro_dollars"] < judge["worst_micro_dollars"]


@pytest.mark.parametrize(
    ("more", "reason"),
    [
        (("--replicates", "0"), "replicates must lie between 1 and 100, not 0"),
        (("--votes", "1000"), "votes per pair must lie between 1 and 100"),
        (("--seconds", "0"), "A vote takes between 1 and 3600 seconds, not 0"),
        (("--judge", "nobody"), "nobody"),
        (("--challenger", "absent"), "There is no checkpoint 'absent'"),
        (("--max-new-tokens", "0"), "max new tokens must lie between 1 and 8192"),
    ],
)
def test_what_cannot_be_planned_is_refused_with_a_reason(arena: Command, more: tuple[str, ...], reason: str) -> None:
    found = arena(*PLAN, *more)
    assert (found.code, reason in found.err) == (1, True), found.err
