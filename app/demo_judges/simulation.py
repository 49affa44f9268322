"""The work of the simulated judges: reads the question, has a taste, meets a fault, writes the bill."""

import hashlib
import json
import threading
from dataclasses import dataclass
from math import ceil

from app.demo_judges.ledger import Entry, Ledger
from app.demo_judges.script import LOST, UNPAID, Fault, Script
from app.domain.errors import BadInputError
from app.domain.judging import Shown, read_back
from app.domain.terms import Choice, Confidence, ProviderKind, StopReason
from app.providers.calls import Usage

_LETTERS = {Choice.A: "A", Choice.B: "B", Choice.TIE: "tie"}
_CHARACTERS_PER_TOKEN = 4
_REFUSAL_TOKENS = 4


@dataclass(frozen=True)
class Call:
    """A question as it came."""

    kind: ProviderKind
    model: str
    system: str
    user: str
    max_tokens: int
    cache_for: str = ""
    """``5m`` or ``1h`` where the system part is marked for caching."""
    batch: bool = False
    custom_id: str = ""


@dataclass(frozen=True)
class Answer:
    """What is sent back, or the fault that stands in its place."""

    fault: Fault | None
    text: str
    stop: StopReason
    usage: Usage


class OutOfCreditError(Exception):
    """The balance of the script is used up."""


class Simulation:
    """State of one server. Its script may be exchanged at any time."""

    def __init__(self, script: Script) -> None:
        self.script = script
        self.ledger = Ledger()
        self._lock = threading.Lock()
        self._cached: set[tuple[str, str]] = set()

    def answer(self, call: Call) -> Answer:
        """Work on one call and write it down.

        Raises:
            OutOfCreditError: there is no credit left; nothing is charged.
        """
        shown = _read(call.user)
        subject = _subject(call, shown)
        with self._lock:
            script = self.script
            if script.balance is not None and self.ledger.charged >= script.balance:
                raise OutOfCreditError
            fault = script.fault(subject, self.ledger.times(subject))
            if call.batch and fault in LOST:
                fault = Fault.SERVER_FAULT
            choice = script.taste_of(call.model)(shown, script.chance("taste", subject))
            answer = self._reply(call, fault, choice)
            told = choice if fault is None else None
            paid = fault not in UNPAID
            self.ledger.add(
                Entry(subject, call.kind, call.model, call.batch, call.custom_id, fault, paid, answer.usage, told)
            )
        return answer

    def tokens(self, text: str) -> int:
        """As many as a model would count, roughly."""
        return ceil(len(text) / _CHARACTERS_PER_TOKEN)

    def _reply(self, call: Call, fault: Fault | None, choice: Choice) -> Answer:
        verdict = {
            "reasoning": f"Simulated: this judge reads by one rule, and the rule says {_LETTERS[choice]}.",
            "choice": _LETTERS[choice],
            "confidence": Confidence.LOW if choice is Choice.TIE else Confidence.HIGH,
        }
        text, stop = json.dumps(verdict), StopReason.END
        if fault is Fault.BROKEN_SCHEMA:
            text = json.dumps({"reasoning": "Simulated: no legal choice.", "choice": "both", "confidence": "high"})
        if fault is Fault.CUT_OFF:
            text, stop = text[: len(text) // 2], StopReason.LENGTH
        if fault is Fault.EMPTY:
            text = ""
        if fault is Fault.REFUSAL:
            text, stop = "", StopReason.REFUSAL
        output = max(self.tokens(text), _REFUSAL_TOKENS)
        if fault is Fault.CUT_OFF:
            output = call.max_tokens
        return Answer(fault, text, stop, self._usage(call, output))

    def _usage(self, call: Call, output: int) -> Usage:
        system, user = self.tokens(call.system), self.tokens(call.user)
        if not call.cache_for or system < self.script.cache_minimum:
            return Usage(input_tokens=system + user, output_tokens=output)
        key = (call.model, hashlib.sha256(call.system.encode()).hexdigest())
        if key in self._cached:
            return Usage(input_tokens=user, output_tokens=output, cache_read_tokens=system)
        self._cached.add(key)
        if call.cache_for == "1h":
            return Usage(input_tokens=user, output_tokens=output, cache_write_1h_tokens=system)
        return Usage(input_tokens=user, output_tokens=output, cache_write_tokens=system)


def _read(user: str) -> Shown:
    """The question; whatever else is asked counts as a question with empty texts."""
    try:
        return read_back(user)
    except BadInputError:
        return Shown((), user, "")


def _subject(call: Call, shown: Shown) -> str:
    turns = [(turn.role, turn.content) for turn in shown.turns]
    whole = json.dumps([call.model, call.system, turns, shown.text_a, shown.text_b])
    return hashlib.sha256(whole.encode()).hexdigest()
