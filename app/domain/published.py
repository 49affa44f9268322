"""Winners as published studies wrote them into their judges' replies, for reading recorded replies again.

Not for our own judges: their replies follow a schema. A reply without a mark has no winner.
"""

import re

from app.domain.terms import Choice

_MARK = re.compile(r"\[\[([ABC])\]\]")
_MARKED = {"A": Choice.A, "B": Choice.B, "C": Choice.TIE}
_OUTPUT = re.compile(r"Output \(([ab])\)\.?")
_OUTPUTS = {"a": Choice.A, "b": Choice.B}


def mt_bench_choice(reply: str) -> Choice | None:
    """The choice of an MT-bench style reply: its last ``[[A]]``, ``[[B]]`` or ``[[C]]`` (a tie).

    The last, because a judge may name a mark while it reasons; the published winners were read so.
    """
    marks = _MARK.findall(reply)
    return _MARKED[marks[-1]] if marks else None


def llmbar_choice(reply: str) -> Choice | None:
    """The choice of an LLMBar reply: the whole of it is ``Output (a)`` or ``Output (b)``."""
    found = _OUTPUT.fullmatch(reply.strip())
    return _OUTPUTS[found[1]] if found else None
