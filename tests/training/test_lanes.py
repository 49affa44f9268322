"""Lanes share a batch out, tell everything that they made, and leave torch's threads as they were."""

import threading
from collections.abc import Iterator
from itertools import count

import pytest
import torch

from training.lanes import Lanes, share_out, side_by_side

CPU = torch.device("cpu")


@pytest.fixture
def cores() -> Iterator[None]:
    """Four threads for torch, as on a machine with four cores."""
    before = torch.get_num_threads()
    torch.set_num_threads(4)
    yield
    torch.set_num_threads(before)


@pytest.mark.usefixtures("cores")
@pytest.mark.parametrize(
    ("rows", "lanes"),
    [
        (0, Lanes(1, rows=0, threads=4)),
        (1, Lanes(1, rows=1, threads=4)),
        (15, Lanes(1, rows=15, threads=4)),
        (17, Lanes(2, rows=9, threads=2)),
        (24, Lanes(3, rows=8, threads=1)),
        (64, Lanes(4, rows=16, threads=1)),
        (1000, Lanes(4, rows=250, threads=1)),
    ],
)
def test_a_batch_has_a_lane_for_each_core_that_has_rows_enough(rows: int, lanes: Lanes) -> None:
    assert share_out(rows, CPU) == lanes
    assert share_out(rows, torch.device("cuda")) == Lanes(1, rows=rows, threads=4)


@pytest.mark.usefixtures("cores")
def test_lanes_run_at_the_same_time_with_the_threads_that_they_were_given() -> None:
    both = threading.Barrier(2, timeout=60)  # breaks if one lane waits for the other's end

    def lane(name: str) -> Iterator[tuple[str, int, int]]:
        for step in range(3):
            both.wait()
            yield name, step, torch.get_num_threads()

    came = list(side_by_side([lane("a"), lane("b")], threads=2))
    for name in ("a", "b"):
        assert [one for one in came if one[0] == name] == [(name, step, 2) for step in range(3)]
    assert torch.get_num_threads() == 4
    seen: list[int] = []
    later = threading.Thread(target=lambda: seen.append(torch.get_num_threads()))
    later.start()
    later.join()
    assert seen == [4]


@pytest.mark.usefixtures("cores")
def test_an_error_of_one_lane_is_raised_and_ends_the_others() -> None:
    def endless() -> Iterator[int]:
        yield from count()

    def broken() -> Iterator[int]:
        yield -1
        raise ValueError("this lane broke")

    with pytest.raises(ValueError, match="this lane broke"):
        list(side_by_side([endless(), broken()], threads=1))
    assert torch.get_num_threads() == 4


def test_lanes_end_when_nobody_listens_any_more() -> None:
    ended = threading.Event()

    def endless() -> Iterator[int]:
        try:
            yield from count()
        finally:
            ended.set()

    came = side_by_side([endless()], threads=1)
    assert next(came) == 0
    came.close()
    assert ended.wait(60)
