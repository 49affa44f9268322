"""The benches of numbers on tiny sizes: not how fast or how often, but that what is wrong is seen."""

import json
from pathlib import Path

import pytest
from sqlalchemy import select, update

from app.bench.arena import settings_for
from app.bench.calibration import Calibrated, Looked, Misses, Size, looked, run_studies
from app.bench.million import make_many
from app.bench.stats import differences
from app.bench.strengths import StrengthsMeasured
from app.bench.told import calibration_sentence, strengths_sentence
from app.db import Database, migrate
from app.models import Tally
from app.queries import statistics as reading
from app.services import snapshots
from tests.command_line import Command
from tests.factories import NOW

TINY = ("--verdicts", 400, "--checkpoints", 3, "--prompts", 10)


@pytest.mark.parametrize("database", ["sqlite", "postgres"])
def test_results_of_many_verdicts_are_told_with_the_strengths(
    command: Command, request: pytest.FixtureRequest, database: str
) -> None:
    server = ["--database-url", request.getfixturevalue("postgres_server")] if database == "postgres" else []
    said = command("bench", "stats", *TINY, "--database", database, *server, "--json")
    assert (said.code, said.err) == (0, "")
    told = json.loads(said.out)
    [run] = told["runs"]
    assert run["database"].startswith(database)
    assert (run["pairs"], run["differences"], run["holds"]) == (20, [], True)
    assert [step["verdicts"] for step in run["steps"]] == [40, 400]
    strengths = told["bradley_terry"]
    assert (strengths["verdicts"], strengths["cells"], strengths["holds"]) == (400, 30, True)
    assert strengths["furthest_apart"] < 1e-4  # evalica comes to the same strengths


def test_the_figures_of_statistics_are_printed_with_a_sentence(command: Command) -> None:
    said = command("bench", "stats", *TINY)
    assert said.code == 0
    assert "live page ms" in said.out
    assert "sqlite: 20 pairs, tallies, votes and snapshot tell the same." in said.out


def test_numbers_that_do_not_fit_are_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "MOST_READ", 0)  # so few votes are read from a snapshot too
    settings = settings_for(tmp_path, "")
    migrate(settings.database)
    many = make_many(settings, checkpoints=2, prompts=10, verdicts=100)
    assert (many.verdicts, many.stored, many.pairs) == (100, 100, 10)
    database = Database.at(settings.database)
    with database.session_scope() as session:
        name = f"{many.name}/checkpoint-01"
        assert differences(session, many.batch_id) == [f"the snapshot has no votes of {name}"]
        snapshots.keep(session, snapshots.count(session, many.batch_id), now=NOW)
        assert differences(session, many.batch_id) == []
        pair = session.scalars(select(Tally.pair_id).where(Tally.first > 0, Tally.second > 0).limit(1)).one()
        session.execute(
            update(Tally).where(Tally.pair_id == pair).values(first=Tally.first - 1, second=Tally.second + 1)
        )
        session.expire_all()
        [told] = differences(session, many.batch_id)
        assert told.startswith(f"{name} wins (")
        session.execute(update(Tally).where(Tally.pair_id == pair).values(first=Tally.first + 1))
        session.expire_all()
        [told] = differences(session, many.batch_id)
        assert told == f"{name} has 100 votes by the snapshot and 101 by the tallies"
    database.engine.dispose()


def test_a_machine_without_evalica_is_told_so() -> None:
    alone = StrengthsMeasured(400, 3, 30, 0.5, 0.6, None, None)
    assert alone.holds
    assert (alone.times_faster, alone.times_faster_counted) == (None, None)
    assert "evalica is not installed here" in strengths_sentence(alone)


def test_strengths_that_differ_do_not_hold() -> None:
    assert not StrengthsMeasured(400, 3, 30, 0.5, 0.6, 9.0, 0.01).holds


def test_studies_go_through_votes_judge_and_report() -> None:
    size = Size(prompts=8, replicates=1, votes_per_pair=3, raters=2, votes=16)
    found = run_studies(range(2), size=size, seed=1)
    assert [(one.votes, one.looks) for one in found] == [(16, 2), (16, 2)]
    assert all(0.3 <= one.truth <= 0.7 for one in found)
    assert len({one.truth for one in found}) == 2
    assert all(0 <= one.weight <= 1 for one in found)


def test_studies_are_counted_over_processes(command: Command) -> None:
    said = command("bench", "calibration", "--studies", 2, "--processes", 2, "--json")
    assert (said.code, said.err) == (0, "")
    told = json.loads(said.out)
    assert (told["studies"], told["processes"], told["votes"], told["looks"]) == (2, 2, 100, 10)
    assert [told[what]["studies"] for what in ("live_ever", "fixed", "combined")] == [2, 2, 2]


def look(live: list[float] | None, fixed: list[float] | None, combined: list[float] | None = None) -> dict[str, object]:
    """One matchup as the report tells it."""
    return {
        "raters": {"all": {"live": live, "fixed": fixed, "win_rate": 0.5}},
        "judges": {"all": {"win_rate": 0.6}},
        "combined": combined and {"all": {"live": combined, "fixed": combined}, "lambda": 0.4},
    }


def test_a_live_interval_misses_at_any_look_and_a_fixed_one_at_the_last() -> None:
    around, above = [0.4, 0.7], [0.6, 0.8]
    found = looked(0.5, 30, [look(None, None), look(above, above, above), look(around, around, around)])
    assert (found.live_missed, found.fixed_missed) == (True, False)
    assert (found.combined_live_missed, found.combined_missed) == (True, False)
    found = looked(0.5, 20, [look(around, around), look(around, above, above)])
    assert (found.live_missed, found.fixed_missed, found.combined_missed) == (False, True, True)
    nothing = looked(0.5, 10, [look(None, None)])
    assert (nothing.live_missed, nothing.fixed_missed, nothing.combined_missed) == (False, True, True)


def studies(live: int, fixed: int, combined: int) -> Calibrated:
    """400 studies of which so many missed."""
    return Calibrated(
        tuple(
            Looked(
                truth=0.5, votes=50, looks=5, live_missed=n < live, fixed_missed=n < fixed,
                combined_missed=n < combined, combined_live_missed=False, weight=0.3, judged=0.65, said=0.5,
            )
            for n in range(400)
        ),
        Size(), seconds=1.0, processes=1,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("missed", "holds"),
    [
        ((0, 16, 14), True),
        ((25, 30, 30), True),  # a little more than is wanted, but not beyond chance
        ((40, 16, 14), False),
        ((0, 45, 14), False),
        ((0, 16, 45), False),
    ],
)
def test_a_bound_is_broken_when_chance_does_not_explain_it(missed: tuple[int, int, int], holds: bool) -> None:
    found = studies(*missed)
    assert found.holds is holds
    assert found.as_json()["fixed"]["missed"] == missed[1]
    assert f"ever missed the truth in {missed[0]} of 400" in calibration_sentence(found)


def test_misses_come_with_their_own_interval() -> None:
    low, high = Misses(16, 400).interval
    assert (low, high) == (pytest.approx(0.0230, abs=1e-4), pytest.approx(0.0641, abs=1e-4))
