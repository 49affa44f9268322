"""One run on several devices under ``torchrun``: each process holds the base and learns from a share of every step.

torchrun --nproc_per_node 2 -m training.sft recipe.toml --base FOLDER --train FILE --validation FILE --out FOLDER

The rows of a step are the same as on one device, only dealt out, and the loss is taken over all its tokens: so the
update is the same but for rounding. Summed between the processes are the gradients of the adapter, as one buffer.
"""

import hashlib
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import timedelta
from enum import IntEnum
from typing import Any, TypeVar

import torch
from torch import distributed

from training import memory
from training.base import pick_device
from training.data import Row
from training.errors import BaseModelError, Cancelled, PeerLostError, ResumeError
from training.schedule import Window

Made = TypeVar("Made")
WAIT = timedelta(minutes=30)
"""For another process, which may be writing a large checkpoint to a slow disk."""
SEED_STEP = 1_000_003
"""Between the seeds of dropout of two processes."""


class Word(IntEnum):
    """What a process has to say before the next pass; of several the highest counts for all."""

    GO_ON = 0
    OUT_OF_MEMORY = 1
    STOP = 2


class AgreedOutOfMemoryError(RuntimeError):
    """Memory ran out in one process, and all processes know it."""


class Peers:
    """The processes of one run, as seen by one of them. Alone, every method gives back what it was given.

    Every method that speaks to the others is called by all of them in the same order, and raises ``PeerLostError``
    where one is gone.
    """

    def __init__(self, rank: int = 0, count: int = 1) -> None:
        self.rank = rank
        self.count = count

    @property
    def is_first(self) -> bool:
        """Whether this is the one that writes and reports."""
        return self.rank == 0

    @property
    def label(self) -> str:
        """What its messages begin with, so that one can tell whose they are."""
        return "" if self.count == 1 else f"process {self.rank + 1} of {self.count}: "

    @property
    def identity(self) -> dict[str, int]:
        """What of it must stay the same for a run to go on bit for bit."""
        return {} if self.count == 1 else {"processes": self.count}

    def spread(self, window: Window) -> Window:
        """The same rows in at least as many micro-batches as there are processes, as far as there are rows."""
        largest = max(len(batch) for batch in window.batches)
        while len(window.batches) < self.count and largest > 1:
            largest = -(-largest // 2)
            window = window.cut(largest)
        return window

    def share(self, batches: Sequence[Sequence[Row]]) -> list[int | None]:
        """Places of the batches that this process takes, for each round one; None where it has nothing left to do.

        The largest first, always to the process with the least to do, so that none waits long for another.
        """
        if self.count == 1:
            return list(range(len(batches)))
        sizes = [len(batch) * max(len(row.ids) for row in batch) for batch in batches]
        dealt: list[list[int | None]] = [[] for _ in range(self.count)]
        loads = [0] * self.count
        for place in sorted(range(len(batches)), key=lambda one: (-sizes[one], one)):
            taker = loads.index(min(loads))
            dealt[taker].append(place)
            loads[taker] += sizes[place]
        rounds = max(map(len, dealt))
        mine = dealt[self.rank]
        return [*mine, *[None] * (rounds - len(mine))]

    def seed_dropout(self, seed: int) -> None:
        """Let each process drop other inputs; the first draws what it would draw alone."""
        if not self.is_first:
            torch.manual_seed((seed + self.rank * SEED_STEP) % 2**63)

    def agree(self, word: Word) -> Word:
        """The highest word that any process says."""
        return Word(round(self._reduce([float(word)], distributed.ReduceOp.MAX)[0])) if self.count > 1 else word

    def any(self, asked: bool) -> bool:  # noqa: FBT001 - reads as the question it is
        """Whether it is so for any process."""
        return self.agree(Word.STOP if asked else Word.GO_ON) is Word.STOP

    def go_on(self, *, stop: bool) -> None:
        """Before a pass: raise on all what any has met, ``Cancelled`` or ``AgreedOutOfMemoryError``."""
        self._heed(self.agree(Word.STOP if stop else Word.GO_ON))

    @contextmanager
    def tell_memory(self) -> Iterator[None]:
        """A pass: where memory runs out in it, the others hear of it before their next."""
        try:
            yield
        except RuntimeError as error:
            if self.count > 1 and memory.ran_out(error):
                self._heed(self.agree(Word.OUT_OF_MEMORY), str(error), error)
            raise

    def can_retry(self, error: RuntimeError) -> bool:
        """Whether memory ran out, and all know it, so that all make the pass again."""
        return isinstance(error, AgreedOutOfMemoryError) or (self.count == 1 and memory.ran_out(error))

    def put_together(self, figures: Mapping[int, float], count: int) -> list[float]:
        """The figures of all processes by their places 0 … count - 1, each of which one process has."""
        own = [figures.get(place, 0.0) for place in range(count)]
        return self._reduce(own, distributed.ReduceOp.SUM) if self.count > 1 else own

    def sum_gradients(self, parameters: Sequence[torch.nn.Parameter]) -> None:
        """Give every process the sum of the gradients of all, exactly the same bits."""
        if self.count == 1:
            return
        flat = torch.cat(
            [(torch.zeros_like(one) if one.grad is None else one.grad).flatten() for one in parameters]
        )  # fmt: skip
        with _speaking():
            distributed.all_reduce(flat)
        for parameter, part in zip(parameters, flat.split([one.numel() for one in parameters]), strict=True):
            parameter.grad = part.view_as(parameter)

    def on_first(self, make: Callable[[], Made]) -> Made:
        """What ``make`` gives in the first process, which alone calls it."""
        if self.count == 1:
            return make()
        made: list[Any] = [make() if self.is_first else None]
        with _speaking():
            distributed.broadcast_object_list(made, src=0)
        result: Made = made[0]
        return result

    def collect(self, state: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """The states of all processes under names of their own; those of the first under the names they had."""
        if self.count == 1:
            return dict(state)
        states: list[Any] = [None] * self.count
        with _speaking():
            distributed.all_gather_object(states, dict(state))
        return {_named(name, rank): value for rank, one in enumerate(states) for name, value in one.items()}

    def own(self, states: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """Of what ``collect`` gave, the state of this process."""
        return {name: states[_named(name, self.rank)] for name in states if "@" not in name}

    def check_same(self, told: str) -> None:
        """Raise ``ResumeError`` unless all processes are about to do the same: they may see different folders."""
        if self.count == 1:
            return
        figure = float(int(hashlib.sha256(told.encode()).hexdigest()[:12], 16))
        highest, lowest = self._reduce([figure, -figure], distributed.ReduceOp.MAX)
        if highest != -lowest:
            raise ResumeError(
                "the processes of this run do not see the same files or resume point, so they cannot train together; "
                "nothing was changed: give all of them the same recipe, base, data and --out, on a disk that all share"
            )

    @staticmethod
    def _heed(word: Word, said: str = "out of memory in another process", cause: BaseException | None = None) -> None:
        if word is Word.STOP:
            raise Cancelled("cancelled") from cause
        if word is Word.OUT_OF_MEMORY:
            raise AgreedOutOfMemoryError(said) from cause

    def _reduce(self, figures: Sequence[float], operation: Any) -> list[float]:
        told = torch.tensor(figures, dtype=torch.float64)
        with _speaking():
            distributed.all_reduce(told, operation)
        return told.tolist()


ALONE = Peers()


@contextmanager
def joined(device: str) -> Iterator[Peers]:
    """The processes that torchrun started with this one; alone where it did not.

    Raises:
        BaseModelError: the device cannot be shared between processes.
        PeerLostError: the others could not be reached.
    """
    count = int(os.environ.get("WORLD_SIZE", "1"))
    if count == 1 or "RANK" not in os.environ:
        yield ALONE
        return
    where = pick_device(device)
    backend = "gloo"
    if where.type == "cuda":
        here = int(os.environ.get("LOCAL_RANK", "0"))
        if here >= torch.cuda.device_count():
            raise BaseModelError(
                f"there are {torch.cuda.device_count()} CUDA devices here and more processes; lower --nproc_per_node"
            )
        torch.cuda.set_device(here)
        backend = "cpu:gloo,cuda:nccl"
    elif where.type != "cpu":
        raise BaseModelError(f"several processes cannot share the device {where.type}; start the run without torchrun")
    rank = int(os.environ["RANK"])
    with _speaking():
        distributed.init_process_group(backend, rank=rank, world_size=count, timeout=WAIT)
    yield Peers(rank, count)
    distributed.destroy_process_group()  # not after an error: the others may no longer answer


@contextmanager
def _speaking() -> Iterator[None]:
    try:
        yield
    except RuntimeError as error:
        raise PeerLostError(
            "another process of this run ended or can no longer be reached (it says why itself, where it could), so "
            "this one ended too; checkpoints and the resume point are kept: start the run again with the same command"
        ) from error


def _named(name: str, rank: int) -> str:
    return name if rank == 0 else f"{name}@{rank}"
