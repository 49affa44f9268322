"""Where curves are drawn, and where the links around them lead."""

import uuid
from dataclasses import replace
from itertools import pairwise
from urllib.parse import parse_qs, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain.curves import Place
from app.domain.terms import Axis
from app.queries.curves import Curves, Extent, RunCurves, View
from app.web.curves import Series, address_of, curve_plot, run_series, smooth, told_apart, ways

RUN = uuid.uuid4()


def places(*values: tuple[float, float]) -> tuple[Place, ...]:
    return tuple(Place(x, y, y, y) for x, y in values)


def test_lines_share_one_axis_and_lower_values_are_lower_on_the_page() -> None:
    train, validation = places((1, 4.0), (10, 2.0)), places((5, 3.0), (10, 2.5))
    series = [Series("train", "", train), Series("validation", "", validation, dots=True)]
    drawn = curve_plot(series, Extent(0, 10), height=200)
    assert drawn is not None
    assert drawn.lines[0].path == "M10 0 L100 200"
    assert drawn.lines[0].dots == ()
    assert drawn.lines[1].dots == ((50.0, 100.0), (100.0, 150.0))
    assert [tick.label for tick in drawn.y_ticks] == ["2", "2.5", "3", "3.5", "4"]


def test_the_y_axis_fits_what_lies_in_the_window() -> None:
    drawn = curve_plot([Series("train", "", places((50, 2.0), (60, 2.1)))], Extent(50, 60))
    assert drawn is not None
    assert (drawn.y_ticks[0].label, drawn.y_ticks[-1].label) == ("2", "2.1")
    assert drawn.lines[0].path.startswith("M0 ")


def test_without_a_place_there_is_nothing_to_draw() -> None:
    assert curve_plot([], Extent(0, 10)) is None
    assert curve_plot([Series("train", "", ())], Extent(0, 10)) is None
    assert curve_plot([Series("train", "", places((1, 0.0)))], Extent(0, 10), log=True) is None


def test_one_place_is_a_dot_inside_of_the_box() -> None:
    drawn = curve_plot([Series("train", "", places((0, 2.5)))], Extent(0, 0))
    assert drawn is not None
    ((x, y),) = drawn.lines[0].dots
    assert 0 <= x <= 100
    assert 0 <= y <= drawn.height


def test_a_spike_stays_in_the_picture_when_its_place_is_a_mean() -> None:
    spiked = (Place(5, 2.0, 1.9, 2.1), Place(15, 2.1, 1.9, 9.0))
    drawn = curve_plot([Series("train", "", spiked, band=True)], Extent(0, 20), height=100)
    assert drawn is not None
    assert float(drawn.y_ticks[-1].label) >= 9
    assert drawn.lines[0].band == "M25 79 L75 10 L75 81 L25 81 Z"
    without = curve_plot([Series("train", "", spiked)], Extent(0, 20))
    assert without is not None
    assert (without.lines[0].band, float(without.y_ticks[-1].label) < 9) == ("", True)


positive = st.floats(1e-6, 1e6)


@given(positive, positive)
def test_a_log_axis_encloses_its_values(one: float, other: float) -> None:
    low, high = sorted((one, other))
    drawn = curve_plot([Series("train", "", places((0, low), (10, high)))], Extent(0, 10), log=True, height=100)
    assert drawn is not None
    assert -0.5 <= drawn.lines[0].end[1] <= 100.5
    heights = [tick.at for tick in drawn.y_ticks]
    assert heights == sorted(heights, reverse=True)
    assert 2 <= len(heights) <= 14


def test_equal_factors_are_equally_far_apart_on_a_log_axis() -> None:
    drawn = curve_plot(
        [Series("train", "", places((0, 1.0), (5, 10.0), (10, 100.0)), dots=True)], Extent(0, 10), log=True, height=100
    )
    assert drawn is not None
    assert [y for _, y in drawn.lines[0].dots] == [100.0, 50.0, 0.0]


@given(st.lists(st.floats(1, 5), min_size=2, max_size=8))
def test_no_number_at_the_end_of_a_line_covers_another(ends: list[float]) -> None:
    series = [Series(f"run-{n}", "", places((0, 3.0), (10, end)), number=n) for n, end in enumerate(ends, 1)]
    drawn = curve_plot(series, Extent(0, 10))
    assert drawn is not None
    labels = sorted(line.label_y for line in drawn.lines)
    assert all(below - above >= 14.9 for above, below in pairwise(labels))


