"""Rows of a batch shared out to lanes, each on a thread of its own, on a CPU.

A step of a small model is hundreds of short products, and the threads that share one wait for each other after every
one of them. Lanes have nothing to wait for. They read the same weights, so a lane needs enough rows to be worth its
reading, and Python runs one of them at a time between the products, so many lanes would wait for that.

Measured on two cores, SmolLM2-135M with three adapters in float32, prompts of 70 tokens, 40 new tokens, tokens a second
of all rows:

    rows    one lane, two threads    two lanes, one thread each
    16                         89                           102
    32                         97                           158
    64                        101                           181
"""

from collections.abc import Generator, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from queue import SimpleQueue
from threading import Event
from typing import TypeVar

import torch

T = TypeVar("T")

LANE_ROWS = 8
"""With fewer, reading the weights takes longer than computing with them."""
MOST_LANES = 4
"""Python's own part of a step is about a sixth."""


@dataclass(frozen=True, slots=True)
class Lanes:
    """How a batch is shared out."""

    count: int
    rows: int
    """Of each lane, at most."""
    threads: int
    """Of each lane."""


def share_out(rows: int, device: torch.device) -> Lanes:
    """The lanes of a batch of so many rows: several on a CPU with cores for them, else one."""
    cores = torch.get_num_threads()
    count = max(1, min(MOST_LANES, cores, rows // LANE_ROWS)) if device.type == "cpu" else 1
    return Lanes(count, rows=-(-rows // count), threads=max(1, cores // count))


def side_by_side(lanes: Sequence[Iterator[T]], threads: int) -> Generator[T, None, None]:
    """What several iterators give, as it comes, each run by a thread of its own with so many threads of torch.

    Closing it ends the threads after what they have in hand, and so does an error.

    Raises:
        Exception: what one of them raised.
    """
    came: SimpleQueue[T | Future[None]] = SimpleQueue()
    left = Event()

    def run(lane: Iterator[T]) -> None:
        for one in lane:
            came.put(one)
            if left.is_set():
                return

    before = torch.get_num_threads()
    with ThreadPoolExecutor(len(lanes), "lane", torch.set_num_threads, (threads,)) as pool:
        try:
            for lane in lanes:
                pool.submit(run, lane).add_done_callback(came.put)
            running = len(lanes)
            while running:
                one = came.get()
                if isinstance(one, Future):
                    running -= 1
                    one.result()
                else:
                    yield one
        finally:
            left.set()
            torch.set_num_threads(before)  # threads that begin later take the number that was set last
