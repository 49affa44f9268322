"""How the simulated judges behave: who is offered, what each prefers, and what goes wrong how often."""

import random
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum

from app.demo_judges.tastes import Clear, Longer, Taste, Words


class Fault(StrEnum):
    """What can go wrong with one call."""

    RATE_LIMITED = "rate_limited"
    OVERLOADED = "overloaded"
    SERVER_FAULT = "server_fault"
    HANG = "hang"
    """The work is done and paid for, and the reply never comes."""
    DROP = "drop"
    """The same, and the connection breaks in the middle of the reply."""
    BROKEN_BODY = "broken_body"
    """A reply that is no JSON."""
    BROKEN_SCHEMA = "broken_schema"
    """A reply whose text is not what the schema asks for."""
    CUT_OFF = "cut_off"
    """The limit of tokens is reached in the middle."""
    REFUSAL = "refusal"
    EMPTY = "empty"


UNPAID = frozenset({Fault.RATE_LIMITED, Fault.OVERLOADED, Fault.SERVER_FAULT})
"""Faults before any work is done."""

LOST = frozenset({Fault.HANG, Fault.DROP, Fault.BROKEN_BODY})
"""Faults after which the caller cannot know whether it was paid for. A batch has none of them."""


def evenly(share: float, *but: Fault) -> dict[Fault, float]:
    """Faults that befall this share of calls, each as often as the others; some may be left out."""
    faults = [fault for fault in Fault if fault not in but]
    return dict.fromkeys(faults, share / len(faults))


@dataclass(frozen=True)
class SimulatedModel:
    """A model as the list of models shows it."""

    id: str
    name: str
    lifecycle: str = "active"
    retires_at: datetime | None = None
    created_at: datetime = datetime(2026, 9, 1, tzinfo=UTC)


CATALOGUE = (
    SimulatedModel("claude-opus-5-5", "Claude Opus 5.5 (simulated)"),
    SimulatedModel("claude-sonnet-5-5", "Claude Sonnet 5.5 (simulated)"),
    SimulatedModel("claude-haiku-5-5", "Claude Haiku 5.5 (simulated)"),
    SimulatedModel(
        "claude-sonnet-4-5-20250929",
        "Claude Sonnet 4.5 (simulated)",
        "deprecated",
        datetime(2026, 11, 30, tzinfo=UTC),
        datetime(2025, 9, 29, tzinfo=UTC),
    ),
    SimulatedModel(
        "claude-opus-4-20250514",
        "Claude Opus 4 (simulated)",
        "retired",
        datetime(2026, 6, 15, tzinfo=UTC),
        datetime(2025, 5, 14, tzinfo=UTC),
    ),
    SimulatedModel(
        "claude-3-7-sonnet-20250219",
        "Claude Sonnet 3.7 (simulated)",
        "retired",
        datetime(2026, 2, 19, tzinfo=UTC),
        datetime(2025, 2, 19, tzinfo=UTC),
    ),
)

TASTES: Mapping[str, Taste] = {"claude-opus-5-5": Words(), "claude-sonnet-5-5": Clear(), "claude-haiku-5-5": Longer()}
"""The two judges of the story: one looks for depth, one for clarity. The cheap one likes it long."""

_ELSE = Longer()


@dataclass(frozen=True)
class Script:
    """All that is decided beforehand. May be exchanged while the server runs."""

    seed: int = 0
    models: tuple[SimulatedModel, ...] = CATALOGUE
    tastes: Mapping[str, Taste] = field(default_factory=lambda: TASTES)
    taste: Taste = _ELSE
    """Of models that ``tastes`` does not name."""
    faults: Mapping[Fault, float] = field(default_factory=dict)
    """Share of calls that each befalls; together at most 1."""
    key: str = "simulated"
    """The only key that is accepted; empty: any. Chat completions need none."""
    balance: int | None = None
    """Paid calls until the credit is used up; None: endless."""
    retry_after: int = 1
    """Seconds that a refused caller is asked to wait."""
    batch_polls: int = 1
    """How often a batch says that it is in progress before it has ended."""
    structured: bool = True
    """Whether chat completions take a schema for the reply."""
    cache_minimum: int = 1024
    """Tokens from which a marked system part is cached."""

    def taste_of(self, model: str) -> Taste:
        """What this model prefers."""
        return self.tastes.get(model, self.taste)

    def chance(self, *what: object) -> random.Random:
        """A generator that depends on the seed and on this alone, not on the order in which calls arrive."""
        return random.Random(":".join(map(str, (self.seed, *what))))  # noqa: S311 (reproducible on purpose)

    def fault(self, subject: str, times: int) -> Fault | None:
        """What befalls this request when it comes for the ``times``-th time."""
        drawn = self.chance("fault", subject, times).random()
        for fault, share in sorted(self.faults.items()):
            if drawn < share:
                return fault
            drawn -= share
        return None
