"""The bench of training: our loop and TRL's on the same rows, each in a process of its own, in turns."""

import math
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Any

from app.bench.contest import OURS, run

PEERS, SHIPPED = ("trl", "trl-packed"), "trl-shipped"
_MODULE = "training.bench.sft"


@dataclass(frozen=True)
class TrainTask:
    """What everybody trains; see ``training.bench.sft``."""

    base: Path
    data: Path
    rows: int
    batch_size: int
    max_length: int
    device: str
    dtype: str


@dataclass(frozen=True)
class Contestant:
    """Medians over the repeats."""

    name: str
    tokens_per_second: float
    peak_bytes: int
    first_loss: float
    last_loss: float
    speed_of_ours: float
    """Its tokens a second as a share of ours, median over repeats of the ratio within one repeat."""


@dataclass(frozen=True)
class TrainMeasured:
    """All of them, and what the machine allows."""

    contestants: tuple[Contestant, ...]
    repeats: int
    flops: float
    """Operations a second of matrix products of the sizes of this base."""
    ceiling: float
    """Tokens a second if a step were nothing but the products that LoRA cannot do without: 4 N operations a token."""

    @property
    def ours(self) -> Contestant:
        """Our loop."""
        return self.contestants[0]

    @property
    def better_peer(self) -> Contestant:
        """TRL with or without packing, whichever is faster."""
        return max((one for one in self.contestants if one.name in PEERS), key=lambda one: one.tokens_per_second)

    @property
    def speed_ratio(self) -> float:
        """Our tokens a second by those of the peer."""
        return 1 / self.better_peer.speed_of_ours

    @property
    def memory_ratio(self) -> float:
        """Our peak by that of the same peer."""
        return self.ours.peak_bytes / self.better_peer.peak_bytes

    @property
    def share_of_ceiling(self) -> float:
        """Of what the machine allows."""
        return self.ours.tokens_per_second / self.ceiling

    @property
    def holds(self) -> bool:
        """Whether everybody trained; how fast never decides."""
        return all(math.isfinite(one.first_loss) and math.isfinite(one.last_loss) for one in self.contestants)

    def as_json(self) -> dict[str, Any]:
        """For programs."""
        return {
            "contestants": [asdict(one) for one in self.contestants],
            "repeats": self.repeats,
            "better_peer": self.better_peer.name,
            "speed_ratio": round(self.speed_ratio, 3),
            "memory_ratio": round(self.memory_ratio, 3),
            "flops": self.flops,
            "ceiling_tokens_per_second": round(self.ceiling, 1),
            "share_of_ceiling": round(self.share_of_ceiling, 3),
            "holds": self.holds,
        }


def measure_training(
    task: TrainTask, *, repeats: int, shipped: bool = False, say: Callable[[str], None] = lambda _: None
) -> TrainMeasured:
    """Let all train in turns, so that a machine that is busy for a while is so for everybody; ``say`` is told who does.

    Raises:
        UnavailableError: one could not train, as where TRL is not installed; nothing is told then.
    """
    names = (OURS, *PEERS, *((SHIPPED,) if shipped else ()))
    found: dict[str, list[dict[str, Any]]] = {name: [] for name in names}
    rates = []
    for repeat in range(1, repeats + 1):
        rates.append(run(_MODULE, "matmul", asdict(task)))
        for name in names:
            say(f"Repeat {repeat} of {repeats}: {name}")
            found[name].append(run(_MODULE, name, asdict(task)))
    return TrainMeasured(
        contestants=tuple(_contestant(name, runs, found[OURS]) for name, runs in found.items()),
        repeats=repeats,
        flops=median(one["flops"] for one in rates),
        ceiling=median(one["ceiling_tokens_per_second"] for one in rates),
    )


def _contestant(name: str, runs: list[dict[str, Any]], ours: list[dict[str, Any]]) -> Contestant:
    shares = [one["tokens_per_second"] / own["tokens_per_second"] for one, own in zip(runs, ours, strict=True)]
    return Contestant(
        name=name,
        tokens_per_second=round(median(one["tokens_per_second"] for one in runs), 1),
        peak_bytes=round(median(one["peak_bytes"] for one in runs)),
        first_loss=runs[0]["first_loss"],
        last_loss=runs[0]["last_loss"],
        speed_of_ours=median(shares),
    )
