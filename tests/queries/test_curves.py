"""The database cuts curves into few places and loses no spike; a window is one of steps or of tokens."""

import math
import random
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import delete
from sqlalchemy.orm import Session

from app.domain.curves import MOST_PLACES
from app.domain.terms import Axis, Split
from app.models import Run, RunMetric
from app.queries.curves import RunCurves, View, curves
from app.services import runs
from app.services.runs import Metric
from tests.factories import NOW, make_base, make_run


@pytest.fixture
def run(session: Session, tmp_path: Path) -> Run:
    make_base(session, tmp_path)
    return make_run(session, tmp_path)


def train(session: Session, run: Run, losses: list[float], *, tokens: int | None = 10) -> None:
    """Training losses from step 1 on; each step sees this many tokens."""
    told = [
        Metric(Split.TRAIN, step, 0.1, loss, 1e-4 * step, 50.0, tokens and tokens * step, 1000 + step)
        for step, loss in enumerate(losses, 1)
    ]
    runs.record(session, run, told, now=NOW)
    session.flush()


def of(session: Session, run: Run, view: View = View(), last: int = 0) -> RunCurves:  # noqa: B008 (frozen)
    return curves(session, [run.id], view, last=last).by_run[run.id]


def test_few_steps_are_given_as_they_are(session: Session, run: Run) -> None:
    train(session, run, [3.0, 2.5, 2.75])
    runs.record(session, run, [Metric(Split.VALIDATION, 0, 0.0, 3.25), Metric(Split.VALIDATION, 3, 0.1, 2.5)], now=NOW)
    session.flush()
    found = of(session, run)
    assert [(place.x, place.mean) for place in found.train] == [(1, 3.0), (2, 2.5), (3, 2.75)]
    assert all(place.low == place.mean == place.high for place in found.train)
    assert [(place.x, place.mean) for place in found.validation] == [(0, 3.25), (3, 2.5)]
    assert [place.mean for place in found.learning_rate] == pytest.approx([1e-4, 2e-4, 3e-4])
    assert [place.mean for place in found.memory_bytes] == [1001, 1002, 1003]


def test_many_steps_become_few_places_and_a_spike_survives(session: Session, run: Run) -> None:
    rng = random.Random(3)  # noqa: S311
    losses = [2.0 + rng.random() for _ in range(4000)]
    losses[1234] = 9.0
    train(session, run, losses)
    shown = curves(session, [run.id], View())
    places = shown.by_run[run.id].train
    assert len(places) <= MOST_PLACES
    assert max(place.high for place in places) == 9.0
    assert min(place.low for place in places) == min(losses)
    mean = sum(losses) / len(losses)
    assert abs(sum(place.mean for place in places) / len(places) - mean) < 0.02
    close = curves(session, [run.id], View(first=1200, last=1300))
    assert close.bucket == 1
    assert [place.mean for place in close.by_run[run.id].train] == losses[1199:1300]


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.floats(-10, 10), min_size=1, max_size=700), st.data())
def test_every_place_holds_its_steps_and_no_other(
    session: Session, run: Run, losses: list[float], data: st.DataObject
) -> None:
    session.execute(delete(RunMetric))
    train(session, run, losses)
    first = data.draw(st.integers(0, len(losses) - 1))
    last = data.draw(st.integers(first + 1, len(losses)))
    shown = curves(session, [run.id], View(first=first, last=last))
    inside = {step: loss for step, loss in enumerate(losses, 1) if first <= step <= last}
    cut: dict[int, list[float]] = {}
    for step, loss in inside.items():
        cut.setdefault((step - first) // shown.bucket, []).append(loss)
    places = shown.by_run[run.id].train
    assert [(place.low, place.high) for place in places] == [(min(one), max(one)) for one in cut.values()]
    assert [place.mean for place in places] == pytest.approx([sum(one) / len(one) for one in cut.values()])


def test_what_is_infinite_has_no_place(session: Session, run: Run) -> None:
    train(session, run, [3.0, math.inf, 2.0])
    assert [place.mean for place in of(session, run).train] == [3.0, 2.0]


def test_a_window_of_tokens(session: Session, run: Run) -> None:
    train(session, run, [float(step) for step in range(1, 21)], tokens=100)
    shown = curves(session, [run.id], View(Axis.TOKENS, 450, 900))
    places = shown.by_run[run.id].train
    assert {place.x // 100 for place in places} == {5, 6, 7, 8, 9}
    assert (shown.extent.last, shown.window.first, shown.window.last) == (2000, 450, 900)


def test_a_run_that_counted_no_tokens_has_no_line_over_them(session: Session, run: Run) -> None:
    train(session, run, [3.0, 2.0], tokens=None)
    assert of(session, run, View(Axis.TOKENS)).train == ()
    assert len(of(session, run).train) == 2


@pytest.mark.parametrize(("first", "last", "asked"), [(9, 4, "9 and 4"), (500, None, "500 and 20"), (7, 7, "7 and 7")])
def test_a_window_that_holds_nothing_shows_everything_and_says_so(
    session: Session, run: Run, first: int, last: int | None, asked: str
) -> None:
    train(session, run, [2.0] * 20)
    shown = curves(session, [run.id], View(first=first, last=last))
    assert shown.said == f"There is nothing to draw between {asked} steps: all of it is shown."
    assert (shown.view.is_whole, len(shown.by_run[run.id].train)) == (True, 20)


def test_the_axis_goes_on_to_the_last_step_that_is_planned(session: Session, run: Run) -> None:
    assert curves(session, [run.id], View(), last=50).window.last == 50
    train(session, run, [2.0] * 20)
    shown = curves(session, [run.id], View(), last=5000)
    assert (shown.extent.last, shown.bucket) == (5000, 1)
