"""What every format is read into, and what is said about rows that cannot be taken as they stand."""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import NamedTuple

from app.domain.terms import Choice, Design, Domain, ReasonTag, SwapMode, VoterKind

NO_CATEGORY = "imported"
UNKNOWN_PROMPT = "The file that was imported does not hold the prompt."
"""What stands in the place of a prompt that nobody told."""

PEOPLE = "people"
"""The voter of verdicts of which nobody says who cast them."""


class PromptItem(NamedTuple):
    """An input, known by its key. Without messages, the file tells only that it was one of its own."""

    key: str
    messages: tuple[tuple[str, str], ...] = ()
    """Role and content of each turn; the user's own turns alone where the texts between them differ by checkpoint."""
    category: str = NO_CATEGORY
    domain: Domain | None = None
    """``None``: nobody told where it lies."""


class ResponseItem(NamedTuple):
    """The text of a checkpoint; ``None``: it is not in the file. An empty text is a text."""

    prompt: str
    checkpoint: str
    text: str | None
    replicate: int = 0


class CheckpointItem(NamedTuple):
    """A checkpoint, named where their order matters: the first is the baseline."""

    name: str


class DesignItem(NamedTuple):
    """Who met whom, where a file says so."""

    design: Design


class PairItem(NamedTuple):
    """Two responses that can be compared, whether or not anybody has."""

    prompt: str
    a: str
    b: str
    replicate: int = 0


class VerdictItem(NamedTuple):
    """A verdict on a pair, in the words of the screen: ``a`` is the checkpoint whose text was A."""

    prompt: str
    a: str
    b: str
    voter: str
    kind: VoterKind
    choice: Choice | None
    """``None``: the reply of a judge that holds no choice."""
    order_known: bool = False
    """``False``: that ``a`` was shown as A is a way of writing only."""
    score: float | None = None
    """A judge's weight, in [0, 1]: how far it prefers ``b``."""
    said: str = ""
    """Its words: a reason, or the whole reply."""
    replicate: int = 0
    cast_at: datetime | None = None
    seconds: float = 0.0
    simulated: bool = False
    tags: tuple[ReasonTag, ...] = ()


class JudgeItem(NamedTuple):
    """In which orders a judge was asked, where a file says so."""

    name: str
    mode: SwapMode


Item = JudgeItem | PromptItem | ResponseItem | CheckpointItem | DesignItem | PairItem | VerdictItem


class RowRefusedError(Exception):
    """This row cannot be taken; says why, in half a sentence."""


class Problem(NamedTuple):
    """Something about a row: it was left out, or taken and is told nevertheless."""

    source: str
    line: int
    sentence: str
    taken: bool

    def __str__(self) -> str:
        return f"{self.source}, line {self.line}: {self.sentence}"


@dataclass
class Log:
    """Counts problems and keeps the first; ``sink`` gets every one of them."""

    keep: int = 1_000
    sink: Callable[[Problem], object] | None = None
    read: int = 0
    """Rows that were looked at."""
    refused: int = 0
    noted: int = 0
    problems: list[Problem] = field(default_factory=list)
    at: tuple[str, int] = ("", 0)
    """File and line of the row that is being taken."""

    def refuse(self, source: str, line: int, sentence: str) -> None:
        """A row is left out."""
        self.refused += 1
        self._tell(Problem(source, line, sentence, taken=False))

    def note(self, source: str, line: int, sentence: str) -> None:
        """A row is taken, and something about it should be known."""
        self.noted += 1
        self._tell(Problem(source, line, sentence, taken=True))

    def _tell(self, problem: Problem) -> None:
        if len(self.problems) < self.keep:
            self.problems.append(problem)
        if self.sink is not None:
            self.sink(problem)
