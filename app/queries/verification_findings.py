"""What a verification has found so far: how much was checked, and what is not as it has to be."""

import hmac
from collections.abc import Iterator
from dataclasses import dataclass, field, fields
from typing import Any

from sqlalchemy import Row, Select
from sqlalchemy.orm import Session

CHUNK = 1_000
"""Rows that are in memory at the same time."""

MOST_KEPT = 1_000
"""Sentences that are kept at most; all are counted."""


@dataclass(frozen=True)
class Mismatch:
    """One place where the database does not hold what follows from the rest of it."""

    row: str
    expected: str
    found: str
    is_seal: bool = False
    """Whether a seal is there and does not fit: with another key, none does."""

    @property
    def sentence(self) -> str:
        """One plain sentence."""
        return f"{self.row}: expected {self.expected}, found {self.found}."


@dataclass
class Checked:
    """How much was checked. ``older`` counts rows from before they were sealed as they are now."""

    batches: int = 0
    pairs: int = 0
    ballots: int = 0
    verdicts: int = 0
    numbers: int = 0
    seals: int = 0
    older: int = 0


@dataclass
class Findings:
    """Collects while rows stream by."""

    checked: Checked = field(default_factory=Checked)
    bad_seals: int = 0
    total: int = 0
    mismatches: list[Mismatch] = field(default_factory=list)

    def differs(self, row: str, expected: object, found: object, *, is_seal: bool = False) -> None:
        """Note a mismatch."""
        self.total += 1
        if len(self.mismatches) < MOST_KEPT:
            self.mismatches.append(Mismatch(row, str(expected), str(found), is_seal))

    def equal(self, row: str, what: str, expected: object, found: object) -> None:
        """Note a mismatch where two values differ."""
        if expected != found:
            self.differs(row, f"{what} {_word(expected)}", _word(found))

    def number(self, row: str, what: str, expected: object, found: object) -> None:
        """The same for a number that is published."""
        self.checked.numbers += 1
        self.equal(row, what, expected, found)

    def seal(self, row: str, expected: str, found: str | None, *, covers: str) -> None:
        """Check a seal. One that is there and does not fit may also mean another key, so it is counted apart."""
        if not found:
            self.differs(row, f"a seal over {covers}", "none")
        elif hmac.compare_digest(expected.encode(), found.encode()):
            self.checked.seals += 1
        else:
            self.bad_seals += 1
            wanted, there = f"a seal that fits {covers}", "one that does not: something of it was changed"
            self.differs(row, wanted, there, is_seal=True)

    def other_key(self, batch: str, seals: int) -> None:
        """None of so many seals fits: say that once, instead of each of them."""
        kept = [one for one in self.mismatches if not one.is_seal]
        self.total += 1 - seals
        reason = (
            "none that fits. The key is probably another one than they were made with, and nothing was tampered with: "
            "give the ARENA_SECRET, or the secret.key under ARENA_HOME, of the arena that took the votes"
        )
        self.mismatches = [Mismatch(f"Seals of {batch}", f"some of {seals} to fit", reason), *kept]

    def add(self, other: "Findings") -> None:
        """Take over what was found in another part."""
        for one in fields(Checked):
            setattr(self.checked, one.name, getattr(self.checked, one.name) + getattr(other.checked, one.name))
        self.total += other.total
        self.mismatches = [*self.mismatches, *other.mismatches][:MOST_KEPT]


def _word(value: object) -> str:
    return "nothing" if value is None else str(value)


def streamed(session: Session, query: Select[*tuple[Any, ...]]) -> Iterator[Row[*tuple[Any, ...]]]:
    """Rows in chunks; whatever happens to the reader, the cursor on the server is closed."""
    with session.execute(query.execution_options(yield_per=CHUNK)) as rows:
        yield from rows
