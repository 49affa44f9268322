"""The bench of generation: our engine, transformers and peft on the same prompts, each in a process of its own."""

import importlib.util
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from statistics import median
from typing import Any

from app.bench.contest import OURS, run

MIXED, ONE_BY_ONE, LLAMA_CPP = "peft-mixed", "hf", "llama.cpp"
BATCH_SIZES = (32, 64, 128)
"""Of transformers, which is held against us at its best; with fewer rows it never is."""
_MODULE = "training.bench.generate"


@dataclass(frozen=True)
class GenerationTask:
    """What everybody answers; see ``training.bench.generate``."""

    base: Path
    data: Path
    prompts: int
    replicates: int
    max_new_tokens: int
    batch_size: int
    device: str
    dtype: str


@dataclass(frozen=True)
class Writer:
    """Medians over the repeats."""

    name: str
    tokens_per_second: float
    peak_bytes: int
    responses: int
    tokens: int
    cut: int
    """Responses that the limit of tokens ended."""
    speed_of_ours: float
    """Its tokens a second as a share of ours, median over repeats of the ratio within one repeat."""


@dataclass(frozen=True)
class GenerationMeasured:
    """All of them; ours is the first."""

    contestants: tuple[Writer, ...]
    repeats: int
    bandwidth_limit: float
    """Tokens a second if a step of our batch were nothing but reading the weights once."""

    @property
    def share_of_bandwidth(self) -> float:
        """Our tokens a second as a share of that limit; what prompts take to be read is in it, too."""
        return self.contestants[0].tokens_per_second / self.bandwidth_limit

    @property
    def best_one_by_one(self) -> Writer:
        """Transformers at the batch size at which it is fastest."""
        return max(
            (one for one in self.contestants if one.name.startswith(ONE_BY_ONE)), key=lambda one: one.tokens_per_second
        )

    @property
    def against_one_by_one(self) -> float:
        """Our tokens a second by those of transformers at its best."""
        return 1 / self.best_one_by_one.speed_of_ours

    @property
    def against_mixed(self) -> float:
        """Our tokens a second by those of peft's mixed batches."""
        return 1 / next(one.speed_of_ours for one in self.contestants if one.name == MIXED)

    @property
    def against_llama_cpp(self) -> float | None:
        """Our tokens a second by those of llama.cpp, which answers as the bare base; None: it was not measured."""
        found = [one for one in self.contestants if one.name == LLAMA_CPP]
        return 1 / found[0].speed_of_ours if found else None

    @property
    def holds(self) -> bool:
        """Whether everybody answered everything; how fast never decides."""
        return len({one.responses for one in self.contestants}) == 1 and all(one.tokens for one in self.contestants)

    def as_json(self) -> dict[str, Any]:
        """For programs."""
        return {
            "contestants": [asdict(one) for one in self.contestants],
            "repeats": self.repeats,
            "best_one_by_one": self.best_one_by_one.name,
            "against_one_by_one": round(self.against_one_by_one, 3),
            "against_mixed": round(self.against_mixed, 3),
            "against_llama_cpp": round(self.against_llama_cpp, 3) if self.against_llama_cpp else None,
            "bandwidth_limit_tokens_per_second": round(self.bandwidth_limit, 1),
            "share_of_bandwidth_limit": round(self.share_of_bandwidth, 3),
            "holds": self.holds,
        }


def measure_generation(
    task: GenerationTask, *, repeats: int, llama_cpp: bool, say: Callable[[str], None] = lambda _: None
) -> GenerationMeasured:
    """Let all answer in turns, so that a machine that is busy for a while is so for everybody.

    Args:
        task: what they answer.
        repeats: how often everybody does.
        say: told who is at it.
        llama_cpp: with llama.cpp, where it is installed; it has a file of the small built-in model only.

    Raises:
        UnavailableError: one could not; nothing is told then.
    """
    rows = task.prompts * task.replicates
    sizes = sorted({min(size, rows) for size in BATCH_SIZES})
    turns = [
        (OURS, OURS, task),
        *((f"{ONE_BY_ONE}, {size} rows", ONE_BY_ONE, replace(task, batch_size=size)) for size in sizes),
        (MIXED, MIXED, task),
    ]
    if llama_cpp and importlib.util.find_spec("xllamacpp"):
        turns.append((LLAMA_CPP, LLAMA_CPP, task))
    found: dict[str, list[dict[str, Any]]] = {name: [] for name, *_ in turns}
    limits = []
    for repeat in range(1, repeats + 1):
        limits.append(run(_MODULE, "bandwidth", asdict(task))["tokens_per_second"])
        for name, contestant, own in turns:
            say(f"Repeat {repeat} of {repeats}: {name}")
            found[name].append(run(_MODULE, contestant, asdict(own)))
    return GenerationMeasured(
        tuple(_writer(name, runs, found[OURS]) for name, runs in found.items()), repeats, median(limits)
    )


def _writer(name: str, runs: list[dict[str, Any]], ours: list[dict[str, Any]]) -> Writer:
    shares = [one["tokens_per_second"] / own["tokens_per_second"] for one, own in zip(runs, ours, strict=True)]
    return Writer(
        name=name,
        tokens_per_second=round(median(one["tokens_per_second"] for one in runs), 1),
        peak_bytes=round(median(one["peak_bytes"] for one in runs)),
        responses=runs[0]["responses"],
        tokens=round(median(one["tokens"] for one in runs)),
        cut=round(median(one["cut"] for one in runs)),
        speed_of_ours=median(shares),
    )
