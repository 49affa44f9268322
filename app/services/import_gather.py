"""What the files of an import hold, looked at once: who met whom on which prompts, and every verdict.

Texts wait in a temporary file and verdicts in packed columns, so that memory grows with prompts and pairs, and by a few
bytes a verdict. Nothing here knows the database. The digest tells whether an import is the one that was broken off.
"""

import hashlib
import json
import tempfile
import weakref
from array import array
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

from app.domain.errors import BadInputError
from app.domain.imports.items import (
    CheckpointItem,
    DesignItem,
    Item,
    JudgeItem,
    Log,
    PairItem,
    PromptItem,
    ResponseItem,
    VerdictItem,
)
from app.domain.imports.tables import NO_TEXT
from app.domain.terms import Choice, Design, Domain, SwapMode, VoterKind

CHOICES: tuple[Choice | None, ...] = (Choice.A, Choice.B, Choice.TIE, Choice.BOTH_BAD, None)
"""A choice by its code; the last is a reply without one."""

_CODES = {choice: code for code, choice in enumerate(CHOICES)}
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
NEVER = -(2**63)
"""The time of a verdict that has none, in microseconds."""


def _category(item: PromptItem) -> str:
    return NO_TEXT.sub("\N{REPLACEMENT CHARACTER}", item.category)[:60]


class Voted(NamedTuple):
    """A voter of the files."""

    name: str
    kind: VoterKind
    simulated: bool


class Texts:
    """Texts in a temporary file, each once; known by number, 0 is the empty one."""

    def __init__(self) -> None:
        self._file = tempfile.TemporaryFile()  # noqa: SIM115 (lives as long as this)
        weakref.finalize(self, self._file.close)
        self._known: dict[bytes, int] = {}
        self._ends = array("q", [0])
        self.add("")

    def add(self, text: str) -> int:
        """The number of a text."""
        encoded = text.encode()
        digest = hashlib.sha256(encoded).digest()
        number = self._known.get(digest)
        if number is None:
            number = self._known[digest] = len(self._known)
            self._file.write(encoded)
            self._ends.append(self._ends[-1] + len(encoded))
        return number

    def __getitem__(self, number: int) -> str:
        start, end = self._ends[number], self._ends[number + 1]
        if start == end:
            return ""
        self._file.seek(start)
        return self._file.read(end - start).decode()

    def digest(self) -> bytes:
        """A hash over all of them, in order."""
        return hashlib.sha256(b"".join(self._known)).digest()


class Pairs:
    """Pairs by number: prompt, replicate and two checkpoints as they were met first, each by its number."""

    def __init__(self) -> None:
        self.prompt, self.replicate, self.low, self.high = (array("l") for _ in range(4))
        self.raters = array("l")
        """Ballots of raters on each: the next free slot."""

    def __len__(self) -> int:
        return len(self.prompt)


class Verdicts:
    """Verdicts by number, in packed columns."""

    def __init__(self) -> None:
        self.pair, self.voter, self.number, self.said, self.tags = (array("l") for _ in range(5))
        self.choice, self.a_is_low, self.order_known = (array("b") for _ in range(3))
        self.slot = array("l")
        self.score, self.seconds = array("d"), array("d")
        """A score of -1 is none."""
        self.cast_at = array("q")

    def __len__(self) -> int:
        return len(self.pair)

    def columns(self) -> Sequence["array[int] | array[float]"]:
        """All of them, for the digest."""
        return [column for column in vars(self).values() if isinstance(column, array)]