def test_the_smooth_line_has_the_same_places() -> None:
    rough = places(*((float(step), float(step % 2)) for step in range(60)))
    even = smooth(rough)
    assert [one.x for one in even] == [one.x for one in rough]
    assert max(one.mean for one in even[20:]) < 0.8


def shown(view: View, window: Extent, extent: Extent = Extent(0, 100)) -> Curves:  # noqa: B008 (frozen)
    return Curves(view, extent, window, 1, {RUN: RunCurves()})


def window_of(address: str) -> tuple[int | None, int | None]:
    asked = parse_qs(urlsplit(address).query)
    first, last = (int(asked[name][0]) if name in asked else None for name in ("from", "to"))
    return first, last


def test_links_lead_closer_wider_and_to_both_sides() -> None:
    found = ways(shown(View(first=40, last=60), Extent(40, 60)), "/runs/x")
    assert [window_of(way) for way in (found.closer, found.wider, found.earlier, found.later)] == [
        (45, 55), (30, 70), (30, 50), (50, 70),
    ]  # fmt: skip
    assert found.whole == "/runs/x"


def test_there_is_no_way_beyond_the_ends() -> None:
    found = ways(shown(View(), Extent(0, 100)), "/runs/x")
    assert (found.wider, found.earlier, found.later, found.whole) == ("", "", "", "")
    assert window_of(found.closer) == (25, 75)
    assert ways(shown(View(first=2, last=5), Extent(2, 5)), "/runs/x").closer == ""
    nearly = ways(shown(View(first=10, last=90), Extent(10, 90)), "/runs/x")
    assert (nearly.wider, window_of(nearly.earlier)) == ("/runs/x", (0, 80))


def test_an_address_keeps_what_was_chosen() -> None:
    view = View(Axis.TOKENS, 5, 9, log=True)
    assert address_of("/a", view, [("run", "1"), ("run", "2")]) == "/a?run=1&run=2&by=tokens&scale=log&from=5&to=9"
    found = ways(shown(view, Extent(5, 9)), "/a", [("run", "1")])
    assert found.linear == "/a?run=1&by=tokens&from=5&to=9"
    assert (found.log, found.tokens) == ("", "")
    assert found.steps == "/a?run=1&scale=log"  # a window of tokens is none of steps


def test_a_run_has_four_charts() -> None:
    one = RunCurves(places((1, 2.0)), memory_bytes=places((1, 2e9)))
    series = run_series(replace(shown(View(), Extent(0, 1)), by_run={RUN: one}))
    assert series.keys() == {"loss", "rate", "speed", "memory"}
    assert series["memory"][0].places[0].mean == pytest.approx(2.0)


@pytest.mark.parametrize(
    ("names", "shorts"),
    [
        (["brie-v2-r8", "brie-v2-r16"], ["r8", "r16"]),
        (["brie-v2", "brie-v2-r16"], ["v2", "v2-r16"]),
        (["one", "other"], ["one", "other"]),
        (["brie-v2-r8"], ["brie-v2-r8"]),
        (["a-very-long-name-of-a-run", "b"], ["a-very-long…", "b"]),
        (["run-", "run-x"], ["run-", "x"]),
    ],
)
def test_names_at_the_ends_of_lines_are_what_tells_them_apart(names: list[str], shorts: list[str]) -> None:
    assert told_apart(names) == shorts


@pytest.mark.parametrize(
    ("window", "labels"),
    [
        (Extent(0, 4000), ["0", "1000", "2000", "3000", "4000"]),
        (Extent(0, 40_000), ["0", "10k", "20k", "30k", "40k"]),
        (Extent(0, 2_000_000), ["0", "500k", "1M", "1.5M", "2M"]),
    ],
)
def test_large_numbers_on_an_axis_are_short(window: Extent, labels: list[str]) -> None:
    drawn = curve_plot([Series("rate", "", places((0, 1e-4), (window.last, 2e-4)))], window)
    assert drawn is not None
    assert [tick.label for tick in drawn.x_ticks] == labels
    assert drawn.y_ticks[0].label == "1e-4"
