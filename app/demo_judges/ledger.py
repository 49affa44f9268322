"""What the simulated judges were asked and what they charged: the truth that a test compares an arena's books with."""

import threading
from collections import Counter
from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import Any

from app.demo_judges.script import Fault
from app.domain.terms import Choice, ProviderKind
from app.providers.calls import Usage
from app.providers.prices import price


@dataclass(frozen=True)
class Entry:
    """One call that was let in."""

    subject: str
    """Hash of model, rubric, prompt and both texts in their order: the same for two calls that ask the same."""
    kind: ProviderKind
    model: str
    batch: bool
    custom_id: str
    fault: Fault | None
    charged: bool
    usage: Usage
    choice: Choice | None
    """What was replied, where the reply has a choice."""

    def as_json(self) -> dict[str, Any]:
        """For a reader in another process."""
        return asdict(self)


@dataclass
class Ledger:
    """All calls in the order in which they came."""

    _entries: list[Entry] = field(default_factory=list)
    _times: Counter[str] = field(default_factory=Counter)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def add(self, entry: Entry) -> None:
        """Write it down."""
        with self._lock:
            self._entries.append(entry)
            self._times[entry.subject] += 1

    @property
    def entries(self) -> tuple[Entry, ...]:
        """All so far."""
        with self._lock:
            return tuple(self._entries)

    @property
    def charged(self) -> int:
        """Calls that were paid for."""
        return sum(entry.charged for entry in self.entries)

    @property
    def repeated(self) -> int:
        """Payments beyond the first for the same question: what a careful caller has few of."""
        paid = Counter(entry.subject for entry in self.entries if entry.charged)
        return sum(times - 1 for times in paid.values())

    @property
    def repeated_needlessly(self) -> int:
        """Payments for a question whose payment before had brought a reply with a choice.

        A fault on the way of such a payment is the reason of the one after it.
        """
        answered: set[str] = set()
        needless = 0
        for entry in self.entries:
            if not entry.charged:
                continue
            needless += entry.subject in answered
            if entry.choice is None:
                answered.discard(entry.subject)
            else:
                answered.add(entry.subject)
        return needless

    def times(self, subject: str) -> int:
        """How often this question came so far."""
        with self._lock:
            return self._times[subject]

    def spent(self, at: datetime) -> int:
        """Micro-dollars that all charged calls would have cost at the provider; models without a price cost nothing."""
        found = (
            price(entry.kind, entry.model, entry.usage, at, batch=entry.batch)
            for entry in self.entries
            if entry.charged
        )
        return sum(one.micro_dollars for one in found if one)