class Gathered:
    """Items as they were taken. Numbers count what was met first."""

    def __init__(self, name: str, log: Log, usual: Domain = Domain.OUT_OF_DOMAIN) -> None:
        """``usual``: where prompts lie of which the files do not tell it."""
        self.format, self.log, self.usual = name, log, usual
        self.texts = Texts()
        self.design: Design | None = None
        self.modes: dict[str, SwapMode] = {}
        """Of the judges of which a file tells it."""
        self.prompts: dict[str, int] = {}
        self.messages, self.category, self.domains = array("l"), list[str](), list[Domain | None]()
        self.checkpoints: dict[str, int] = {}
        self.ordered = 0
        """How many checkpoints a file put into an order."""
        self.voters: dict[Voted, int] = {}
        self.votes = array("l")
        """Ballots of each voter."""
        self.responses: dict[tuple[int, int, int], int] = {}
        """The text of a prompt, checkpoint and replicate; absent: unknown."""
        self.pairs, self.verdicts = Pairs(), Verdicts()
        self._pair_numbers: dict[tuple[int, int, int, int], int] = {}
        self._shown: set[tuple[int, int, int]] = set()
        self._swapped: set[int] = set()
        self.refused_verdicts = 0

    def take(self, items: Iterable[Item]) -> "Gathered":
        """Take everything, and complete what verdicts alone do not tell."""
        takers: dict[type, Callable[[Any], object]] = {
            VerdictItem: self._verdict,
            PromptItem: self._prompt,
            ResponseItem: self._response,
            PairItem: self._pair_item,
            CheckpointItem: self._ordered,
            DesignItem: self._designed,
            JudgeItem: self._asked,
        }
        for item in items:
            takers[type(item)](item)
        if not len(self.pairs):
            self._all_against_all()
        if not len(self.pairs):
            raise BadInputError(
                "Nothing was imported: the files hold no pair of texts and no verdict that can be taken. "
                f"{self.log.refused} rows were refused."
            )
        return self

    def mode(self, number: int, voter: Voted) -> SwapMode:
        """In which orders a judge was shown pairs: as it is told, or as it looks."""
        return self.modes.get(voter.name) or (SwapMode.BOTH if number in self._swapped else SwapMode.ONE)

    def domain(self, number: int) -> Domain:
        """Where a prompt lies: as it is told, or as is usual."""
        return self.domains[number] or self.usual

    @property
    def without_domain(self) -> int:
        """Prompts of which no file tells where they lie."""
        return self.domains.count(None)

    def cast_at(self, number: int) -> datetime | None:
        """When a verdict was cast."""
        micros = self.verdicts.cast_at[number]
        return None if micros == NEVER else _EPOCH + timedelta(microseconds=micros)

    def digest(self) -> str:
        """A hash over all that was taken: the same files, whatever they are called, have the same."""
        whole = hashlib.sha256(self.texts.digest())
        domains = [self.domain(number) for number in range(len(self.prompts))]
        plain = [
            self.format, self.design, self.modes, self.ordered, list(self.prompts), self.category, domains,
            list(self.checkpoints), list(self.voters), [[*key, text] for key, text in self.responses.items()],
        ]  # fmt: skip
        whole.update(json.dumps(plain).encode())
        pairs = self.pairs
        for column in (self.messages, pairs.prompt, pairs.replicate, pairs.low, pairs.high, *self.verdicts.columns()):
            whole.update(column.tobytes())
        return whole.hexdigest()

    def _pair_item(self, item: PairItem) -> None:
        self._pair(*item)

    def _ordered(self, item: CheckpointItem) -> None:
        self._checkpoint(item.name)
        self.ordered += 1

    def _designed(self, item: DesignItem) -> None:
        self.design = item.design

    def _asked(self, item: JudgeItem) -> None:
        self.modes[item.name] = item.mode

    def _prompt(self, item: PromptItem) -> int:
        number = self.prompts.get(item.key)
        if number is not None and (self.messages[number] or not item.messages):
            return number
        text = 0
        if item.messages:
            text = self.texts.add(json.dumps([{"role": r, "content": c} for r, c in item.messages], ensure_ascii=False))
        if number is None:
            number = self.prompts[item.key] = len(self.prompts)
            self.messages.append(text)
            self.category.append(_category(item))
            self.domains.append(item.domain)
        else:  # it was named before it was told
            self.messages[number], self.category[number], self.domains[number] = text, _category(item), item.domain
        return number

    def _prompt_number(self, key: str) -> int:
        number = self.prompts.get(key)
        return self._prompt(PromptItem(key)) if number is None else number

    def _checkpoint(self, name: str) -> int:
        return self.checkpoints.setdefault(name, len(self.checkpoints))

    def _response(self, item: ResponseItem) -> None:
        if item.text is None:
            self._checkpoint(item.checkpoint)
            return
        key = (self._prompt_number(item.prompt), self._checkpoint(item.checkpoint), item.replicate)
        text = self.texts.add(item.text)
        if self.responses.setdefault(key, text) != text:
            self.log.note(
                *self.log.at, f"{item.checkpoint} has another text to {item.prompt} already; the first one stands"
            )

    def _pair(self, prompt: str, a: str, b: str, replicate: int) -> int:
        one, other = self._checkpoint(a), self._checkpoint(b)
        key = (self._prompt_number(prompt), replicate, min(one, other), max(one, other))
        number = self._pair_numbers.get(key)
        if number is None:
            number = self._pair_numbers[key] = len(self.pairs)
            pairs = self.pairs
            pairs.prompt.append(key[0])
            pairs.replicate.append(replicate)
            pairs.low.append(key[2])
            pairs.high.append(key[3])
            pairs.raters.append(0)
        return number

    def _verdict(self, item: VerdictItem) -> None:
        pair = self._pair(item.prompt, item.a, item.b, item.replicate)
        a_is_low = self.checkpoints[item.a] < self.checkpoints[item.b]
        voter = self.voters.setdefault(Voted(item.voter, item.kind, item.simulated), len(self.voters))
        if voter == len(self.votes):
            self.votes.append(0)
        order = a_is_low + 1 if item.order_known else 0
        is_judge = item.kind is VoterKind.JUDGE
        if is_judge and self._judged(pair, voter, order):
            self.refused_verdicts += 1
            self.log.refuse(
                *self.log.at, f"{item.voter} has judged this pair in this order already; the first one stands"
            )
            return
        self._shown.add((pair, voter, order))
        if is_judge and order and (pair, voter, 3 - order) in self._shown:
            self._swapped.add(voter)
        verdicts = self.verdicts
        verdicts.pair.append(pair)
        verdicts.voter.append(voter)
        verdicts.number.append(self.votes[voter])
        self.votes[voter] += 1
        verdicts.said.append(self.texts.add(item.said) if item.said else 0)
        verdicts.tags.append(self.texts.add(json.dumps(item.tags)) if item.tags else 0)
        verdicts.choice.append(_CODES[item.choice])
        verdicts.a_is_low.append(a_is_low)
        verdicts.order_known.append(item.order_known)
        verdicts.score.append(-1.0 if item.score is None else item.score)
        verdicts.seconds.append(item.seconds)
        at = item.cast_at
        verdicts.cast_at.append(NEVER if at is None else (at - _EPOCH) // timedelta(microseconds=1))
        if is_judge:
            verdicts.slot.append(0)  # by the order, once that is known
        else:
            verdicts.slot.append(self.pairs.raters[pair])
            self.pairs.raters[pair] += 1

    def _judged(self, pair: int, voter: int, order: int) -> bool:
        """Whether this judge may have seen the pair in this order; one that nobody told (0) may be either."""
        return any((pair, voter, one) in self._shown for one in ((0, order) if order else range(3)))

    def _all_against_all(self) -> None:
        """Without a verdict or a pair, every two texts to one prompt are a pair that can be judged later."""
        places: dict[tuple[int, int], list[int]] = {}
        for prompt, checkpoint, replicate in self.responses:
            places.setdefault((prompt, replicate), []).append(checkpoint)
        names, keys = list(self.checkpoints), list(self.prompts)
        for (prompt, replicate), met in places.items():
            for place, one in enumerate(met):
                for other in met[place + 1 :]:
                    self._pair(keys[prompt], names[one], names[other], replicate)
