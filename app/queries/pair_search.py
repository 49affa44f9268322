"""Searching pairs by words: in the prompt, in both responses, and in the reasons that voters gave.

Every word has to stand somewhere in the pair, in capitals or not, also as a part of a longer one. No index of words is
kept: the same question works on both databases, and the largest eval batches are answered in a fraction of a second.
"""

import re
from typing import Any

from sqlalchemy import ColumnElement, func, or_, select
from sqlalchemy.orm import Session

from app.models import Ballot, Pair, Prompt, Verdict

_PARTS = re.compile(r'"([^"]*\S[^"]*)"|(\S+)')


def words_of(wanted: str) -> tuple[str, ...]:
    """What has to be found: each word on its own, and what stands in double quotes as it stands."""
    return tuple(dict.fromkeys(quoted or word for quoted, word in _PARTS.findall(wanted)))


def says(session: Session, wanted: str, *texts: Any) -> list[ColumnElement[bool]]:
    """One condition for each word: the prompt, one of these texts or a reason of a voter holds it."""
    return [
        or_(_asked(session, word), *(_holds(text, word) for text in texts), _reasoned(word))
        for word in words_of(wanted)
    ]


def _holds(text: ColumnElement[str] | Any, wanted: str) -> ColumnElement[bool]:
    held: ColumnElement[bool] = text.icontains(wanted, autoescape=True)
    return held


def _asked(session: Session, wanted: str) -> ColumnElement[bool]:
    """Whether a turn of the prompt holds the text. Turn by turn: stored JSON writes quotes in its own way."""
    if session.get_bind().dialect.name == "postgresql":
        turn = func.jsonb_array_elements(Prompt.messages).table_valued("value", name="turn")
        content = func.jsonb_extract_path_text(turn.c.value, "content")
    else:
        turn = func.json_each(Prompt.messages).table_valued("value", name="turn")
        content = func.json_extract(turn.c.value, "$.content")
    return select(1).select_from(turn).where(_holds(content, wanted)).correlate(Prompt).exists()


def _reasoned(wanted: str) -> ColumnElement[bool]:
    """Whether a reason holds the text; the page of the pair shows those outside of n as well."""
    query = select(1).select_from(Ballot).join(Verdict, Verdict.ballot_id == Ballot.id)
    return query.where(Ballot.pair_id == Pair.id, _holds(Verdict.reason, wanted)).correlate(Pair).exists()
